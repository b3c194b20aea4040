"""Every wait says what keeps it, and at its limit takes its next step."""

from collections.abc import Callable
from typing import Any

import pytest

from slurm_powersave.decide.node.reboot import asked
from slurm_powersave.model import phases
from slurm_powersave.model.errors import SlurmError
from slurm_powersave.model.modes import Kind, Mode
from slurm_powersave.model.nodes import Operation, Request
from slurm_powersave.testing.world import MemoryWorld
from tests.unit.engine import checks
from tests.unit.engine.checks import coarsely, servers
from tests.unit.engine.stories import up

TIMES = {"resume_timeout": 240}
AWAY = "503 Service Unavailable"


@pytest.fixture
def world() -> MemoryWorld:
    """A cluster whose resumes are given back after two minutes; Slurm itself waits for longer."""
    found = MemoryWorld.of(3, power_save=TIMES)
    found.slurm.resume_timeout = 3600
    return found


def refuse(world: MemoryWorld, *states: str) -> Callable[[], None]:
    """Let Slurm refuse to set nodes to these states; return what ends that."""
    original = world.slurm.update_nodes

    def update(nodes: list[str], *, state: str = "", **more: Any) -> None:
        if state in states:
            raise SlurmError("Invalid node state specified")
        original(nodes, state=state, **more)

    world.slurm.update_nodes = update  # type: ignore[method-assign,assignment]

    def end() -> None:
        world.slurm.update_nodes = original  # type: ignore[method-assign]

    return end


def operations(world: MemoryWorld, node: str) -> list[Operation]:
    """A node's operations, oldest first, without those that have joined another."""
    return [op for op in checks.operations(world, node) if op.outcome != phases.JOINED]


def run_until(world: MemoryWorld, node: str, phase: str) -> None:
    """Run until the node's newest operation is in a phase."""
    for _ in range(3000):
        if [op.phase for op in operations(world, node)][-1:] == [phase]:
            return
        world.run(0.1)
    raise AssertionError(operations(world, node))


def reboot(world: MemoryWorld, node: str, words: str) -> None:
    """Ask for a reboot as an operator."""
    now = world.clock.now()
    world.journal.add_request(Request(f"r-{now}", Mode.REBOOT, node, now, "operator", action=words), now)


def test_a_resume_that_can_read_no_cloud_says_so_and_is_given_back(world: MemoryWorld) -> None:
    world.cloud.unreachable = AWAY
    world.slurm.submit("n1")
    coarsely(world, 50)
    assert operations(world, "n1")[-1].waits == ""
    coarsely(world, 30)
    op = operations(world, "n1")[-1]
    assert (op.phase, op.waits) == (phases.CHECKING, f"the cloud mem can't be read: {AWAY}")
    coarsely(world, 60)
    op = operations(world, "n1")[-1]
    assert op.failure == "unknown" and op.waits == ""
    assert op.text == f"the cloud mem can't be read: {AWAY}; waited 2 minutes"
    assert world.slurm.node("n1").has("DRAIN") and AWAY in world.slurm.node("n1").reason
    assert world.cloud.created == 0


def test_what_keeps_it_is_forgotten_when_it_goes_on(world: MemoryWorld) -> None:
    world.slurm.end(up(world, "n1"))
    world.cloud.unreachable = AWAY
    world.slurm.suspend("n1")
    coarsely(world, 3600)
    op = operations(world, "n1")[-1]
    assert not op.outcome and AWAY in op.waits, "what Slurm wants off is never given up"
    world.cloud.unreachable = ""
    world.settle(60)
    op = operations(world, "n1")[-1]
    assert (op.outcome, op.waits, op.text) == ("done", "", "")
    assert servers(world) == {}


def test_a_resume_behind_another_operation_names_it(world: MemoryWorld) -> None:
    world.slurm.end(up(world, "n1"))
    world.cloud.unreachable = AWAY
    world.slurm.suspend("n1")
    coarsely(world, 70)
    world.slurm.submit("n1")
    coarsely(world, 70)
    suspend, resume = operations(world, "n1")[-2:]
    assert resume.waits == f"waits for suspend {suspend.id}, checking: {suspend.waits}"
    coarsely(world, 120)
    resume = world.journal.operation(resume.id) or resume
    assert resume.outcome == phases.FAILED and suspend.id in resume.text
    assert [op.mode for op in world.journal.open_operations()] == [Mode.SUSPEND]
    assert set(servers(world)) == {"n1"}, "nothing is deleted on half a picture"


def test_a_jump_of_the_clock_ends_no_wait(world: MemoryWorld) -> None:
    world.cloud.unreachable = AWAY
    world.slurm.submit("n1")
    coarsely(world, 10)
    world.clock.jump(100_000)
    world.engine.step()
    assert operations(world, "n1")[-1].phase == phases.CHECKING


