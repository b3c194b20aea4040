"""Keeps the journal from growing without end: what is old goes in small steps, while the engine is idle."""

from slurm_powersave.engine.world import World

_KEPT_FOR = 7 * 86400.0
"""Seconds for which resume files, and requests that came to nothing, stay in the journal."""
_AT_ONCE = 200
"""Operations that one step of the engine drops, some milliseconds' work."""


class Pruning:
    """Drops what nobody needs after a week, and what is older than `history.keep_days`."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._timing = world.timing
        self._purge_at = float("-inf")
        self._done = world.now()
        """When all that was old had gone, on the monotonic clock."""
        self._ahead = world.times.date(0.0)
        """What the wall clock was ahead of the monotonic one when they were last compared."""

    def step(self, *, idle: bool) -> None:
        """Do a part of it, if it is time."""
        journal, times, now = self._world.journal, self._world.times, self._world.now()
        if now >= self._purge_at:
            self._purge_at = now + self._timing.prune_every
            journal.purge(times.date(now - _KEPT_FOR))
        if now - self._done < (
            self._timing.prune_every if idle else self._timing.prune_latest
        ) or not self._steady(now):
            return
        before = times.date(now - self._world.cluster.history.keep_days * 86400.0)
        if not journal.prune(before, _AT_ONCE):
            self._done = now

    def _steady(self, now: float) -> bool:
        """Tell whether the host's clock has gone right for a while: one that is years ahead deletes all."""
        ahead = self._world.times.date(0.0)
        if abs(ahead - self._ahead) > self._timing.prune_jump:
            self._ahead, self._done = ahead, now
            return False
        return True
