"""Clocks that are set, and engines that stand still or are away, at the moment in which a phase begins."""

from collections.abc import Callable
from functools import partial

from slurm_powersave.model.nodes import Operation
from slurm_powersave.testing.world import STEP, MemoryWorld

Jolt = Callable[[MemoryWorld], None]


def set_clock(seconds: float, world: MemoryWorld) -> None:
    """Somebody, or a time server, sets the wall clock of the engine's host."""
    world.clock.jump(seconds)


def stand_still(seconds: float, world: MemoryWorld) -> None:
    """The engine does nothing for a while (SIGSTOP), and everything else goes on."""
    end = world.clock.now() + seconds
    while world.clock.now() < end:
        world.slurm.tick()
        world.clock.advance(0.5)


def be_away(seconds: float, world: MemoryWorld) -> None:
    """The engine is killed, and another one comes later."""
    stand_still(seconds, world)
    world.crash()


def boot_host(seconds: float, world: MemoryWorld) -> None:
    """The engine's host is booted, and comes back with a clock that is two hours behind."""
    world.clock.reboot()
    world.clock.jump(-7200)
    be_away(seconds, world)


def set_clock_meanwhile(seconds: float, world: MemoryWorld) -> None:
    """The clock is set while no engine runs."""
    world.clock.jump(seconds)
    be_away(5, world)


JOLTS: dict[str, tuple[Jolt, bool]] = {
    "back 60 s": (partial(set_clock, -60), False),
    "back 2 h": (partial(set_clock, -7200), False),
    "forward 1 h": (partial(set_clock, 3600), False),
    "still 40 s": (partial(stand_still, 40), False),
    "away 40 s": (partial(be_away, 40), True),
    "host booted": (partial(boot_host, 40), True),
    "back 2 h while away": (partial(set_clock_meanwhile, -7200), True),
    "forward 1 h while away": (partial(set_clock_meanwhile, 3600), True),
}
"""Name -> what happens, and whether the engine is killed by it."""


class AtPhase:
    """Lets something happen once, as soon as an operation is journalled in a phase."""

    def __init__(self, world: MemoryWorld, phase: str, jolt: Jolt, *, kills: bool) -> None:
        self.happened = False
        self._world, self._phase, self._jolt, self._kills = world, phase, jolt, kills
        journal = world.journal
        save, plan = journal.save_operation, journal.plan_request

        def save_operation(operation: Operation) -> None:
            save(operation)
            self._look(operation)

        def plan_request(request_id, operations, refusals, now):  # type: ignore[no-untyped-def]
            operations = list(operations)
            plan(request_id, operations, refusals, now)
            for operation in operations:
                self._look(operation)

        journal.save_operation = save_operation  # type: ignore[method-assign]
        journal.plan_request = plan_request  # type: ignore[method-assign]

    def _look(self, operation: Operation) -> None:
        if self.happened or operation.outcome or operation.phase != self._phase:
            return
        self.happened = True
        if not self._kills:
            self._jolt(self._world)

    def run(self, seconds: float) -> None:
        """Run the world; an engine that is to be killed is killed at the end of that step."""
        for _ in range(1000):
            if self.happened:
                break
            self._world.run(STEP)
        if self._kills:
            self._jolt(self._world)
        self._world.run(seconds)