def test_a_new_engine_begins_to_count_anew(world: MemoryWorld) -> None:
    world.cloud.unreachable = AWAY
    world.slurm.submit("n1")
    coarsely(world, 100)
    world.crash()
    coarsely(world, 100)
    assert operations(world, "n1")[-1].phase == phases.CHECKING
    coarsely(world, 30)
    assert operations(world, "n1")[-1].failure is not None


def test_a_create_without_a_shard_is_given_back(world: MemoryWorld) -> None:
    init = world.terraform.init

    def hangs(cloud: str, shard: str) -> Any:
        run = init(cloud, shard)
        run.ends = float("inf")
        return run

    world.terraform.init = hangs  # type: ignore[method-assign]
    world.slurm.submit("n1")
    run_until(world, "n1", phases.QUEUED)
    coarsely(world, 130)
    op = operations(world, "n1")[-1]
    assert op.failure == "unknown" and op.text.startswith("waits for a shard, a flavor that the cloud has")


@pytest.mark.parametrize("kind", [Kind.REBOOT, Kind.REIMAGE, Kind.REPLACE])
def test_a_reboot_that_can_read_no_cloud_gives_the_node_back(world: MemoryWorld, kind: Kind) -> None:
    world.slurm.end(up(world, "n1"))
    reboot(world, "n1", asked(kind))
    run_until(world, "n1", phases.DRAINING)
    world.cloud.unreachable = AWAY
    coarsely(world, 200)
    op = operations(world, "n1")[-1]
    assert op.outcome == phases.REFUSED and AWAY in op.text
    assert world.slurm.node("n1").ready and AWAY in world.slurm.node("n1").comment


def test_a_server_that_is_never_done_with_its_rebuild(world: MemoryWorld) -> None:
    world.slurm.end(up(world, "n1"))
    (server_id,) = servers(world)["n1"]
    world.cloud.failed_changes["n1"] = "no space"
    reboot(world, "n1", "reimage image=other")
    run_until(world, "n1", phases.UPDATING)
    world.cloud.unreachable = AWAY
    run_until(world, "n1", phases.RESTORING)
    world.cloud.keep_busy(server_id)
    world.cloud.set_status(server_id, "REBUILD")
    world.cloud.unreachable = ""
    coarsely(world, 200)
    assert operations(world, "n1")[-1].phase == phases.RESTORING
    coarsely(world, 60)
    op = operations(world, "n1")[-1]
    assert op.failure == "unknown" and op.text.endswith(
        "waits for the cloud to be done with the server; waited 4 minutes"
    )


def test_slurm_that_does_not_take_a_node_back_is_not_asked_for_ever(world: MemoryWorld) -> None:
    world.slurm.suspend_timeout = 3600
    world.slurm.end(up(world, "n1"))
    refuse(world, "RESUME")
    world.slurm.suspend("n1")
    run_until(world, "n1", phases.RELEASING)
    coarsely(world, 290)
    assert operations(world, "n1")[-1].phase == phases.RELEASING
    coarsely(world, 20)
    op = operations(world, "n1")[-1]
    assert (op.outcome, op.text) == ("done", "waits for Slurm to take the node back; waited 5 minutes")
    assert servers(world) == {}


def test_a_refusal_that_slurm_does_not_hear_ends(world: MemoryWorld) -> None:
    world.slurm.end(up(world, "n1"))
    reboot(world, "n1", "reimage")
    run_until(world, "n1", phases.DRAINING)
    world.cloud.unreachable = AWAY
    refuse(world, "RESUME")
    run_until(world, "n1", phases.REFUSING)
    coarsely(world, 320)
    op = operations(world, "n1")[-1]
    assert op.outcome == phases.REFUSED
    assert AWAY in op.text and op.text.endswith("waits for Slurm to take the node back; waited 5 minutes")


@pytest.mark.parametrize("mode", [Mode.RESUME, Mode.SUSPEND, Mode.REBOOT])
def test_what_a_person_asks_for_is_refused_when_slurm_is_away_for_long(
    world: MemoryWorld, mode: Mode
) -> None:
    world.slurm.unreachable = "Unable to contact slurm controller"
    world.request(mode, "n1", source="operator")
    coarsely(world, 590)
    assert operations(world, "n1")[-1].phase == phases.ASKING
    coarsely(world, 20)
    op = operations(world, "n1")[-1]
    assert op.outcome == phases.REFUSED and "Slurm can't be read: Unable to contact" in op.text
    world.slurm.unreachable = ""
    coarsely(world, 60)
    assert not world.slurm.node("n1").has("DRAIN", "POWERING_UP") and not world.journal.node_backoffs()


