"""What tests of the engine begin with: nodes that are up, in use, drained, or in the middle of something."""

from dataclasses import replace

from slurm_powersave.testing.world import MemoryWorld
from tests.unit.engine.checks import assert_agreed, operations


def up(world: MemoryWorld, *nodes: str) -> int:
    """Bring nodes up with a job."""
    job = world.slurm.submit(*nodes)
    world.settle(60)
    assert all(world.slurm.node(name).up for name in nodes)
    return job


def run_until(world: MemoryWorld, node: str, phase: str) -> None:
    """Run until the node's newest operation is in a phase."""
    for _ in range(3000):
        if operations(world, node)[-1:] and operations(world, node)[-1].phase == phase:
            return
        world.run(0.1)
    raise AssertionError(f"{node} never came to {phase}: {operations(world, node)}")


def run_job(world: MemoryWorld, *nodes: str) -> int:
    """Bring nodes up for a job and start it."""
    job = world.slurm.submit(*nodes)
    world.settle()
    world.slurm.start(job)
    return job


def drained(world: MemoryWorld, name: str, reason: str, state: str = "DRAIN") -> None:
    """Let an administrator drain a node or set it down."""
    node = world.slurm.node(name)
    flags = (node.flags - {"IDLE"} if state == "DOWN" else node.flags) | {state}
    world.slurm.put(replace(node, flags=flags, reason=reason, reason_by="root"))


def comes_back(world: MemoryWorld) -> None:
    """The node is off, can be used, and gets a new server when it is."""
    assert world.slurm.node("n1").has("POWERED_DOWN") and not world.slurm.node("n1").has("DOWN", "DRAIN")
    before = world.cloud.created
    world.slurm.submit("n1")
    world.settle()
    assert world.slurm.node("n1").up and world.cloud.created == before + 1
    assert_agreed(world)
