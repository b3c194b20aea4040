"""What can't be read is not guessed at: nothing destructive happens, and the rest goes on."""

import pytest

from slurm_powersave.model import phases
from slurm_powersave.model.errors import TerraformError
from slurm_powersave.model.nodes import Server
from slurm_powersave.testing.world import MemoryWorld
from tests.unit.engine.checks import assert_at_rest, operations, outcomes, servers
from tests.unit.engine.stories import run_until, up


@pytest.mark.parametrize("phase", ["", phases.DELETE_QUEUED, phases.DELETE_PLANNING])
def test_nothing_is_deleted_while_slurm_cannot_be_read(phase: str) -> None:
    world = MemoryWorld.of(2)
    world.slurm.end(up(world, "n1"))
    if phase == phases.DELETE_QUEUED:
        world.terraform.locked.add("mem/nodes-001")
    world.slurm.suspend("n1")
    if phase:
        run_until(world, "n1", phase)
    world.slurm.unreachable = "Unable to contact slurm controller"
    world.terraform.locked.clear()
    world.run(600)
    assert set(servers(world)) == {"n1"}
    world.slurm.unreachable = ""
    world.settle(120)
    assert servers(world) == {}
    assert_at_rest(world)


def test_ten_minutes_without_slurm_in_the_middle_of_a_resume() -> None:
    world = MemoryWorld.of(2)
    world.slurm.submit("n1")
    run_until(world, "n1", phases.APPLYING)
    world.slurm.unreachable = "Unable to contact slurm controller"
    world.slurm.resume_timeout = 3600
    world.run(600)
    world.slurm.unreachable = ""
    world.settle(120)
    assert world.slurm.node("n1").up
    assert_at_rest(world)


def test_nothing_is_deleted_while_the_cloud_cannot_be_read() -> None:
    world = MemoryWorld.of(2)
    world.slurm.end(up(world, "n1"))
    world.cloud.unreachable = "503 Service Unavailable"
    world.slurm.suspend("n1")
    world.run(300)
    assert set(servers(world)) == {"n1"}
    world.cloud.unreachable = ""
    world.settle(120)
    assert servers(world) == {}
    assert_at_rest(world)


def test_a_state_that_cannot_be_read_stops_its_shard_only() -> None:
    world = MemoryWorld.of(4)
    world.slurm.end(up(world, "n1"))
    shard = world.journal.node_records()["n1"].shard
    world.terraform.locked.add(shard)  # so that n2 goes to another one
    up(world, "n2")
    assert world.journal.node_records()["n2"].shard != shard
    world.terraform.locked.clear()
    world.terraform.broken_shards.add(shard)
    world.slurm.suspend("n1")
    world.run(5)
    world.slurm.submit("n3")
    world.slurm.end(2)
    world.slurm.suspend("n2")
    world.run(120)
    assert set(servers(world)) == {"n1", "n3"}, "n2 and n3 are served, n1 is left alone"
    assert world.slurm.node("n3").up
    world.terraform.broken_shards.clear()
    world.run(90)
    world.settle(120)
    assert set(servers(world)) == {"n3"}
    assert_at_rest(world)


def test_a_map_that_cannot_be_read_stops_its_shard_only(monkeypatch: pytest.MonkeyPatch) -> None:
    world = MemoryWorld.of(4)
    world.slurm.suspend_timeout = 600
    world.slurm.end(up(world, "n1"))
    shard, read = world.journal.node_records()["n1"].shard, world.terraform.nodes

    def nodes(name: str) -> object:
        if name == shard:
            raise TerraformError("not readable as JSON", where=name)
        return read(name)

    monkeypatch.setattr(world.terraform, "nodes", nodes)
    up(world, "n2")
    assert world.journal.node_records()["n2"].shard != shard
    world.slurm.suspend("n1")
    world.run(120)
    assert set(servers(world)) == {"n2"}, "n1's server has gone by its id"
    assert outcomes(world, "n1")[-1] == ("suspend", "done")
    assert world.journal.dirty_shards() == {shard}


def test_a_state_that_cannot_be_read_after_an_apply_loses_no_server() -> None:
    world = MemoryWorld.of(4)
    world.run(2)
    world.slurm.submit("n1", "n2")
    run_until(world, "n1", phases.APPLYING)
    world.terraform.broken_shards.add("mem/nodes-001")
    world.run(60)
    world.terraform.broken_shards.clear()
    world.run(90)
    world.settle(120)
    assert world.slurm.node("n1").up and world.slurm.node("n2").up
    assert world.cloud.created == 2
    assert_at_rest(world)


