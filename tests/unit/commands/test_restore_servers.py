"""A restore from before a reimage or resize: what the servers are now is read from the cloud."""

from slurm_powersave.commands.restore_servers import take_over
from slurm_powersave.testing.world import MemoryWorld
from tests.unit.engine.reboot_stories import ask, ready


def restored() -> tuple[MemoryWorld, list[str]]:
    """A world whose journal and shard are those of before n1 was reimaged and n2 resized."""
    world = ready(3)
    records = world.journal.node_records()
    maps = {shard: dict(nodes) for shard, nodes in world.terraform.maps.items()}
    assert ask(world, "n1", "reimage image=other").outcome == "done"
    assert ask(world, "n2", "resize flavor=large").outcome == "done"
    world.journal.save_nodes(records.values())
    world.terraform.maps = maps
    return world, []


def plan(world: MemoryWorld) -> list[str]:
    """What a person's `terraform plan` would change."""
    return [
        change["address"]
        for shard, nodes in world.terraform.maps.items()
        for change in world.terraform.plan_json(
            world.terraform.plan(shard, list(nodes), refresh=True).record
        )["resource_changes"]
    ]


def test_terraform_has_nothing_to_change_back_and_it_is_said_what_was_found() -> None:
    world, said = restored()
    assert len(plan(world)) == 2, "what it would do without this"
    before = world.journal.node_records()
    take_over(world.journal, world.terraform, {"mem": world.cloud}, said.append)
    assert plan(world) == []
    assert said == [
        "n1: image default -> other, as the cloud tells it",
        "n2: flavor small -> large, as the cloud tells it",
    ]
    now = world.journal.node_records()
    assert (now["n1"].node.image_id, now["n2"].node.flavor_id) == ("i-2", "f-2")
    assert now["n1"].node.generation == before["n1"].node.generation + 1, "another disk, another host key"
    assert now["n3"] == before["n3"]
    said.clear()
    take_over(world.journal, world.terraform, {"mem": world.cloud}, said.append)
    assert said == []


def test_another_image_of_the_same_name_is_found_by_its_id() -> None:
    world, said = ready(1), list[str]()
    (server,) = world.cloud.alive()
    world.cloud.edit(server.id, image_id="i-9")
    take_over(world.journal, world.terraform, {"mem": world.cloud}, said.append)
    assert said == ["n1: image default was made anew, as the cloud tells it"]
    assert world.journal.node_records()["n1"].node.image_id == "i-9"


def test_a_cloud_that_can_not_be_read_is_said_and_changes_nothing() -> None:
    world, said = restored()
    before = world.journal.node_records()
    world.cloud.unreachable = "503"
    take_over(world.journal, world.terraform, {"mem": world.cloud}, said.append)
    assert said == ["cloud mem can't be read: images and flavors are those of the backup (503)"]
    assert world.journal.node_records() == before
