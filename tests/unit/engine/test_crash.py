"""The engine is killed after each of its effects, one after the other: the same end state every time."""

from collections.abc import Callable

import pytest

from slurm_powersave.testing.world import MemoryWorld
from tests.unit.engine.checks import Fuse, assert_agreed, assert_one_outcome_each, servers
from tests.unit.engine.crash_stories import (
    clock_set,
    failing,
    new_world,
    prepared,
    replace,
    resume,
    suspend,
    tainted,
)


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
