"""An engine that runs for years needs no more memory than on its first day, and its journal is pruned."""

import types
from collections import Counter, deque
from collections.abc import Iterator
from typing import Any

import pytest

from slurm_powersave.model.modes import Mode
from slurm_powersave.model.nodes import RunResult
from slurm_powersave.testing.terraform import MemoryRun
from slurm_powersave.testing.world import MemoryWorld
from tests.unit.engine.checks import coarsely
from tests.unit.engine.stories import up

DAY = 86400.0
NODES = 40


def parts(thing: Any) -> Iterator[tuple[str, Any]]:
    """Name what a thing of ours holds."""
    if isinstance(thing, dict):
        yield from (("{}", part) for pair in thing.items() for part in pair)
    elif isinstance(thing, list | tuple | set | frozenset | deque):
        yield from (("[]", part) for part in thing)
    elif isinstance(thing, types.MethodType):
        yield "()", thing.__self__
    elif type(thing).__module__.startswith("slurm_powersave."):
        yield from (
            (f".{name}", part) for name, part in getattr(thing, "__dict__", {}).items() if name != "_db"
        )


def sizes(world: MemoryWorld) -> Counter[str]:
    """Where it is -> how much all containers there hold, of what is reachable from the engine."""
    outside = (world.cloud, world.slurm, world.terraform, world.playbooks, world.clock, world.cluster)
    known = {id(thing) for thing in outside}
    found: Counter[str] = Counter()
    waiting: deque[tuple[str, Any]] = deque([("engine", world.engine)])
    while waiting:
        way, thing = waiting.popleft()
        if id(thing) in known:
            continue
        if not isinstance(thing, str | int | float | bytes | type(None)):
            known.add(id(thing))
        if isinstance(thing, dict | list | set | frozenset | tuple | deque):
            found[way] += len(thing)
        waiting += [(way + step, part) for step, part in parts(thing)]
    return found


def rest(world: MemoryWorld) -> None:
    """Run until nothing is to be done and no node rests."""
    for _ in range(2000):
        coarsely(world, 1.0, 0.5)
        idle = not world.engine.active and not world.journal.unplanned_requests()
        if idle and not world.journal.node_backoffs():
            return
    raise AssertionError([str(op) for op in world.engine.operations])


def fail_the_next_plan(world: MemoryWorld) -> None:
    """Let one plan fail for no known reason: it is made once more."""
    plan = type(world.terraform).plan

    def fails(*args: Any, **more: Any) -> MemoryRun:
        del world.terraform.plan  # type: ignore[method-assign]
        run = plan(world.terraform, *args, **more)
        run.at_end = lambda: RunResult(False, "odd")
        return run

    world.terraform.plan = fails  # type: ignore[method-assign]


def cycle(world: MemoryWorld) -> None:
    """All nodes come and go; some in ways that leave something to be remembered."""
    names = world.cluster.nodes()
    first = world.cloud.created + 1
    world.cloud.create_faults["n1"] = "Quota exceeded for cores"
    world.cloud.error_faults["n2"] = "disk full"
    world.playbooks.faults["n3"] = "no munge"
    fail_the_next_plan(world)
    jobs = [world.slurm.submit(name) for name in names]
    rest(world)
    for faults in (world.cloud.create_faults, world.cloud.error_faults, world.playbooks.faults):
        faults.clear()
    world.request(Mode.RESUME, "n5", source="operator")
    world.request(Mode.REBOOT, "n6", source="operator")
    for job in jobs:
        world.slurm.end(job)
    rest(world)
    # Slurm has lost its word that n8 is up: whether its server may go, the server itself is asked.
    world.slurm.set_flags("n8", "IDLE", "CLOUD", "POWERED_DOWN")
    job = world.slurm.submit("n8")
    rest(world)
    world.slurm.end(job)
    locked = next(server.id for server in world.cloud.alive() if server.name == "n4")
    assert int(locked.removeprefix("id-")) >= first
    world.cloud.locked.add(locked)
    world.slurm.suspend(*(name for name in names if world.slurm.node(name).up))
    coarsely(world, 40, 0.5)
    world.cloud.locked.clear()
    rest(world)


def an_hour_later(world: MemoryWorld) -> None:
    """What is remembered for a time is forgotten by then."""
    world.clock.advance(3601)
    rest(world)


