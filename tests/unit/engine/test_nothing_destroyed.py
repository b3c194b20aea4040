"""Nothing is destroyed by inference: lost journals, a Slurm that lies, servers that nobody wants."""

from pathlib import Path

import pytest

from slurm_powersave.adapters.journal.sqlite import SqliteJournal
from slurm_powersave.decide.node import brake
from slurm_powersave.engine.loop import Engine
from slurm_powersave.engine.world import World
from slurm_powersave.model.modes import Mode
from slurm_powersave.model.permit import Act, Permit, Row
from slurm_powersave.testing.world import MemoryWorld, cluster
from tests.unit.engine.checks import assert_agreed, coarsely, servers
from tests.unit.engine.jolts import JOLTS
from tests.unit.engine.stories import run_job


def lose_the_journal(world: MemoryWorld) -> None:
    """Begin with an empty journal, as after `rm journal.db*`."""
    world.journal = SqliteJournal(":memory:")
    world.crash()


def powered_down(world: MemoryWorld, *nodes: str) -> None:
    """Let Slurm show nodes as off, whatever runs there: `slurmctld -c`, a lost StateSaveLocation."""
    for name in nodes:
        world.slurm.set_flags(name, "IDLE", "CLOUD", "POWERED_DOWN")


def called_off() -> MemoryWorld:
    """A world in which n1 runs, and Slurm shows it as off without having called for it."""
    world = MemoryWorld.of(1)
    run_job(world, "n1")
    world.slurm.jobs.clear()
    powered_down(world, "n1")
    return world


# A journal that is lost


def test_a_lost_journal_takes_no_server_with_it_when_a_creation_fails() -> None:
    world = MemoryWorld.of(4)
    run_job(world, "n1", "n2")
    made = servers(world)
    lose_the_journal(world)
    world.cloud.error_faults["n3"] = "Build of instance aborted"
    world.slurm.submit("n3")
    coarsely(world, 180)
    assert {name: ids for name, ids in servers(world).items() if name in made} == made
    assert world.journal.node_record("n1").server_id == made["n1"][0]  # type: ignore[union-attr]


def test_a_lost_journal_and_a_shard_that_is_tidied_at_once() -> None:
    world = MemoryWorld.of(2)
    run_job(world, "n1", "n2")
    made = servers(world)
    lose_the_journal(world)
    for shard in world.terraform.states:
        world.journal.set_dirty(shard, True)
    coarsely(world, 120)
    assert servers(world) == made
    world.settle()
    assert_agreed(world)


def test_a_state_that_could_not_be_read_with_a_lost_journal_is_looked_at_later() -> None:
    world = MemoryWorld.of(2)
    run_job(world, "n1", "n2")
    (shard,) = [name for name, held in world.terraform.states.items() if held]
    world.terraform.broken_shards.add(shard)
    lose_the_journal(world)
    world.cloud.vanish(servers(world)["n2"][0])
    powered_down(world, "n2")
    coarsely(world, 30)
    assert set(world.terraform.states[shard]) == {"n1", "n2"}
    world.terraform.broken_shards.clear()
    coarsely(world, 120)
    assert set(world.terraform.states[shard]) == {"n1"} == set(servers(world))


def test_a_server_that_went_by_itself_leaves_the_state_and_no_other_does() -> None:
    world = MemoryWorld.of(3)
    run_job(world, "n1", "n2", "n3")
    made = servers(world)
    lose_the_journal(world)
    world.cloud.vanish(made["n2"][0])
    for shard in world.terraform.states:
        world.journal.set_dirty(shard, True)
    coarsely(world, 180)
    assert servers(world) == {name: ids for name, ids in made.items() if name != "n2"}
    held = {name for state in world.terraform.states.values() for name in state}
    assert held == {"n1", "n3"}


def test_a_cloud_that_can_not_be_read_keeps_every_entry_in_its_state() -> None:
    world = MemoryWorld.of(2)
    run_job(world, "n1", "n2")
    lose_the_journal(world)
    for shard in world.terraform.states:
        world.journal.set_dirty(shard, True)
    world.cloud.unreachable = "503 Service Unavailable"
    coarsely(world, 120)
    assert {name for state in world.terraform.states.values() for name in state} == {"n1", "n2"}


