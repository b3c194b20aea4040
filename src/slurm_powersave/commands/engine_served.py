"""Whether an engine serves a cluster, for commands that wait for what it does."""

import time
from collections.abc import Callable

from slurm_powersave.model.errors import UnfinishedError
from slurm_powersave.ports.lease import Lease

PATIENCE = 15.0
"""Seconds without an engine after which nobody waits for one: a restart takes a few."""
_LOOK = 1.0


class Served:
    """Ends a wait when no engine has run for a while: what is waited for does not come by itself then."""

    def __init__(self, lease: Lease, now: Callable[[], float] = time.monotonic) -> None:
        """`lease` is the engine's; `now` gives seconds that never jump."""
        self._lease, self._now = lease, now
        self._next = now()
        self._missed: float | None = None
        """Since when there is none."""

    def require(self) -> None:
        """Look, if it is time.

        Raises:
            UnfinishedError: no engine has run for `PATIENCE`.
        """
        if (now := self._now()) < self._next:
            return
        self._next = now + _LOOK
        if self._lease.holder() is not None:
            self._missed = None
            return
        self._missed = now if self._missed is None else self._missed
        if now - self._missed >= PATIENCE:
            raise UnfinishedError(
                "no engine is running",
                where=self._lease.where,
                why=f"waited {PATIENCE:.0f} s for one",
                todo="What was asked for is kept. Start the engine: systemctl start slurm-powersave-engine"
                " (or slurm-powersave engine run).",
            )