def test_slurm_that_refuses_to_power_a_failed_node_down_is_not_asked_for_ever(world: MemoryWorld) -> None:
    states: list[str] = []
    refuse(world, "POWER_DOWN_FORCE")
    refusing = world.slurm.update_nodes

    def counted(nodes: list[str], *, state: str = "", **more: Any) -> None:
        states.append(state)
        refusing(nodes, state=state, **more)

    world.slurm.update_nodes = counted  # type: ignore[method-assign,assignment]
    coarsely(world, 10)  # Slurm has been read: the node is known to have been off
    world.cloud.error_faults["n1"] = "disk full"
    world.slurm.submit("n1")
    run_until(world, "n1", phases.FAILING)
    coarsely(world, 300)
    assert 8 <= states.count("POWER_DOWN_FORCE") <= 20
    op = operations(world, "n1")[0]
    assert op.outcome == phases.FAILED and servers(world) == {}
    assert world.cloud.created == 1, "the node rests all the same"
    assert op.text.startswith("disk full; Slurm refuses to power down the node: Invalid node state")


def test_a_persons_resume_behind_a_reboot_that_waits_for_jobs_is_refused(world: MemoryWorld) -> None:
    """Slurm knows nothing of it, and the node and its job are left alone."""
    job = up(world, "n1")
    world.slurm.start(job)
    reboot(world, "n1", "reboot")
    run_until(world, "n1", phases.DRAINING)
    world.request(Mode.RESUME, "n1", source="operator")
    coarsely(world, 200)
    first, second = operations(world, "n1")[-2:]
    assert (first.phase, second.outcome) == (phases.DRAINING, phases.REFUSED)
    assert f"waits for reboot {first.id}, draining" in second.text
    assert world.slurm.jobs[job].state == "RUNNING" and not world.slurm.node("n1").going_down


def resume(world: MemoryWorld) -> None:
    world.slurm.submit("n1")


def suspend(world: MemoryWorld) -> None:
    world.slurm.end(up(world, "n1"))
    world.slurm.suspend("n1")


def restart_by_slurm(world: MemoryWorld) -> None:
    world.slurm.end(up(world, "n1"))
    world.run(1)
    reboot(world, "n1", "reboot")


def drained(world: MemoryWorld) -> None:
    up(world, "n1")
    reboot(world, "n1", "reboot")


STORIES = [
    (resume, phases.PLANNING),
    (resume, phases.CONFIGURING),
    (resume, phases.REGISTERING),
    (suspend, phases.DELETE_QUEUED),
    (suspend, phases.RELEASING),
    (drained, phases.DRAINING),
    (restart_by_slurm, phases.CONFIGURING),
]


def at_phase(world: MemoryWorld, story: Callable[[MemoryWorld], None], phase: str) -> None:
    """Tell a story until its operation is in a phase; from then on no slurmd registers."""
    if story is resume and phase == phases.REGISTERING:
        world.playbooks.register = lambda node: None
    story(world)
    run_until(world, "n1", phase)
    world.playbooks.register = lambda node: None


@pytest.mark.parametrize(("story", "phase"), STORIES)
def test_a_node_that_is_gone_from_slurm_conf_keeps_no_operation_open(
    world: MemoryWorld, story: Callable[[MemoryWorld], None], phase: str
) -> None:
    at_phase(world, story, phase)
    world.slurm.remove("n1")
    coarsely(world, 1200, step=1)
    assert not list(world.engine.operations)
    if story is resume:
        assert "Slurm does not know the node" in operations(world, "n1")[-1].text
        assert servers(world) == {}


def test_a_node_that_others_readings_do_not_name_is_not_unknown(world: MemoryWorld) -> None:
    """The last reading is of the nodes that somebody waits for, and n1 waits for its jobs."""
    drained(world)
    run_until(world, "n1", phases.DRAINING)
    world.playbooks.register = lambda node: None
    world.slurm.submit("n2")
    for _ in range(110):
        coarsely(world, 1)
        op = operations(world, "n1")[-1]
        assert (op.phase, op.waits) == (phases.DRAINING, "")


def test_a_node_that_slurm_knows_again_has_its_minute_once_more(world: MemoryWorld) -> None:
    at_phase(world, resume, phases.REGISTERING)
    for _ in range(2):
        node = world.slurm.remove("n1")
        coarsely(world, 40)
        world.slurm.put(node)
        coarsely(world, 5)
    assert operations(world, "n1")[-1].phase == phases.REGISTERING


@pytest.mark.parametrize(("story", "phase"), [(resume, phases.REGISTERING), (suspend, phases.DELETE_QUEUED)])
def test_an_answer_of_slurm_that_can_not_be_understood_is_said(
    world: MemoryWorld, story: Callable[[MemoryWorld], None], phase: str
) -> None:
    at_phase(world, story, phase)
    world.slurm.unreadable.add("n1")
    coarsely(world, 400)
    op = operations(world, "n1")[-1]
    assert (op.phase, op.text) == (phase, "")
    assert op.waits == "Slurm's answer on the node can't be understood"
    assert set(servers(world)) == {"n1"}, "in a state that could not be read nothing is deleted"
