"""An unexpected error is like a kill: the engine begins anew from its journal, and the end is the same."""

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from slurm_powersave.engine.recovery import LONGEST
from slurm_powersave.model import phases
from slurm_powersave.model.errors import (
    ConfigError,
    FailureClass,
    MachineError,
    SlurmError,
    TerraformError,
)
from slurm_powersave.model.modes import Mode
from slurm_powersave.model.nodes import Request, RunResult, ShardRun, StateServer
from slurm_powersave.testing.world import MemoryWorld, cluster
from tests.unit.engine.checks import (
    TROUBLES,
    Fuse,
    assert_agreed,
    assert_at_rest,
    assert_one_outcome_each,
    operations,
    outcomes,
    run,
    servers,
    trouble,
)
from tests.unit.engine.test_crash import failing, new_world, prepared, replace, resume, suspend, tainted
from tests.unit.engine.test_reboots import ready

Story = Callable[[MemoryWorld], None]
STORIES: list[Story] = [resume, suspend, replace, failing, tainted]
KINDS = list(TROUBLES)


def wrong_after(story: Story, at: int, kind: str, *, instead: bool) -> str:
    """Tell a story with an error at its N-th effect; return what is wrong at its end."""
    world = prepared(story)
    fuse = Fuse(world, at, kind, instead=instead)
    try:
        story(world)
        fuse.armed = False
        world.settle(120)
        assert_one_outcome_each(world)
        assert_agreed(world)
        assert all(op.failure is not FailureClass.INTERNAL for op in world.journal.history(limit=100))
    except AssertionError as error:
        where = "instead of" if instead else "after"
        return f"{kind} {where} effect {at} ({fuse.last}): {(str(error) or repr(error)).splitlines()[0]}"
    return ""


def effects(story: Story) -> int:
    """Count a story's effects."""
    world = prepared(story)
    fuse = Fuse(world)
    story(world)
    assert fuse.count > 10
    return fuse.count


@pytest.mark.parametrize("story", STORIES)
def test_an_error_at_every_effect(story: Story) -> None:
    """Each effect meets one kind of error here, and all of them in the slow test."""
    found = [
        wrong_after(story, at, KINDS[at % len(KINDS)], instead=at % 2 == 0)
        for at in range(1, effects(story) + 1)
    ]
    assert not any(found), "\n".join(filter(None, found))


