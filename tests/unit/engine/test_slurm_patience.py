"""A node that Slurm gives up (ResumeTimeout) in the middle of our operation."""

from slurm_powersave.model import phases
from slurm_powersave.model.errors import FailureClass
from slurm_powersave.model.modes import Mode
from slurm_powersave.testing.world import MemoryWorld
from tests.unit.engine.checks import assert_at_rest, coarsely, operations, outcomes, servers
from tests.unit.engine.jolts import be_away
from tests.unit.engine.stories import run_until, up


def test_a_node_that_slurm_has_given_up_has_failed() -> None:
    world = MemoryWorld.of(1, failure={"boot_timeout": 600}, power_save={"resume_timeout": 180})
    world.slurm.resume_timeout = 180.0
    world.cloud.never_boots.add("n1")
    world.slurm.submit("n1")
    coarsely(world, 200)
    world.settle(30)
    op = next(op for op in operations(world, "n1") if op.mode is Mode.RESUME)
    assert (op.outcome, op.failure) == (phases.FAILED, FailureClass.NODE_LOCAL)
    assert op.text == "Slurm gave the node up: it was booting when ResumeTimeout (180 s) was over"
    assert servers(world) == {} and world.journal.node_records()["n1"].failures == 1
    node = world.slurm.node("n1")
    assert node.has("DRAIN") and "ResumeTimeout (180 s)" in node.reason and "rests until" in node.reason
    coarsely(world, 130)  # its rest, and what 22.05.8 needs after it
    world.cloud.never_boots.clear()
    up(world, "n1")
    assert world.journal.node_records()["n1"].failures == 0
    assert_at_rest(world)


def test_a_node_that_slurm_gives_up_again_and_again_rests_in_the_end() -> None:
    world = MemoryWorld.of(1, failure={"attempts": 3}, power_save={"resume_timeout": 60})
    world.slurm.resume_timeout = 60.0
    world.cloud.never_boots.add("n1")
    for _ in range(60):
        node = world.slurm.node("n1")
        if node.has("POWERED_DOWN") and node.has("IDLE") and not node.has("DRAIN", "POWER_DOWN"):
            world.slurm.submit("n1")
        coarsely(world, 30)
    assert world.cloud.created == 3
    assert "it is resumed by hand" in world.slurm.node("n1").reason


def test_what_slurm_gives_up_before_anything_was_begun_is_given_back_at_once() -> None:
    world = MemoryWorld.of(1, power_save={"resume_timeout": 30})
    world.slurm.resume_timeout = 30.0
    world.slurm.submit("n1")
    be_away(40, world)
    world.settle(60)
    assert outcomes(world, "n1") == [("resume", "cancelled"), ("resume-fail", "done")]
    assert not world.journal.node_backoffs() and world.slurm.node("n1").has("IDLE")


def test_given_up_while_it_should_register() -> None:
    world = MemoryWorld.of(1, power_save={"resume_timeout": 60})
    world.slurm.resume_timeout = 60.0
    world.playbooks.register = lambda node: None
    world.slurm.submit("n1")
    run_until(world, "n1", phases.REGISTERING)
    coarsely(world, 80)
    op = next(op for op in operations(world, "n1") if op.mode is Mode.RESUME)
    assert (op.outcome, op.failure) == (phases.FAILED, FailureClass.NODE_LOCAL)
    assert "Slurm gave the node up" in op.text and "n1" in world.journal.node_backoffs()
