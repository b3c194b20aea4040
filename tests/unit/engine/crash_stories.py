"""Stories in which an engine is killed, or meets an error, after each of its effects."""

from collections.abc import Callable

from slurm_powersave.model.modes import Mode
from slurm_powersave.testing.world import MemoryWorld
from tests.unit.engine.checks import operations, run, servers

REST = {"rest": {"quota": 20, "node-local": 20, "unknown": 20, "config": 20}, "boot_timeout": 20}


def new_world() -> MemoryWorld:
    """Three nodes, one initialised shard."""
    world = MemoryWorld.of(3, failure=REST)
    world.run(1)
    return world


def resume(world: MemoryWorld) -> None:
    """Two nodes come up."""
    world.slurm.submit("n1", "n2")
    run(world, 60)
    assert set(servers(world)) == {"n1", "n2"}


def suspend(world: MemoryWorld) -> None:
    """One of two nodes goes, and comes back while the other stays."""
    world.slurm.suspend("n1")
    run(world, 60)
    assert set(servers(world)) == {"n2"}
    assert world.slurm.node("n1").has("POWERED_DOWN")


def replace(world: MemoryWorld) -> None:
    """A node is asked for again while its delete runs."""
    world.slurm.suspend("n1")
    run(world, 1.2)
    world.slurm.set_flags("n1", "IDLE", "CLOUD", "POWERED_DOWN")
    world.slurm.submit("n1")
    run(world, 80)
    assert set(servers(world)) == {"n1", "n2"}


def failing(world: MemoryWorld) -> None:
    """One node of two can't be made."""
    world.cloud.create_faults["n1"] = "Quota exceeded for cores"
    world.slurm.submit("n1")
    world.slurm.submit("n2")
    run(world, 15)
    world.cloud.create_faults.clear()
    run(world, 70)
    assert set(servers(world)) == {"n2"}
    assert not world.journal.node_backoffs()
    node = world.slurm.node("n1")
    assert node.has("POWERED_DOWN") and not node.has("DRAIN")
    assert next(op.outcome for op in operations(world, "n1") if op.mode is Mode.RESUME) == "failed"


def clock_set(world: MemoryWorld) -> None:
    """The clock is set, back and forth, while a node rests."""
    world.cloud.create_faults["n1"] = "Quota exceeded for cores"
    world.slurm.submit("n1")
    run(world, 10)
    world.cloud.create_faults.clear()
    for seconds in (-7200, 3600):
        world.clock.jump(seconds)
        run(world, 3)
    assert "n1" in world.journal.node_backoffs()
    run(world, 70)
    assert not world.journal.node_backoffs() and not servers(world)


def tainted(world: MemoryWorld) -> None:
    """One server of two ends in ERROR, and Terraform keeps it as tainted."""
    world.cloud.error_faults["n1"] = "No valid host was found"
    world.slurm.submit("n1", "n2")
    world.slurm.submit("n2")
    run(world, 100)
    assert "n1" not in servers(world)


def prepared(scenario: Callable[[MemoryWorld], None]) -> MemoryWorld:
    """Make the world that a scenario begins with."""
    world = new_world()
    if scenario in (suspend, replace):
        world.slurm.end(world.slurm.submit("n1", "n2"))
        world.slurm.set_flags("n1", "IDLE", "CLOUD", "POWERING_UP")
        world.slurm.set_flags("n2", "IDLE", "CLOUD", "POWERING_UP")
        world.settle(30)
    return world
