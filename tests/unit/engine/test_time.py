"""The clocks are set, the engine stands still or is away: in each phase, and nothing comes of it."""

from collections.abc import Callable
from functools import partial

import pytest

from slurm_powersave.model import phases
from slurm_powersave.model.errors import FailureClass
from slurm_powersave.model.modes import Mode
from slurm_powersave.model.nodes import Request
from slurm_powersave.model.records import FlavorBackoff
from slurm_powersave.model.timing import Timing
from slurm_powersave.testing.world import MemoryWorld, cluster
from tests.unit.engine.checks import assert_at_rest, coarsely, operations, outcomes, servers
from tests.unit.engine.jolts import JOLTS, AtPhase, be_away, stand_still
from tests.unit.engine.stories import run_until, up
from tests.unit.engine.time_stories import SHORT, new_world


def resume(world: MemoryWorld) -> None:
    world.slurm.submit("n1")


def suspend(world: MemoryWorld) -> None:
    world.slurm.suspend("n1")


def change(words: str, world: MemoryWorld) -> None:
    request = Request(words, Mode.REBOOT, "n1", world.clock.now(), "operator", action=words)
    world.journal.add_request(request, world.clock.now())


COMING_UP = (phases.BOOTING, phases.CONFIGURING, phases.REGISTERING)
GOING = (phases.DELETE_QUEUED, phases.DELETE_PLANNING, phases.DELETING, phases.VERIFYING, phases.RELEASING)
REBOOT = (phases.ASKING, phases.DRAINING, phases.CHECKING, phases.UPDATE_QUEUED, phases.UPDATE_PLANNING)
WAYS: dict[str, tuple[Callable[[MemoryWorld], None], tuple[str, ...]]] = {
    "resume": (
        resume,
        (phases.CHECKING, phases.QUEUED, phases.PLANNING, phases.APPLYING, *COMING_UP),
    ),
    "suspend": (
        suspend,
        (phases.CHECKING, *GOING),
    ),
    "reimage": (partial(change, "reimage image=other"), (*REBOOT, phases.UPDATING, *COMING_UP)),
    "resize": (partial(change, "resize flavor=large"), (*REBOOT, phases.UPDATING, *COMING_UP)),
    "reboot": (partial(change, "reboot"), (*REBOOT[:3], *COMING_UP)),
}


@pytest.mark.parametrize("jolt", JOLTS)
@pytest.mark.parametrize(
    ("way", "phase"), [(way, phase) for way, (_, through) in WAYS.items() for phase in through]
)
def test_in_every_phase(way: str, phase: str, jolt: str) -> None:
    world = new_world()
    begin, _ = WAYS[way]
    if way != "resume":
        world.slurm.end(up(world, "n1"))
        world.run(3)
    before, made = servers(world), world.cloud.created
    happens, kills = JOLTS[jolt]
    story = AtPhase(world, phase, happens, kills=kills)
    begin(world)
    story.run(50)
    assert story.happened
    mode = way if way in ("resume", "suspend") else "reboot"
    op = next(op for op in operations(world, "n1") if op.mode.value == mode)
    assert (op.outcome, op.failure) == (phases.DONE, None), op
    assert not world.journal.node_backoffs() and world.journal.node_records()["n1"].failures == 0
    assert world.cloud.created - made == (way == "resume"), "a healthy server was given up"
    if way == "suspend":
        assert servers(world) == {}
    elif way != "resume":
        assert servers(world) == before
    world.settle(30)
    assert_at_rest(world)


@pytest.mark.parametrize("jolt", JOLTS)
@pytest.mark.parametrize("phase", [phases.FAILING, *GOING[:4]])
def test_what_fails_meanwhile_fails_once(phase: str, jolt: str) -> None:
    world = new_world()
    world.cloud.error_faults["n1"] = "Build of instance aborted"
    happens, kills = JOLTS[jolt]
    story = AtPhase(world, phase, happens, kills=kills)
    world.slurm.submit("n1")
    story.run(40)
    assert story.happened
    op = next(op for op in operations(world, "n1") if op.mode is Mode.RESUME)
    assert (op.outcome, op.failure) == (phases.FAILED, FailureClass.UNKNOWN), op
    assert servers(world) == {} and world.cloud.created == 1
    assert world.journal.node_records()["n1"].failures == 1
    node, backoff = world.slurm.node("n1"), world.journal.node_backoffs()["n1"]
    assert node.has("DRAIN") and node.reason == backoff.reason and backoff.in_slurm


@pytest.mark.parametrize("happens", [partial(stand_still, 40), partial(be_away, 40)])
def test_a_node_that_boots_meanwhile_is_asked_before_it_is_judged(
    happens: Callable[[MemoryWorld], None],
) -> None:
    world = new_world()
    booted: list[bool] = []
    boots = world.playbooks.boots
    world.playbooks.boots = lambda node: bool(booted) and boots(node)
    world.slurm.submit("n1")
    run_until(world, "n1", phases.BOOTING)
    world.run(10)
    happens(world)
    booted.append(True)
    world.settle(30)
    assert outcomes(world, "n1") == [("resume", "done")] and world.cloud.created == 1


