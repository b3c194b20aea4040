"""The engine is killed after each of its effects, one after the other: the same end state every time."""

from collections.abc import Callable

import pytest

from slurm_powersave.model.modes import Mode
from slurm_powersave.testing.world import MemoryWorld
from tests.unit.engine.checks import Fuse, assert_agreed, assert_one_outcome_each, operations, run, servers

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


@pytest.mark.parametrize("scenario", [resume, suspend, replace, failing, clock_set, tainted])
def test_killed_at_every_step(scenario: Callable[[MemoryWorld], None]) -> None:
    whole = prepared(scenario)
    count = Fuse(whole)
    scenario(whole)
    assert count.count > 10
    wrong = []
    for at in range(1, count.count + 1):
        world = prepared(scenario)
        fuse = Fuse(world, at)
        twice: list[str] = []
        watch_servers(world, twice)
        try:
            scenario(world)
            fuse.armed = False
            world.settle(120)
            assert_one_outcome_each(world)
            assert_agreed(world)
            assert not twice, twice
        except AssertionError as error:
            why = (str(error) or repr(error)).splitlines()[0]
            wrong.append(f"killed after effect {at} ({fuse.last}): {why}")
    assert not wrong, "\n".join(wrong)


def watch_servers(world: MemoryWorld, twice: list[str]) -> None:
    """Note a server that is made while one of its name is there."""
    original = world.cloud.create

    def create(entry, tags):  # type: ignore[no-untyped-def]
        if servers(world).get(entry.node.name):
            twice.append(f"{entry.node.name} twice at {world.clock.now():.1f}")
        return original(entry, tags)

    world.cloud.create = create  # type: ignore[method-assign]


@pytest.mark.parametrize("pause", [0.3, 1.1, 2.3])
def test_killed_again_and_again(pause: float) -> None:
    world = new_world()
    twice: list[str] = []
    watch_servers(world, twice)
    world.slurm.submit("n1", "n2")
    for _ in range(60):
        world.run(pause)
        world.crash()
    world.run(60)
    world.settle(60)
    assert not twice
    assert set(servers(world)) == {"n1", "n2"}
    assert_one_outcome_each(world)
    assert_agreed(world)
