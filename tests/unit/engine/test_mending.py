"""A state that Terraform has spoiled: the copy, and then what the cloud says."""

import pytest

from slurm_powersave.adapters.journal.sqlite import SqliteJournal
from slurm_powersave.engine.loop import Engine
from slurm_powersave.engine.world import World
from slurm_powersave.model.nodes import StateServer
from slurm_powersave.testing.world import MemoryWorld
from tests.unit.engine.checks import assert_at_rest, operations, run, servers
from tests.unit.engine.test_lifecycle import up

SHARD = "mem/nodes-001"


def two_up() -> MemoryWorld:
    """Two nodes with servers, in one shard."""
    world = MemoryWorld.of(3)
    world.run(2)
    up(world, "n1", "n2")
    assert {record.shard for record in world.journal.node_records().values() if record.server_id} == {SHARD}
    return world


def test_the_copy_takes_the_place_of_a_spoiled_state() -> None:
    world = two_up()
    world.terraform.copies[SHARD] = dict(world.terraform.states[SHARD])
    world.terraform.states[SHARD] = {}
    world.terraform.spoiled.add(SHARD)
    world.run(20)
    assert set(world.terraform.states[SHARD]) == {"n1", "n2"}
    world.settle(60)
    assert_at_rest(world)


def test_nothing_is_put_back_while_the_cloud_can_not_be_read() -> None:
    world = two_up()
    world.terraform.spoiled.add(SHARD)
    world.cloud.unreachable = "503 Service Unavailable"
    world.run(60)
    assert world.terraform.spoiled == {SHARD}
    assert set(servers(world)) == {"n1", "n2"}
    world.cloud.unreachable = ""
    world.run(30)
    assert not world.terraform.spoiled


def test_what_was_made_since_the_copy_stays_and_what_was_deleted_leaves_it() -> None:
    world = two_up()
    gone = StateServer("gone")
    world.terraform.copies[SHARD] = {"n1": world.terraform.states[SHARD]["n1"], "n3": gone}
    world.terraform.spoiled.add(SHARD)
    world.run(60)
    assert set(world.terraform.states[SHARD]) == {"n1"}, "n3 is not listed, n2 is not in the copy"
    assert set(world.terraform.maps[SHARD]) == {"n1"}, "a person's plan says No changes"
    records = world.journal.node_records()
    assert records["n2"].server_id == servers(world)["n2"][0] and records["n2"].shard == ""
    assert set(servers(world)) == {"n1", "n2"} and world.slurm.node("n2").up
    world.slurm.end(1)
    world.slurm.suspend("n2")
    run(world, 60)
    assert set(servers(world)) == {"n1"}, "it goes by its id"
    assert operations(world, "n2")[-1].outcome == "done"


def test_a_server_whose_name_has_another_id_in_the_copy_is_believed_as_recorded() -> None:
    world = two_up()
    world.terraform.copies[SHARD] = world.terraform.states[SHARD] | {"n1": StateServer("old")}
    world.terraform.spoiled.add(SHARD)
    world.run(60)
    assert set(world.terraform.states[SHARD]) == {"n2"}
    record = world.journal.node_records()["n1"]
    assert (record.server_id, record.shard) == (servers(world)["n1"][0], "")


def test_a_state_that_a_new_engine_could_not_read_is_looked_at_when_it_can() -> None:
    """The journal is lost, a server has gone, and the state that still holds it is readable later only."""
    world = two_up()
    world.terraform.broken_shards.add(SHARD)
    world.journal = SqliteJournal(":memory:")
    world.crash()
    world.cloud.vanish(servers(world)["n1"][0])
    world.run(30)
    world.terraform.broken_shards.clear()
    world.run(150)
    assert set(world.terraform.states[SHARD]) == set(world.terraform.maps[SHARD]) == {"n2"}
    assert not world.journal.dirty_shards()


def without_adapter(world: MemoryWorld) -> None:
    """Let the engine know no adapter of the cloud."""
    parts = (world.cluster, world.journal, world.slurm, world.terraform, world.playbooks)
    world.engine = Engine(World(*parts, {}, world.clock, world.store), world.recovery.faults)


@pytest.mark.parametrize("spoiled", [True, False])
def test_without_an_adapter_terraform_itself_says_what_is_gone(spoiled: bool) -> None:
    world = two_up()
    held = world.terraform.states[SHARD] | {"n3": StateServer("gone")}
    world.terraform.copies[SHARD] = world.terraform.states[SHARD] = held
    if spoiled:
        world.terraform.spoiled.add(SHARD)
    world.journal.set_dirty(SHARD, True)
    without_adapter(world)
    world.run(30)
    assert set(world.terraform.states[SHARD]) == {"n1", "n2"}
    assert any(run.record.kind == "refresh" for run in world.terraform.runs.values())
    assert not world.journal.dirty_shards()
    assert world.recovery.count == 0


def test_without_an_adapter_a_server_that_is_there_is_recorded_again() -> None:
    world = two_up()
    record = world.journal.node_records()["n1"]
    world.journal.forget_nodes(["n1"])
    world.journal.set_dirty(SHARD, True)
    without_adapter(world)
    world.run(30)
    found = world.journal.node_records()["n1"]
    assert (found.server_id, found.shard) == (record.server_id, SHARD)
    assert not world.journal.dirty_shards()
