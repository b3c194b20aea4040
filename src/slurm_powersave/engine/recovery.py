"""After an error that no step expects the engine is built anew from the journal, as after a kill.

What is in memory may be ahead of the journal then. An error is said once, counted and shown in `status`; the
pause before the next try doubles, so that a full disk is waited for and not filled with words about it.
"""

import logging
from collections.abc import Callable

from slurm_powersave.engine.faults import Faults, worded
from slurm_powersave.model import machine
from slurm_powersave.model.errors import PowersaveError

log = logging.getLogger("slurm_powersave")

FIRST, LONGEST = 0.5, 10.0
"""Seconds before the next try: after the first error, and at most."""
_QUIET = 60.0
"""Seconds without an error after which the pauses begin with the shortest again."""
_TEXTS = 50
"""Different errors that are remembered as said."""


class Recovery:
    """What is known of the errors of engines before this one."""

    def __init__(
        self, clock: Callable[[], float], tell: Callable[[str, int], None], left_alone: Callable[[str], None]
    ) -> None:
        """Begin without errors.

        Args:
            clock: seconds that never jump.
            tell: is told what the engine waits for (empty: for nothing), and how many errors there were.
            left_alone: is told which parts of the engine are left alone, and why (empty: none).
        """
        self.faults = Faults(clock)
        self._clock, self._tell, self._left_alone = clock, tell, left_alone
        self._backoff_errors = ""
        self.count = 0
        self._pause, self._last = 0.0, float("-inf")
        self._said: set[str] = set()
        self._waiting = self._unsure = False

    def met(self, error: Exception) -> float:
        """Take in an error that ended an engine; return the seconds until there is to be another one."""
        now = self._clock()
        if now - self._last > _QUIET:
            self._pause = 0.0
        self._pause = min(max(self._pause * 2, FIRST), LONGEST)
        self._last, self._waiting, self._unsure = now, True, True
        self.count += 1
        self.faults.blame(error)
        text = worded(error)
        if text not in self._said:
            self._said = {*self._said, text} if len(self._said) < _TEXTS else {text}
            expected = isinstance(error, PowersaveError) or machine.is_at_fault(error)
            log.error(
                "%s: the engine begins anew from its journal, and tries again until it works", text,
                exc_info=None if expected else error,
            )  # fmt: skip
        self._tell(text, self.count)
        return self._pause

    def works(self) -> None:
        """A step was taken without an error."""
        if (errors := self.faults.backoff_errors()) != self._backoff_errors:
            self._backoff_errors = errors
            self._left_alone(errors)
            if errors:
                log.error("left alone for a while, because it fails again and again: %s", errors)
        if self._waiting:
            self._waiting = False
            self._tell("", self.count)
        if self._unsure and self._clock() - self._last > LONGEST:
            self._unsure = False
            self._said.clear()
            log.info("the engine works again since %.0f s", self._clock() - self._last)