def test_no_container_grows_with_the_number_of_operations() -> None:
    limits = {"rest": dict.fromkeys(("quota", "node-local", "unknown"), 5), "attempts": 100}
    world = MemoryWorld.of(NODES, failure=limits)
    for _ in range(3):
        cycle(world)
    an_hour_later(world)
    before = sizes(world)
    while world.cloud.created < 1000:
        cycle(world)
    an_hour_later(world)
    grown = {way: (before[way], now) for way, now in sizes(world).items() if now > before[way]}
    assert grown == {}
    assert len(before) > 50, "it looks into the engine"


def test_something_that_grows_is_found() -> None:
    world = MemoryWorld.of(2)
    before = sizes(world)
    world.engine._world.states._unreadable.add("mem/nodes-001")
    assert [way for way, now in sizes(world).items() if now > before[way]] != []


@pytest.fixture
def aged() -> MemoryWorld:
    """A node came and went twice, 450 days ago and 100 days ago; the engine is new."""
    world = MemoryWorld.of(2)
    for days in (350, 100):
        world.slurm.end(up(world, "n1"))
        world.slurm.suspend("n1")
        world.settle(60)
        world.clock.advance(days * DAY)
    world.crash()
    return world


def test_what_is_older_than_keep_days_goes_while_the_engine_is_idle(aged: MemoryWorld) -> None:
    assert len(aged.journal.history()) == 4
    coarsely(aged, 2 * 3600, 10.0)
    assert len(aged.journal.history()) == 2
    up(aged, "n1")


def test_it_is_a_setting() -> None:
    world = MemoryWorld.of(1, history={"keep_days": 30})
    for _ in range(2):
        world.slurm.end(up(world, "n1"))
        world.slurm.suspend("n1")
        world.settle(60)
    world.clock.advance(31 * DAY)
    coarsely(world, 2 * 3600, 10.0)
    assert [op.mode for op in world.journal.history()] == ["suspend"], "a node's newest stays"


@pytest.mark.slow
def test_an_engine_that_is_never_idle_prunes_all_the_same(aged: MemoryWorld) -> None:
    aged.cloud.undying |= {f"id-{aged.cloud.created + 1}"}
    aged.slurm.end(up(aged, "n2"))
    aged.slurm.suspend("n2")
    coarsely(aged, 3 * 3600, 30.0)
    assert aged.engine.active and len(aged.journal.history("n1")) == 4
    coarsely(aged, 25 * 3600, 30.0)
    assert aged.engine.active and len(aged.journal.history("n1")) == 2


def test_it_is_done_in_small_steps_until_nothing_is_left_and_then_an_hour_later(
    aged: MemoryWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a cluster of years leaves is not dropped in one step, which would hold up the engine."""
    left = 1000
    calls: list[tuple[float, int]] = []

    def prune(before: float, most: int) -> int:
        nonlocal left
        calls.append((aged.clock.now(), most))
        gone = min(most, left)
        left = left - gone if gone else 1000
        return gone

    monkeypatch.setattr(aged.journal, "prune", prune)
    began = aged.clock.now()
    coarsely(aged, 7500, 10.0)
    assert [most for _, most in calls] == [200] * 12
    first, second = [at - began for at, _ in calls[:6]], [at - began for at, _ in calls[6:]]
    assert min(first) >= 3600 and max(first) < 3700
    assert min(second) - max(first) >= 3600


def test_what_came_to_nothing_stays_for_a_week_and_is_looked_for_once_an_hour(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = MemoryWorld.of(1)
    world.request(Mode.RESUME, "x9", source="operator")
    world.run(5)
    (found,) = world.journal.recent_refusals()
    world.clock.advance(6.9 * DAY)
    coarsely(world, 3700, 10.0)
    assert world.journal.recent_refusals() == [found]
    world.clock.advance(DAY)
    times: list[float] = []
    purge = world.journal.purge

    def counted(before: float) -> None:
        times.append(before)
        purge(before)

    monkeypatch.setattr(world.journal, "purge", counted)
    coarsely(world, 7300, 10.0)
    assert world.journal.recent_refusals() == [] and 2 <= len(times) <= 3


def test_a_clock_that_is_set_years_ahead_prunes_nothing() -> None:
    world = MemoryWorld.of(1)
    for _ in range(2):
        world.slurm.end(up(world, "n1"))
        world.slurm.suspend("n1")
        world.settle(60)
    coarsely(world, 3000, 10.0)
    world.clock.jump(500 * DAY)
    coarsely(world, 1800, 10.0)
    world.clock.jump(-500 * DAY)
    coarsely(world, 2 * 3600, 10.0)
    assert len(world.journal.history()) == 4