def test_a_node_that_answers_and_waits_for_its_play_is_not_judged() -> None:
    failure = SHORT | {"configure_timeout": 1000}
    world = MemoryWorld(cluster(5, failure=failure), timing=Timing(play_quiet=1000.0))
    world.run(2)
    world.playbooks.seconds = 500.0
    for name in ("n1", "n2", "n3", "n4"):
        world.slurm.submit(name)
        run_until(world, name, phases.CONFIGURING)
    world.slurm.submit("n5")
    run_until(world, "n5", phases.BOOTING)
    world.run(60)
    (op,) = operations(world, "n5")
    assert (op.phase, op.failure) == (phases.BOOTING, None), "all plays are taken"


def test_a_pause_within_a_step_is_no_time_in_which_we_looked() -> None:
    world = new_world()
    world.playbooks.boots = lambda node: False
    world.slurm.submit("n1")
    run_until(world, "n1", phases.BOOTING)
    read = world.cloud.servers

    def slow() -> list:  # type: ignore[type-arg]
        stand_still(300, world)
        world.cloud.servers = read  # type: ignore[method-assign]
        return read()

    world.cloud.servers = slow  # type: ignore[method-assign]
    world.run(1)
    assert operations(world, "n1")[0].phase == phases.BOOTING
    world.run(20)
    assert "did not boot: no SSH within 15 s" in operations(world, "n1")[0].text


def test_the_time_in_which_the_outside_can_not_be_read_does_not_count() -> None:
    world = new_world()
    world.playbooks.register = lambda node: None
    world.slurm.submit("n1")
    run_until(world, "n1", phases.REGISTERING)
    world.slurm.unreachable = "Unable to contact slurm controller"
    world.run(60)
    world.slurm.unreachable = ""
    world.run(2)
    assert operations(world, "n1")[0].phase == phases.REGISTERING
    world.run(20)
    assert "did not register within 15 s" in operations(world, "n1")[0].text


def test_a_cloud_that_can_not_be_asked_for_the_host_key_is_no_boot_that_failed() -> None:
    world = new_world()
    world.cloud.lists_keys = False

    def away(world: MemoryWorld) -> None:
        world.cloud.unreachable = "503 Service Unavailable"

    story = AtPhase(world, phases.BOOTING, away, kills=False)
    world.slurm.submit("n1")
    story.run(60)
    assert operations(world, "n1")[0].phase == phases.BOOTING
    world.cloud.unreachable = ""
    world.settle(30)
    assert outcomes(world, "n1") == [("resume", "done")]


# Readings


@pytest.mark.parametrize("seconds", [-60, -7200])
def test_a_reading_from_before_the_clock_was_set_back_is_not_new(seconds: float) -> None:
    world = new_world()
    world.slurm.end(up(world, "n1"))
    world.run(35)  # the last look at the node shows it idle
    job = world.slurm.submit("n1")
    world.slurm.start(job)
    world.clock.jump(seconds)
    world.request(Mode.SUSPEND, "n1", source="operator")
    world.settle(30)
    assert outcomes(world, "n1")[-1] == ("suspend", "refused")
    assert world.slurm.node("n1").in_use and "n1" in servers(world)


@pytest.mark.parametrize("seconds", [-7200, -60, 3600])
def test_slurm_and_cloud_are_read_all_the_time(seconds: float) -> None:
    world = new_world()
    world.slurm.submit("n1")
    run_until(world, "n1", phases.APPLYING)
    world.clock.jump(seconds)
    began = world.clock.now()
    world.settle(30)
    assert world.clock.now() - began < 15
    assert outcomes(world, "n1") == [("resume", "done")]


@pytest.mark.parametrize("ahead", [3600, -3600, 5, -5])
def test_a_hooks_call_is_not_compared_with_a_persons(ahead: float) -> None:
    """The login node's clock and the control host's may show different times."""
    world = new_world()
    asked = Request("by hand", Mode.RESUME, "n1", world.clock.now() + ahead, "operator")
    world.journal.add_request(asked, world.clock.wall())
    while not operations(world, "n1") or operations(world, "n1")[0].phase != phases.APPLYING:
        world.run(0.1)
    world.slurm.suspend("n1")
    world.settle(60)
    assert outcomes(world, "n1")[::2] == [("resume", "cancelled"), ("suspend", "done")]
    assert servers(world) == {}


# Rests


def resting(world: MemoryWorld) -> float:
    """Let the node rest; return when that began."""
    world.cloud.create_faults["n1"] = "Quota exceeded for cores"
    world.slurm.submit("n1")
    world.settle(30)
    world.cloud.create_faults.clear()
    assert world.journal.node_backoffs()["n1"].failure is FailureClass.QUOTA
    return world.clock.now()


