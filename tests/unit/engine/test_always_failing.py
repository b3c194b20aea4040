"""What fails each time that it is tried, as by a mistake of ours: it is given up, and the others go on."""

from typing import Any

import pytest

from slurm_powersave.model.errors import FailureClass
from slurm_powersave.model.modes import Mode
from slurm_powersave.model.nodes import Request, StateServer
from slurm_powersave.testing.world import MemoryWorld
from tests.unit.engine.checks import operations, run, servers
from tests.unit.engine.crash_stories import new_world, prepared, suspend
from tests.unit.engine.reboot_stories import ready


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
