"""A registration that Slurm refuses is a failure, in Slurm's words; what a person has set is none."""

import pytest

from slurm_powersave.model import phases
from slurm_powersave.model.errors import FailureClass
from slurm_powersave.model.slurm_versions import TESTED
from slurm_powersave.testing.world import MemoryWorld
from tests.permits import permits
from tests.unit.engine.checks import assert_at_rest, operations, outcomes, servers
from tests.unit.engine.reboot_stories import ask, ready
from tests.unit.engine.stories import run_until, up

NO_GPU = "gres/gpu count reported lower than configured (0 < 2)"
LOW_MEMORY = "Low RealMemory (reported:3897 < 100.00% of configured:3955)"
REST = {"rest": {"node-local": 60}}


@pytest.fixture(params=[str(version) for version in TESTED])
def world(request: pytest.FixtureRequest) -> MemoryWorld:
    """Four nodes; a rest is a minute."""
    return MemoryWorld.of(4, failure=REST, slurm_version=request.param)


@pytest.mark.parametrize("words", [NO_GPU, LOW_MEMORY])
def test_a_refused_registration_is_a_failure_of_the_node(world: MemoryWorld, words: str) -> None:
    world.slurm.refusals["n1"] = words
    job = world.slurm.submit("n1", "n2")
    world.settle(60)
    op = operations(world, "n1")[0]
    assert (op.outcome, op.failure) == (phases.FAILED, FailureClass.NODE_LOCAL)
    assert op.text == f"Slurm refuses the node's registration: {words}"
    assert set(servers(world)) == {"n2"}, "nobody pays for a node that gets no job"
    node = world.slurm.node("n1")
    assert node.has("DRAIN") and node.reason.startswith("slurm-powersave: (node-local) Slurm refuses")
    assert words.partition(" <")[0] in node.reason
    assert world.slurm.jobs[job].state == "PENDING"
    assert_at_rest(world)


@pytest.mark.parametrize("words", [NO_GPU, " "], ids=["in Slurm's words", "without a word"])
def test_it_fails_at_once_and_is_tried_again_after_its_rest(world: MemoryWorld, words: str) -> None:
    world.slurm.refusals["n1"] = words
    began = world.clock.now()
    world.slurm.submit("n1")
    run_until(world, "n1", phases.FAILING)
    assert world.clock.now() - began < 20, "not after registration_timeout"
    world.settle(60)
    world.slurm.refusals.clear()
    world.run(90)
    assert not world.slurm.node("n1").has("DRAIN", "INVALID_REG")
    up(world, "n1")
    assert [end for mode, end in outcomes(world, "n1") if mode == "resume"] == ["failed", "done"]
    assert world.journal.node_records()["n1"].failures == 0


def test_a_drain_of_before_is_no_failure_and_is_named(world: MemoryWorld) -> None:
    """An administrator drains a node that is coming up, so that no job gets it."""
    world.slurm.submit("n1")
    run_until(world, "n1", phases.CONFIGURING)
    world.slurm.update_nodes(["n1"], state="DRAIN", reason="burn-in test", permits=permits("DRAIN", ["n1"]))
    world.settle(60)
    op = operations(world, "n1")[0]
    assert (op.outcome, op.text) == (phases.DONE, "registered; DRAIN was set by root: burn-in test")
    assert set(servers(world)) == {"n1"}
    node = world.slurm.node("n1")
    assert node.has("DRAIN") and node.reason == "burn-in test"


def test_a_drain_that_has_lost_its_reason_outlives_a_refused_registration(world: MemoryWorld) -> None:
    world.slurm.update_nodes(["n1"], state="DRAIN", reason="bad DIMM", permits=permits("DRAIN", ["n1"]))
    world.run(40)
    world.slurm.refusals["n1"] = NO_GPU
    world.slurm.update_nodes(["n1"], state="POWER_UP")
    run_until(world, "n1", phases.CONFIGURING)
    world.slurm.update_nodes(["n1"], reason=" ")
    world.settle(90)
    node = world.slurm.node("n1")
    assert operations(world, "n1")[0].outcome == phases.FAILED
    assert node.has("DRAIN") and node.reason == "bad DIMM"


def test_what_slurm_has_set_down_is_no_success(world: MemoryWorld) -> None:
    register = world.slurm.register

    def twice(name: str) -> None:
        """The server boots once more at once, which Slurm minds (ReturnToService=1)."""
        register(name)
        register(name)

    world.slurm.register = twice  # type: ignore[method-assign,assignment]
    world.slurm.submit("n1")
    run_until(world, "n1", phases.REGISTERING)
    world.run(10)
    assert not operations(world, "n1")[0].outcome
    world.settle(600)
    op = operations(world, "n1")[0]
    assert op.outcome == phases.FAILED
    assert "DOWN" in op.text and op.text.endswith(": Node unexpectedly rebooted)")


@pytest.mark.parametrize("words", ["reboot", "reimage", "resize flavor=large"])
def test_a_reboot_after_which_slurm_refuses_the_node_has_failed(words: str) -> None:
    world = ready(real_memory=500, cpus=1)
    world.slurm.refusals["n1"] = NO_GPU
    op = ask(world, "n1", words)
    assert (op.outcome, op.failure) == (phases.FAILED, FailureClass.NODE_LOCAL)
    assert op.text == f"Slurm refuses the node's registration: {NO_GPU}"
    assert "n1" not in servers(world)
    assert_at_rest(world)