def test_where_the_cloud_has_no_adapter_the_state_is_believed_and_recorded_again() -> None:
    world = MemoryWorld.of(2)
    run_job(world, "n1")
    made = servers(world)
    lose_the_journal(world)
    outside = (world.slurm, world.terraform, world.playbooks)
    world.engine = Engine(World(world.cluster, world.journal, *outside, {}, world.clock, world.store))
    coarsely(world, 60)
    assert servers(world) == made and not world.journal.dirty_shards()
    assert [record.server_id for record in world.journal.node_records().values() if record.shard] == made[
        "n1"
    ]


# A Slurm that has lost its state


def test_a_slurm_that_shows_every_node_as_off_gets_no_server_deleted() -> None:
    world = MemoryWorld.of(6)
    names = [f"n{number}" for number in range(1, 7)]
    run_job(world, *names)
    made = servers(world)
    world.slurm.jobs.clear()
    powered_down(world, *names)
    world.playbooks.steps = dict.fromkeys(names, True)  # their jobs run on
    coarsely(world, 3600, step=5)
    assert servers(world) == made


def test_what_does_not_say_whether_a_job_runs_there_is_left() -> None:
    world = called_off()
    world.playbooks.steps["n1"] = None
    coarsely(world, 3600, step=5)
    assert set(servers(world)) == {"n1"}


def test_what_is_off_in_the_cloud_need_not_say_anything() -> None:
    world = called_off()
    world.playbooks.steps["n1"] = None
    world.cloud.set_status(servers(world)["n1"][0], "SHUTOFF")
    coarsely(world, 1000, step=2)
    world.settle()
    assert servers(world) == {}


def test_the_quarter_of_an_hour_begins_anew_when_slurm_could_not_be_read() -> None:
    world = called_off()
    coarsely(world, 800, step=2)
    world.slurm.unreachable = "Unable to contact slurm controller"
    coarsely(world, 300, step=2)
    world.slurm.unreachable = ""
    coarsely(world, 800, step=2)
    assert set(servers(world)) == {"n1"}
    coarsely(world, 200, step=2)
    world.settle()
    assert servers(world) == {}


def test_the_quarter_of_an_hour_is_not_told_by_the_wall_clock() -> None:
    world = called_off()
    coarsely(world, 60, step=2)
    world.clock.jump(86400)
    coarsely(world, 120, step=2)
    assert set(servers(world)) == {"n1"}


# The brake


def lying(world: MemoryWorld, nodes: int) -> list[str]:
    """All nodes up, and Slurm says they are off; the servers say that nothing runs there."""
    names = [f"n{number}" for number in range(1, nodes + 1)]
    run_job(world, *names)
    world.slurm.jobs.clear()
    powered_down(world, *names)
    return names


def test_five_servers_may_go_on_our_own_account_and_then_a_person_is_asked() -> None:
    world = MemoryWorld.of(9)
    lying(world, 9)
    coarsely(world, 7200, step=5)
    assert len(servers(world)) == 4
    assert "5 are the most" in world.journal.brake()
    world.journal.confirm(world.clock.now())
    coarsely(world, 600, step=5)
    world.settle()
    assert servers(world) == {}


@pytest.mark.parametrize("jolt", JOLTS)
def test_the_brake_counts_by_no_wall_clock(jolt: str) -> None:
    world = MemoryWorld.of(9)
    guard = world.engine._steps._guard
    for number in range(5):
        guard.record(Permit(Act.DELETE, f"id-{number}", "n1", Row.OWN, "a test"))
    world.run(30)
    JOLTS[jolt][0](world)
    world.run(1)
    own = world.engine._own
    assert len(own._done) == 5 and "5 are the most" in own.brake("another")
    world.journal.set_brake("")
    coarsely(world, 600, step=5)
    assert not own.brake("another") and not own._done


def test_a_person_who_confirms_ends_the_count_whatever_the_clock_shows() -> None:
    world = MemoryWorld.of(9)
    for number in range(5):
        guard = world.engine._steps._guard
        guard.record(Permit(Act.DELETE, f"id-{number}", "n1", Row.OWN, "a test"))
    world.clock.jump(-7200)
    world.run(1)
    world.journal.confirm(world.clock.wall())
    assert not world.engine._own.brake("another")


def test_slurms_own_calls_are_not_braked() -> None:
    world = MemoryWorld.of(9)
    names = [f"n{number}" for number in range(1, 10)]
    world.journal.set_brake("a test")
    job = run_job(world, *names)
    world.slurm.end(job)
    world.slurm.suspend(*names)
    world.settle()
    assert servers(world) == {}


