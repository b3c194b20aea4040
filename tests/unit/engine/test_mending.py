"""A state that Terraform has spoiled: the copy, and then what the cloud says."""

import errno

import pytest

from slurm_powersave.adapters.journal.sqlite import SqliteJournal
from slurm_powersave.model import phases
from slurm_powersave.model.nodes import StateServer
from slurm_powersave.testing.world import MemoryWorld
from tests.unit.engine.checks import assert_at_rest, operations, run, servers
from tests.unit.engine.mending_stories import SHARD, two_up, without_adapter
from tests.unit.engine.stories import run_until, up


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


@pytest.mark.parametrize("effect", ["put_back", "save_nodes"])
@pytest.mark.parametrize("copied", [{}, {"n1": StateServer("old")}])
def test_an_engine_that_ends_right_after_the_copy_is_in_place_goes_on_with_it(
    effect: str, copied: dict[str, StateServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    world = two_up()
    world.terraform.copies[SHARD] = copied | {"n2": world.terraform.states[SHARD]["n2"]}
    world.terraform.spoiled.add(SHARD)
    part = world.terraform if effect == "put_back" else world.journal
    original = getattr(part, effect)

    def ends(*given: object) -> None:
        monkeypatch.undo()
        original(*given)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(part, effect, ends)
    run(world, 60)
    assert world.recovery.count == 1
    assert set(world.terraform.states[SHARD]) == set(world.terraform.maps[SHARD]) == {"n2"}
    record = world.journal.node_records()["n1"]
    assert (record.server_id, record.shard) == (servers(world)["n1"][0], "")
    assert not world.journal.dirty_shards()


def test_a_deletion_that_waits_is_made_by_the_server_s_id_at_once(caplog: pytest.LogCaptureFixture) -> None:
    """Not by a plan of a state that holds another server of the node."""
    world = two_up()
    world.slurm.end(1)
    world.terraform.locked.add(SHARD)
    world.slurm.suspend("n1")
    run_until(world, "n1", phases.DELETE_QUEUED)
    world.terraform.copies[SHARD] = world.terraform.states[SHARD] | {"n1": StateServer("old")}
    world.terraform.spoiled.add(SHARD)
    world.run(6)
    world.terraform.locked.clear()
    world.settle(40)
    assert set(servers(world)) == {"n2"} and "refused" not in caplog.text
    world.run(10)
    assert set(world.terraform.states[SHARD]) == {"n2"}


def test_nothing_is_put_back_while_a_run_of_ours_works_in_the_state() -> None:
    world = two_up()
    world.terraform.plan_seconds = 12
    world.slurm.submit("n3")
    run_until(world, "n3", phases.PLANNING)
    world.terraform.copies[SHARD] = dict(world.terraform.states[SHARD])
    world.terraform.spoiled.add(SHARD)
    while world.engine._batches.busy(SHARD):
        assert world.terraform.spoiled == {SHARD}
        world.run(0.1)
    world.run(90)
    assert set(servers(world)) == {"n1", "n2", "n3"}
    assert set(world.terraform.states[SHARD]) == set(world.terraform.maps[SHARD]) == {"n1", "n2"}
    assert not world.journal.dirty_shards()


def test_a_node_that_came_again_in_another_state_stays_recorded_there() -> None:
    world = MemoryWorld.of(3)
    up(world, "n1")
    world.terraform.locked.add(SHARD)
    up(world, "n2")
    world.terraform.locked.clear()
    other = world.journal.node_records()["n2"].shard
    assert other != SHARD
    world.terraform.copies[SHARD] = world.terraform.states[SHARD] | {"n2": StateServer("old")}
    world.terraform.spoiled.add(SHARD)
    world.run(60)
    assert set(world.terraform.states[SHARD]) == {"n1"} and set(world.terraform.states[other]) == {"n2"}
    world.settle(60)
    assert_at_rest(world)


def test_a_state_that_can_not_be_looked_at_keeps_no_other_from_it(monkeypatch: pytest.MonkeyPatch) -> None:
    world = two_up()
    look = world.terraform.is_broken

    def fails(shard: str) -> bool:
        if shard == SHARD:
            raise KeyError(shard)
        return look(shard)

    monkeypatch.setattr(world.terraform, "is_broken", fails)
    run(world, 60)
    assert "KeyError" in world.left_alone
    world.terraform.spoiled.add("mem/nodes-002")
    run(world, 10)
    assert "KeyError" in world.left_alone and not world.terraform.spoiled


def test_states_are_looked_at_every_few_seconds_only(monkeypatch: pytest.MonkeyPatch) -> None:
    world = two_up()
    looked: list[str] = []

    def look(shard: str) -> bool:
        looked.append(shard)
        return False

    monkeypatch.setattr(world.terraform, "is_broken", look)
    world.run(30)
    assert 3 <= looked.count(SHARD) <= 10


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