@pytest.mark.parametrize(
    "jolt", ["back 2 h", "forward 1 h", "host booted", "back 2 h while away", "forward 1 h while away"]
)
def test_a_rest_lasts_as_long_as_it_would_have(jolt: str, caplog: pytest.LogCaptureFixture) -> None:
    world = new_world(rest={"quota": 300})
    began = resting(world)
    world.run(70)
    JOLTS[jolt][0](world)
    while world.journal.node_backoffs():
        coarsely(world, 2)
        assert world.clock.now() - began < 600, "the rest does not end"
    assert 295 <= world.clock.now() - began <= 400
    told = [one for one in caplog.messages if "the clock of this host was set" in one]
    assert len(told) == 1, told


def test_a_clock_that_is_set_ever_and_ever_ends_no_rest() -> None:
    world = new_world(rest={"quota": 300})
    resting(world)
    for seconds in (3600, -7200, 86400, -100):
        world.clock.jump(seconds)
        world.run(1)
    assert "n1" in world.journal.node_backoffs()
    assert world.slurm.node("n1").has("DRAIN")


def test_a_rest_that_only_a_person_ends_has_no_date_that_moves() -> None:
    world = new_world(attempts=1)
    resting(world)
    until = world.journal.node_backoffs()["n1"].until
    world.clock.jump(3600)
    world.run(1)
    assert world.journal.node_backoffs()["n1"].until == until


def test_a_flavor_rests_as_long_as_it_would_have() -> None:
    world = new_world()
    world.journal.save_flavor_backoff(FlavorBackoff("mem", "", "small", world.clock.wall() + 300, "no room"))
    world.crash()
    flavors = world.engine._world.flavors
    node = world.cluster.node_spec("n1")
    for seconds in (3600, -7200):
        world.clock.jump(seconds)
        world.run(1)
        assert flavors._until(node)["small"] - world.clock.monotonic() == pytest.approx(300, abs=5)


# Processes


def test_a_play_that_ran_out_of_time_is_told_as_such() -> None:
    world = new_world()
    world.playbooks.seconds = 1e6
    world.slurm.submit("n1")
    run_until(world, "n1", phases.CONFIGURING)
    world.run(30)
    assert operations(world, "n1")[0].phase == phases.CONFIGURING, "it may end by itself first"
    world.run(40)
    op = operations(world, "n1")[0]
    assert (op.failure, op.outcome) == (FailureClass.NODE_LOCAL, phases.FAILED)
    assert op.text == "Ansible was ended: the node was not configured within 15 s (configure_timeout)"


def test_a_plan_that_ran_out_of_time_is_told_as_such() -> None:
    world = new_world()
    world.terraform.plan_seconds = 1e6
    plan = world.terraform.plan

    def deaf(*given, **named):  # type: ignore[no-untyped-def]
        run = plan(*given, **named)
        run.interrupt = lambda: None  # type: ignore[method-assign]
        return run

    world.terraform.plan = deaf  # type: ignore[method-assign]
    world.slurm.resume_timeout = 1e9
    world.slurm.submit("n1")
    coarsely(world, 800)
    op = operations(world, "n1")[0]
    assert op.failure is FailureClass.UNKNOWN
    assert op.text == "terraform plan: Terraform was ended after 300 s (terraform was killed)"


@pytest.mark.parametrize("jolt", JOLTS)
def test_no_process_is_ended_because_of_the_clock_or_a_pause(jolt: str) -> None:
    world = new_world()
    world.terraform.create_seconds = 50.0
    world.slurm.submit("n1")
    run_until(world, "n1", phases.APPLYING)
    killed: list[str] = []
    for run in world.terraform.runs.values():
        run.interrupt = lambda: killed.append("interrupted")  # type: ignore[method-assign]
    JOLTS[jolt][0](world)
    world.settle(120)
    assert not killed and outcomes(world, "n1") == [("resume", "done")]


# What is logged


def test_the_log_tells_how_long_a_phase_took_and_not_how_long_it_was_looked_at(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = new_world()
    world.terraform.create_seconds = 50.0
    world.slurm.submit("n1")
    with caplog.at_level("INFO"):
        run_until(world, "n1", phases.APPLYING)
        world.clock.jump(-7200)
        world.settle(100)
    (line,) = [one for one in caplog.messages if "phase=booting after=applying" in one]
    assert 49 < float(line.rpartition("seconds=")[2]) < 52


def test_nothing_is_kept_of_what_has_ended() -> None:
    world = new_world()
    for _ in range(3):
        world.slurm.end(up(world, "n1"))
        world.slurm.suspend("n1")
        world.settle(60)
    world.run(40)
    ops, plays = world.engine.operations, world.engine._plays
    assert not (ops._known or ops._entered or ops._looks._seen)
    assert not (plays._running._seen or plays._old_boots._seen or world.engine._batches._looks._seen)