def test_a_create_that_failed_under_an_unreadable_state_leaves_no_entry_in_the_map() -> None:
    world = MemoryWorld.of(2, failure={"rest": {"quota": 20}})
    world.run(2)
    world.cloud.create_faults["n1"] = "Quota exceeded for cores"
    world.terraform.broken_shards.add("mem/nodes-001")
    world.slurm.submit("n1")
    world.run(60)
    world.terraform.broken_shards.clear()
    world.run(120)
    world.settle(60)
    assert_at_rest(world)


def test_a_node_with_a_job_is_never_deleted_whatever_the_hook_says() -> None:
    world = MemoryWorld.of(2)
    up(world, "n1")
    world.slurm.hook("suspend", "n1")  # type: ignore[arg-type]
    world.settle(60)
    assert outcomes(world, "n1")[-1] == ("suspend", "refused")
    assert set(servers(world)) == {"n1"}


@pytest.mark.parametrize("phase", [phases.DELETE_QUEUED, phases.DELETE_PLANNING])
@pytest.mark.parametrize("flag", ["ALLOCATED", "MIXED", "RESERVED", "COMPLETING"])
def test_a_node_that_gets_a_job_while_its_delete_waits_is_left_alone(phase: str, flag: str) -> None:
    world = MemoryWorld.of(2)
    world.slurm.end(up(world, "n1"))
    world.terraform.locked.add("mem/nodes-001")
    world.slurm.suspend("n1")
    run_until(world, "n1", phases.DELETE_QUEUED)
    if phase == phases.DELETE_PLANNING:
        world.terraform.locked.clear()
        run_until(world, "n1", phase)
    world.slurm.set_flags("n1", flag, "CLOUD")
    world.terraform.locked.clear()
    world.run(100)
    assert set(servers(world)) == {"n1"}
    assert operations(world, "n1")[-1].outcome == "refused"


def test_a_node_in_use_is_not_deleted_by_an_engine_that_was_away() -> None:
    world = MemoryWorld.of(2)
    world.slurm.end(up(world, "n1"))
    world.terraform.locked.add("mem/nodes-001")
    world.slurm.suspend("n1")
    run_until(world, "n1", phases.DELETE_QUEUED)
    world.terraform.locked.clear()
    world.clock.advance(3600)
    world.slurm.set_flags("n1", "ALLOCATED", "CLOUD")
    world.crash()
    world.run(100)
    assert set(servers(world)) == {"n1"}


def test_a_busy_shard_is_waited_for_a_minute_then_the_server_goes_by_its_id() -> None:
    world = MemoryWorld.of(2)
    world.slurm.suspend_timeout = 600
    world.slurm.end(up(world, "n1", "n2"))
    shard = world.journal.node_records()["n1"].shard
    world.terraform.locked.add(shard)
    world.slurm.suspend("n1")
    world.run(55)
    assert set(servers(world)) == {"n1", "n2"}
    world.run(15)
    assert set(servers(world)) == {"n2"}
    assert "n1" in world.terraform.states[shard], "Terraform does not know it yet"
    assert operations(world, "n1")[-1].outcome == "done"
    world.terraform.locked.clear()
    world.run(5)
    world.settle(60)
    assert_at_rest(world)


def test_a_server_that_went_behind_our_back_does_not_poison_the_next_resume() -> None:
    world = MemoryWorld.of(2)
    world.slurm.end(up(world, "n1"))
    world.cloud.vanish(servers(world)["n1"][0])
    world.slurm.suspend("n1")
    world.settle(60)
    up(world, "n1")
    assert world.cloud.created == 2
    assert_at_rest(world)


def foreign(world: MemoryWorld, **changes: object) -> None:
    """Put a server into the cloud that we did not make."""
    server = Server("foreign", "n1", "ACTIVE", tags=frozenset({"made-by-hand"}))
    world.cloud.add(server)


def test_a_server_without_our_tag_is_never_touched() -> None:
    world = MemoryWorld.of(2)
    foreign(world)
    world.slurm.end(up(world, "n1"))
    world.slurm.suspend("n1")
    world.settle(60)
    world.run(120)
    assert "foreign" in {server.id for server in world.cloud.alive()}