@pytest.mark.slow
@pytest.mark.parametrize("story", STORIES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("instead", [True, False])
def test_every_error_at_every_effect(story: Story, kind: str, instead: bool) -> None:
    found = [wrong_after(story, at, kind, instead=instead) for at in range(1, effects(story) + 1)]
    assert not any(found), "\n".join(filter(None, found))


@contextmanager
def full_disk(world: MemoryWorld, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing can be written to the journal, and nothing can be started."""

    def fail(part: str) -> Callable[..., Any]:
        def call(*_: object, **__: object) -> Any:
            raise trouble(world, "ENOSPC", part)

        return call

    with monkeypatch.context() as full:
        full.setattr(world.journal, "_write", fail("journal"))
        for name in ("init", "plan", "apply", "write_nodes", "forget_servers"):
            full.setattr(world.terraform, name, fail("terraform"))
        full.setattr(world.playbooks, "configure", fail("playbooks"))
        yield


UP = (phases.PLANNING, phases.APPLYING, phases.BOOTING, phases.CONFIGURING, phases.REGISTERING)
DOWN = (phases.DELETE_QUEUED, phases.DELETE_PLANNING, phases.DELETING, phases.VERIFYING)


def until(world: MemoryWorld, node: str, phase: str) -> None:
    """Run until a node's operation is in a phase."""
    for _ in range(3000):
        world.run(0.1)
        if operations(world, node) and phase in {one.phase for one in operations(world, node)[-1].phases}:
            return
    raise AssertionError(f"{node} never came to {phase}")


@pytest.mark.parametrize("phase", UP)
def test_the_disk_is_full_for_twelve_seconds_while_nodes_come_up(
    monkeypatch: pytest.MonkeyPatch, phase: str
) -> None:
    world = new_world()
    world.slurm.resume_timeout = 3600
    world.slurm.submit("n1", "n2")
    until(world, "n1", phase)
    with full_disk(world, monkeypatch):
        run(world, 12)
    world.slurm.submit("n3")
    run(world, 3 * LONGEST)
    world.settle(120)
    assert set(servers(world)) == {"n1", "n2", "n3"}
    assert {op.outcome for op in world.journal.history()} == {"done"}
    assert_at_rest(world)


@pytest.mark.parametrize("phase", DOWN)
def test_the_disk_is_full_for_twelve_seconds_while_a_node_goes(
    monkeypatch: pytest.MonkeyPatch, phase: str
) -> None:
    world = prepared(suspend)
    world.terraform.locked.update({"mem/nodes-001"} if phase == phases.DELETE_QUEUED else ())
    world.slurm.suspend("n1")
    until(world, "n1", phase)
    world.terraform.locked.clear()
    with full_disk(world, monkeypatch):
        run(world, 12)
    run(world, 3 * LONGEST)
    world.settle(120)
    assert set(servers(world)) == {"n2"}
    assert outcomes(world, "n1")[-1] == ("suspend", "done")
    assert_at_rest(world)


@pytest.mark.parametrize(
    ("part", "name"), [("terraform", "plan"), ("terraform", "apply"), ("playbooks", "configure")]
)
@pytest.mark.parametrize("number", [errno.EMFILE, errno.EAGAIN, errno.ENOMEM, errno.EACCES])
@pytest.mark.parametrize("told", [OSError, MachineError, ConfigError, TerraformError])
def test_a_program_that_can_not_be_started_once_is_no_node_s_fault(
    monkeypatch: pytest.MonkeyPatch, part: str, name: str, number: int, told: type[Exception]
) -> None:
    world = new_world()
    original, times = getattr(getattr(world, part), name), []

    def fail(*args: Any, **named: Any) -> Any:
        times.append(1)
        if len(times) == 1 and told is OSError:
            raise OSError(number, "not now")
        if len(times) == 1:
            raise told("could not be started") from OSError(number, "not now")
        return original(*args, **named)

    monkeypatch.setattr(getattr(world, part), name, fail)
    world.slurm.submit("n1", "n2")
    run(world, 60)
    world.settle(60)
    assert set(servers(world)) == {"n1", "n2"} and world.cloud.created == 2
    assert {op.outcome for op in world.journal.history()} == {"done"}
    assert_at_rest(world)


@pytest.mark.parametrize(("part", "kind"), [("terraform", "plan"), ("playbooks", "configure")])
def test_a_run_that_ends_for_the_host_s_own_trouble_is_made_again(
    monkeypatch: pytest.MonkeyPatch, part: str, kind: str
) -> None:
    world = new_world()
    original, times = getattr(getattr(world, part), kind), []

    def start(*args: Any, **named: Any) -> Any:
        made = original(*args, **named)
        times.append(1)
        if len(times) < 5:
            made.events.clear()
            made.at_end = lambda: RunResult(False, "write: no space left on device", machine=True)
        return made

    monkeypatch.setattr(getattr(world, part), kind, start)
    world.slurm.submit("n1", "n2")
    run(world, 90)
    world.settle(60)
    assert len(times) >= 5
    assert {op.outcome for op in world.journal.history()} == {"done"}
    assert world.slurm.node("n1").up and world.slurm.node("n2").up
    assert_at_rest(world)


def test_an_apply_that_could_not_write_its_state_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers are there, the state is empty, and Terraform says that the disk is full."""
    world = new_world()
    world.slurm.resume_timeout = 3600
    original, times = world.terraform.apply, []

    def apply(shard: str, *args: Any, **named: Any) -> Any:
        made = original(shard, *args, **named)
        times.append(1)
        if len(times) == 1:

            def end() -> RunResult:
                world.terraform.spoiled.add(shard)
                return RunResult(False, "Failed to save state: no space left on device", machine=True)

            made.at_end = end
        return made

    monkeypatch.setattr(world.terraform, "apply", apply)
    world.slurm.submit("n1", "n2")
    run(world, 120)
    world.settle(120)
    assert set(servers(world)) == {"n1", "n2"}
    assert not world.terraform.spoiled
    assert not any(op.outcome == "failed" for op in world.journal.history())
    assert world.slurm.node("n1").up and world.slurm.node("n2").up
    run(world, 120)
    assert_one_outcome_each(world)


def spoil(monkeypatch: pytest.MonkeyPatch, world: MemoryWorld, part: str, name: str, node: str) -> list[int]:
    """Let a part fail whenever it has to do with a node, as a mistake of ours would."""
    original, times = getattr(getattr(world, part), name), []

    def fail(*args: Any, **named: Any) -> Any:
        if node in str(args):
            times.append(1)
            raise KeyError("no such thing")
        return original(*args, **named)

    monkeypatch.setattr(getattr(world, part), name, fail)
    return times


@pytest.mark.parametrize(
    ("part", "name"),
    [
        ("playbooks", "configure"),
        ("playbooks", "reachable"),
        ("terraform", "plan"),
        ("terraform", "write_nodes"),
        ("journal", "save_nodes"),
    ],
)
def test_an_operation_that_always_fails_is_parked_and_the_others_go_on(
    monkeypatch: pytest.MonkeyPatch, part: str, name: str
) -> None:
    world = new_world()
    world.slurm.resume_timeout = 3600
    times = spoil(monkeypatch, world, part, name, "n1")
    world.slurm.submit("n1")
    world.slurm.submit("n2")
    run(world, 60)
    assert times
    op = next(op for op in operations(world, "n1") if op.mode is Mode.RESUME)
    assert op.failure is FailureClass.INTERNAL and "KeyError" in op.text, op
    assert world.slurm.node("n2").up, "the other one is not kept waiting"
    assert [one.outcome for one in operations(world, "n2")] == ["done"]
    told = world.slurm.node("n1")
    assert "(internal)" in told.reason or "(internal)" in told.comment, told
    assert world.recovery.count >= 3


def test_an_operation_that_can_not_be_deleted_ends_and_the_others_go_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = prepared(suspend)
    spoil(monkeypatch, world, "terraform", "plan", "n1")
    world.slurm.suspend("n1")
    world.slurm.submit("n3")
    run(world, 60)
    op = operations(world, "n1")[-1]
    assert (op.outcome, op.failure) == ("failed", FailureClass.INTERNAL), op
    assert world.slurm.node("n3").up
    assert "(internal)" in world.slurm.node("n1").comment


@pytest.mark.parametrize("words", ["reimage image=other", "resize flavor=large"])
def test_a_reimage_that_always_fails_gives_the_node_back_as_it_was(
    monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    world = ready(2, real_memory=500, cpus=1)
    before = servers(world)
    spoil(monkeypatch, world, "terraform", "plan", "n1")
    world.journal.add_request(
        Request("by-hand", Mode.REBOOT, "n1", world.clock.now(), "operator", action=words), 0.0
    )
    run(world, 60)
    (op,) = world.journal.operations_of("by-hand")
    assert op.outcome == "refused" and "an error of the engine itself" in op.text, op
    assert servers(world) == before
    assert world.slurm.node("n1").up and not world.slurm.node("n1").has("DRAIN", "DOWN")
    assert "an error of the engine" in world.slurm.node("n1").comment


def test_a_request_that_can_not_be_planned_is_refused_and_the_next_ones_served(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = new_world()
    original = world.journal.new_operation

    def fail(request: str, node: str, *args: Any) -> Any:
        if node == "n1":
            raise KeyError(node)
        return original(request, node, *args)

    monkeypatch.setattr(world.journal, "new_operation", fail)
    world.slurm.submit("n1")
    world.slurm.submit("n2")
    run(world, 60)
    assert world.slurm.node("n2").up
    assert any("KeyError" in why for _, why in world.journal.recent_refusals())


@pytest.mark.parametrize(
    ("part", "name"), [("terraform", "init"), ("terraform", "is_broken"), ("terraform", "forget_servers")]
)
def test_a_shard_that_always_fails_keeps_nobody_waiting(
    monkeypatch: pytest.MonkeyPatch, part: str, name: str
) -> None:
    world = MemoryWorld.of(3)
    world.run(1)
    world.slurm.resume_timeout = 3600
    if name == "forget_servers":
        world.terraform.states["mem/nodes-001"]["n3"] = StateServer("gone")
        world.journal.set_dirty("mem/nodes-001", True)

    def fail(*_: object, **__: object) -> Any:
        raise KeyError("no such thing")

    if name == "init":
        world.run(30)  # there is one shard already
    monkeypatch.setattr(getattr(world, part), name, fail)
    world.slurm.submit("n1", "n2")
    run(world, 60)
    assert world.slurm.node("n1").up and world.slurm.node("n2").up
    count = world.recovery.count
    assert count >= 3 or name != "is_broken"
    run(world, 120)
    assert world.recovery.count <= count + 2, "it is tried more and more rarely"
    assert "KeyError" in world.left_alone or name == "init"  # nothing more is to be made


def test_a_rest_that_can_not_be_ended_keeps_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    world = new_world()
    world.slurm.resume_timeout = 3600
    world.cloud.create_faults["n1"] = "Quota exceeded for cores"
    world.slurm.submit("n1")
    run(world, 15)
    assert world.journal.node_backoffs()

    def fail(node: str) -> None:
        raise KeyError(node)

    monkeypatch.setattr(world.journal, "drop_node_backoff", fail)
    run(world, 60)
    world.slurm.submit("n2")
    run(world, 30)
    assert world.slurm.node("n2").up and world.recovery.count <= 4
    assert world.left_alone.startswith("ending the backoff of n1 (")


def test_the_host_s_own_trouble_is_never_counted_against_an_operation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = MemoryWorld.of(3)
    world.slurm.resume_timeout = 3600
    with monkeypatch.context() as full:

        def fail(*_: object, **__: object) -> Any:
            raise OSError(errno.EMFILE, "Too many open files")

        full.setattr(world.playbooks, "configure", fail)
        world.slurm.submit("n1")
        run(world, 100)
        assert world.recovery.count > 5
        assert operations(world, "n1")[-1].phase == phases.BOOTING
    run(world, 30)
    world.settle(60)
    assert outcomes(world, "n1") == [("resume", "done")]


def test_it_is_said_once_and_told_to_status(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    world = new_world()
    world.slurm.submit("n1")
    with full_disk(world, monkeypatch):
        run(world, 60)
    said = [one.getMessage() for one in caplog.records if "begins anew" in one.getMessage()]
    assert 1 <= len(said) <= 2, said
    assert all("disk is full" in one or "No space left" in one for one in said)
    assert world.told[-1][0] and world.told[-1][1] == world.recovery.count
    run(world, 2 * LONGEST)
    assert world.told[-1] == ("", world.recovery.count)


def test_the_pause_doubles_and_begins_anew_after_a_quiet_minute() -> None:
    world = new_world()
    pauses = [world.recovery.met(OSError(errno.ENOSPC, "full")) for _ in range(7)]
    assert pauses == [0.5, 1.0, 2.0, 4.0, 8.0, LONGEST, LONGEST]
    world.clock.advance(100)
    assert world.recovery.met(OSError(errno.ENOSPC, "full")) == 0.5


def test_a_refusal_of_slurm_s_while_comparing_is_no_reason_to_begin_anew(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pool = cluster(2).node_pools[0].model_dump(mode="json") | {"min_nodes": 1}
    world = MemoryWorld.of(2, node_pools=[pool])

    def refuse(*_: object, **__: object) -> None:
        raise SlurmError("Slurm could not set state=POWER_UP", why="Invalid node state specified")

    monkeypatch.setattr(world.slurm, "update_nodes", refuse)
    run(world, 120)
    assert "Invalid node state" in caplog.text, "it was told to power the node up"
    assert world.recovery.count == 0


def test_a_process_of_a_play_that_could_not_be_recorded_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else two plays would configure the same node at the same time."""
    world = new_world()
    original, left = world.journal.save_run, [1]

    def fail(saved: ShardRun) -> None:
        if saved.record.kind == "configure" and left and left.pop():
            raise trouble(world, "ENOSPC")
        original(saved)

    monkeypatch.setattr(world.journal, "save_run", fail)
    world.slurm.submit("n1")
    run(world, 60)
    first, second = world.playbooks.runs.values()
    assert first.poll() == RunResult(False, "terraform was killed") and second.poll() == RunResult(True)
    assert outcomes(world, "n1") == [("resume", "done")]