def test_a_new_journal_is_believed_when_all_have_agreed_for_half_an_hour() -> None:
    world = MemoryWorld.of(2)
    run_job(world, "n1", "n2")
    lose_the_journal(world)
    assert world.journal.brake() == brake.NEW
    coarsely(world, 1700, step=5)
    assert world.journal.brake()
    coarsely(world, 300, step=5)
    assert not world.journal.brake()


def test_a_new_journal_is_not_believed_while_they_differ() -> None:
    world = MemoryWorld.of(2)
    run_job(world, "n1", "n2")
    world.slurm.jobs.clear()
    lose_the_journal(world)
    powered_down(world, "n1")
    coarsely(world, 3600, step=5)
    assert world.journal.brake() == brake.NEW
    assert set(servers(world)) == {"n1", "n2"}


def test_a_cloud_that_can_not_be_read_has_not_agreed() -> None:
    clouds = {name: {"adapter": "none", "nodes_module": Path("/nonexistent")} for name in ("mem", "other")}
    login = cluster().login.model_dump(mode="json")
    pool = cluster(2).node_pools[0].model_dump(mode="json")
    world = MemoryWorld.of(
        2, clouds=clouds, login=login | {"cloud": "mem"}, node_pools=[pool | {"cloud": "mem"}]
    )
    run_job(world, "n1", "n2")
    lose_the_journal(world)
    world.cloud.unreachable = "503 Service Unavailable"
    coarsely(world, 3600, step=5)
    assert world.journal.brake() == brake.NEW


# Evidence of a call


def test_a_call_counts_no_more_once_the_node_was_used_again() -> None:
    world = MemoryWorld.of(1)
    run_job(world, "n1")
    world.request(Mode.SUSPEND, "n1")
    world.settle()
    world.slurm.jobs.clear()
    powered_down(world, "n1")
    coarsely(world, 300, step=1)
    assert set(servers(world)) == {"n1"}, "the call was older than the job"


def test_a_node_that_was_used_after_the_call_keeps_its_server_though_it_is_off_now() -> None:
    """A call waits for a shard; meanwhile Slurm shows a job on the node, and then calls it off."""
    world = MemoryWorld.of(1)
    world.slurm.end(run_job(world, "n1"))
    world.terraform.locked.add("mem/nodes-001")
    world.slurm.suspend("n1")
    coarsely(world, 5)
    world.slurm.set_flags("n1", "MIXED", "CLOUD")
    world.engine._world.slurm_view.refresh()
    powered_down(world, "n1")
    world.terraform.locked.clear()
    coarsely(world, 120)
    assert set(servers(world)) == {"n1"}
    assert "in use after Slurm's call" in world.newest("n1").text


def test_an_old_server_that_may_run_a_job_is_not_deleted_for_a_creation() -> None:
    """26.05: `power up force` on a node that is up."""
    world = MemoryWorld.of(1)
    run_job(world, "n1")
    made = servers(world)
    world.playbooks.steps["n1"] = True
    world.slurm.set_flags("n1", "ALLOCATED", "CLOUD", "POWERING_UP")
    world.request(Mode.RESUME, "n1")
    coarsely(world, 60)
    assert servers(world) == made
    world.playbooks.steps["n1"] = False
    coarsely(world, 60)
    assert servers(world) and servers(world) != made


def test_what_was_destroyed_and_why_is_in_the_journal() -> None:
    world = MemoryWorld.of(1)
    job = run_job(world, "n1")
    (server,) = servers(world)["n1"]
    world.slurm.end(job)
    world.slurm.suspend("n1")
    world.settle()
    acts = world.journal.acts(world.newest("n1").id)
    assert [(act.act, act.subject, act.row) for act in acts] == [("delete", server, "by hook")]
    assert "call" in acts[0].evidence


@pytest.mark.parametrize("flags", [("IDLE",), ("ALLOCATED",), ("MIXED", "DRAIN"), ("DOWN", "NOT_RESPONDING")])
def test_a_node_that_has_registered_loses_no_server_because_a_creation_failed(flags: tuple[str, ...]) -> None:
    world = MemoryWorld.of(1)
    world.slurm.submit("n1")
    world.playbooks.faults["n1"] = "mount failed"
    while world.newest("n1").phase != "failing" if world.journal.history("n1", 1) else True:
        world.run(0.1)
    world.slurm.set_flags("n1", "CLOUD", *flags)
    world.slurm.suspend_timeout = 1e9
    world.slurm.hook = lambda mode, nodes: None
    coarsely(world, 120)
    assert set(servers(world)) == {"n1"}
