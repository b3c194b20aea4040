"""A server that can't be deleted: that is told, its node rests, jobs go elsewhere, and it is tried again."""

from collections.abc import Callable
from itertools import pairwise

import pytest

from slurm_powersave.decide.node.reboot import asked
from slurm_powersave.model import phases
from slurm_powersave.model.modes import Kind, Mode
from slurm_powersave.model.nodes import Request
from slurm_powersave.model.permit import Permit
from slurm_powersave.model.records import Pause
from slurm_powersave.model.slurm_versions import TESTED
from slurm_powersave.testing.world import MemoryWorld
from tests.unit.engine.checks import assert_at_rest, coarsely, operations, outcomes, servers
from tests.unit.engine.stories import drained, run_until, up

UNLOCK = "is locked and cannot be deleted: openstack server unlock id-1"
STUCK = "server id-1 is not gone 3 minutes after its deletion was begun; the cloud shows ACTIVE"


@pytest.fixture(params=[str(version) for version in TESTED])
def world(request: pytest.FixtureRequest) -> MemoryWorld:
    """Four nodes, and a Slurm that waits for long."""
    world = MemoryWorld.of(4, slurm_version=request.param)
    world.slurm.resume_timeout = 3600
    return world


def lock(world: MemoryWorld) -> Callable[[], None]:
    """Let somebody lock the first server; return what unlocks it."""
    world.cloud.locked.add("id-1")
    return world.cloud.locked.clear


def stick(world: MemoryWorld) -> Callable[[], None]:
    """Let the first server never end."""
    world.cloud.undying.add("id-1")

    def mend() -> None:
        world.cloud.undying.clear()
        for run in world.terraform.runs.values():
            run.ends = min(run.ends, world.clock.now())

    return mend


Block = Callable[[MemoryWorld], Callable[[], None]]
both = pytest.mark.parametrize(("block", "said"), [(lock, UNLOCK), (stick, STUCK)])


@both
def test_a_suspend_that_does_not_end_is_told_and_its_node_rests(
    world: MemoryWorld, block: Block, said: str
) -> None:
    world.slurm.end(up(world, "n1"))
    mend = block(world)
    world.slurm.suspend("n1")
    coarsely(world, 150)
    assert operations(world, "n1")[-1].text == "" and not world.slurm.node("n1").has("DRAIN")
    coarsely(world, 90)
    op, node = operations(world, "n1")[-1], world.slurm.node("n1")
    assert not op.outcome and said in op.text
    assert node.has("DRAIN") and said in node.reason and node.reason.endswith(f"[op {op.id}]")
    coarsely(world, 3600)
    assert world.slurm.node("n1").reason == node.reason, "the same words, however long it takes"
    assert operations(world, "n1")[-1].text == op.text
    mend()
    world.settle(120)
    last = operations(world, "n1")[-1]
    assert last.outcome == phases.DONE and "; gone after 6" in last.text
    coarsely(world, 200)
    assert not world.slurm.node("n1").has("DRAIN") and not world.journal.node_backoffs()
    up(world, "n1")
    assert_at_rest(world)


@both
def test_a_resume_that_waits_for_it_is_given_back(world: MemoryWorld, block: Block, said: str) -> None:
    world.slurm.end(up(world, "n1"))
    mend = block(world)
    world.slurm.suspend("n1")
    coarsely(world, 60)
    job = world.slurm.submit("n1")
    coarsely(world, 60)
    waiting = operations(world, "n1")[-1]
    assert (waiting.mode, waiting.phase) == ("resume", phases.WAITING)
    coarsely(world, 120)
    resume = world.journal.operation(waiting.id)
    assert resume and resume.outcome == phases.FAILED and said in resume.text
    assert world.slurm.jobs[job].state == "PENDING", "it may go to other nodes, long before ResumeTimeout"
    node = world.slurm.node("n1")
    assert node.has("DRAIN") and said in node.reason
    assert [op.mode for op in world.journal.open_operations()] == ["suspend"], "the deletion goes on"
    assert world.journal.node_records()["n1"].failures == 0, "nothing was tried on it"
    mend()
    world.settle(120)
    coarsely(world, 200)
    assert servers(world) == {}
    up(world, "n1")


def test_one_that_comes_later_is_given_back_at_once(world: MemoryWorld) -> None:
    world.slurm.end(up(world, "n1"))
    lock(world)
    world.slurm.suspend("n1")
    coarsely(world, 240)
    world.request(Mode.RESUME, "n1", source="operator")
    world.run(2)
    op = operations(world, "n1")[-1]
    assert op.outcome == phases.REFUSED and UNLOCK in op.text, "a person's: Slurm knows nothing of it"
    world.request(Mode.RESUME, "n1")
    world.run(2)
    assert operations(world, "n1")[-1].failure is not None
    world.run(30)
    assert operations(world, "n1")[-1].outcome == phases.FAILED


