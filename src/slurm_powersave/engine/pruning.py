"""Keeps the journal from growing without end: what is old goes in small steps, while the engine is idle."""

from slurm_powersave.engine.world import World

_EVERY = 3600.0
"""Seconds between two times."""
_KEPT_FOR = 7 * 86400.0
"""Seconds for which resume files, and requests that came to nothing, stay in the journal."""
_AT_ONCE = 200
"""Operations that one step of the engine drops, some milliseconds' work."""
_LATEST = 86400.0
"""Seconds after which it is done although the engine is never idle."""
_JUMP = 60.0
"""Seconds by which the clock of the host may be off within `_EVERY`; if it jumps, nothing is pruned by it."""


class Pruning:
    """Drops what nobody needs after a week, and what is older than `history.keep_days`."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._purge_at = float("-inf")
        self._done = world.clock.monotonic()
        """When all that was old had gone, on the monotonic clock."""
        self._clocks = (world.now(), self._done)
        """What both clocks showed when they were last compared."""

    def step(self, *, idle: bool) -> None:
        """Do a part of it, if it is time."""
        journal, now, elapsed = self._world.journal, self._world.now(), self._world.clock.monotonic()
        if elapsed >= self._purge_at:
            self._purge_at = elapsed + _EVERY
            journal.purge(now - _KEPT_FOR)
        if elapsed - self._done < (_EVERY if idle else _LATEST) or not self._steady(now, elapsed):
            return
        before = now - self._world.cluster.history.keep_days * 86400.0
        if not journal.prune(before, _AT_ONCE):
            self._done = elapsed

    def _steady(self, now: float, elapsed: float) -> bool:
        """Tell whether the host's clock has gone right for a while: one that is years ahead deletes all."""
        wall, monotonic = self._clocks
        if abs((now - wall) - (elapsed - monotonic)) > _JUMP:
            self._clocks, self._done = (now, elapsed), elapsed
            return False
        return True