@both
def test_an_old_server_in_the_way_of_a_resume(world: MemoryWorld, block: Block, said: str) -> None:
    world.slurm.end(up(world, "n1"))
    world.cloud.unreachable = "503"
    world.slurm.suspend("n1")
    world.run(30)
    block(world)
    world.slurm.submit("n1")
    world.run(5)
    world.cloud.unreachable = ""
    coarsely(world, 300)
    resumes = [op for op in operations(world, "n1") if op.mode == "resume"]
    assert said in resumes[-1].text and resumes[-1].failure is not None
    assert world.slurm.node("n1").has("DRAIN") and said in world.slurm.node("n1").reason


def test_a_failed_creation_says_both(world: MemoryWorld) -> None:
    world.cloud.error_faults["n1"] = "disk full"
    lock(world)
    world.slurm.submit("n1")
    coarsely(world, 400)
    (op, *_) = operations(world, "n1")
    assert op.text.startswith("disk full; server id-1 ") and op.text.count(UNLOCK) == 1
    assert UNLOCK in world.slurm.node("n1").reason
    world.cloud.locked.clear()
    world.cloud.error_faults.clear()
    world.settle(120)
    assert servers(world) == {}


def test_the_deletion_is_tried_ever_more_rarely(world: MemoryWorld) -> None:
    world.slurm.end(up(world, "n1"))
    lock(world)
    times: list[float] = []
    delete = world.cloud.delete

    def counted(server_id: str, permit: Permit) -> None:
        times.append(world.clock.now())
        delete(server_id, permit)

    world.cloud.delete = counted  # type: ignore[method-assign]
    world.slurm.suspend("n1")
    coarsely(world, 3600)
    pauses = [after - before for before, after in pairwise(times)]
    assert 55 <= len(times) <= 75
    assert pauses[0] < 20 and all(59 < pause < 70 for pause in pauses[5:])
    assert len(world.journal.acts(operations(world, "n1")[-1].id)) <= len(times) + 1


def test_a_new_engine_goes_on(world: MemoryWorld) -> None:
    world.slurm.end(up(world, "n1"))
    mend = lock(world)
    world.slurm.suspend("n1")
    coarsely(world, 240)
    reason = world.slurm.node("n1").reason
    world.crash()
    coarsely(world, 600)
    assert world.slurm.node("n1").reason == reason
    assert operations(world, "n1")[-1].text.count(UNLOCK) == 1
    mend()
    world.settle(120)
    coarsely(world, 120)
    assert not world.slurm.node("n1").has("DRAIN")
    assert outcomes(world, "n1")[-1] == ("suspend", "done")


def test_what_a_person_has_set_aside_stays(world: MemoryWorld) -> None:
    world.slurm.end(up(world, "n1"))
    lock(world)
    world.slurm.suspend("n1")
    run_until(world, "n1", phases.VERIFYING)
    drained(world, "n1", "bad DIMM")
    coarsely(world, 300)
    assert world.slurm.node("n1").reason == "bad DIMM" and set(servers(world)) == {"n1"}


def test_a_replacement_whose_old_server_stays_fails_and_is_told(world: MemoryWorld) -> None:
    world.slurm.end(up(world, "n1"))
    lock(world)
    now, words = world.clock.now(), asked(Kind.REPLACE)
    world.journal.add_request(Request("r1", Mode.REBOOT, "n1", now, "operator", action=words), now)
    coarsely(world, 300)
    (op,) = world.journal.operations_of("r1")
    assert op.failure is not None and UNLOCK in op.text
    assert world.slurm.node("n1").has("DRAIN") and UNLOCK in world.slurm.node("n1").reason
    world.cloud.locked.clear()
    coarsely(world, 300)
    assert servers(world) == {} and world.journal.operations_of("r1")[0].outcome == phases.FAILED


def test_a_deletion_that_a_person_has_paused_is_not_stuck(world: MemoryWorld) -> None:
    world.slurm.end(up(world, "n1"))
    world.journal.save_pause(Pause("", "the cloud is being mended", "root", world.clock.now()))
    world.slurm.suspend("n1")
    coarsely(world, 600)
    assert operations(world, "n1")[-1].text == "" and not world.slurm.node("n1").has("DRAIN")


def test_after_an_unlock_the_deletion_has_its_time_once_more(world: MemoryWorld) -> None:
    world.slurm.end(up(world, "n1"))
    lock(world)
    world.slurm.suspend("n1")
    coarsely(world, 240)
    stick(world)
    world.cloud.locked.clear()
    coarsely(world, 150)
    assert UNLOCK in operations(world, "n1")[-1].text
    coarsely(world, 120)
    op = operations(world, "n1")[-1]
    assert op.text == STUCK and STUCK in world.slurm.node("n1").reason


@pytest.mark.parametrize("outside", ["slurm", "cloud"])
def test_while_nothing_can_be_read_no_deletion_is_stuck(world: MemoryWorld, outside: str) -> None:
    world.slurm.end(up(world, "n1"))
    world.slurm.suspend("n1")
    run_until(world, "n1", phases.DELETING)
    getattr(world, outside).unreachable = "503"
    coarsely(world, 600)
    op = operations(world, "n1")[-1]
    assert op.text == "" and "can't be read: 503" in op.waits
    getattr(world, outside).unreachable = ""
    coarsely(world, 60)
    assert operations(world, "n1")[-1].outcome == phases.DONE and servers(world) == {}
    assert operations(world, "n1")[-1].text == ""
