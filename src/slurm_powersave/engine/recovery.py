"""After an error that no step expects the engine is built anew from the journal, as after a kill.

What is in memory may be ahead of the journal then. An error is said once, counted and shown in `status`; the
pause before the next try doubles, so that a full disk is waited for and not filled with words about it.
"""

import logging
from collections.abc import Callable

from slurm_powersave.engine.faults import Faults, worded
from slurm_powersave.model import machine
from slurm_powersave.model.errors import PowersaveError
from slurm_powersave.model.timing import USUAL, Timing

log = logging.getLogger("slurm_powersave")

_TEXTS = 50
"""Different errors that are remembered as said."""


class Recovery:
    """What is known of the errors of engines before this one."""

    def __init__(
        self,
        clock: Callable[[], float],
        tell: Callable[[str, int], None],
        left_alone: Callable[[str], None],
        timing: Timing = USUAL,
    ) -> None:
        """Begin without errors.

        Args:
            clock: seconds that never jump.
            tell: is told what the engine waits for (empty: for nothing), and how many errors there were.
            left_alone: is told which parts of the engine are left alone, and why (empty: none).
            timing: the pauses after errors.
        """
        self.faults = Faults(clock, timing)
        self._timing = timing
        self._clock, self._tell, self._left_alone = clock, tell, left_alone
        self._backoff_errors = ""
        self.count = 0
        self._pause, self._last = 0.0, float("-inf")
        self._said: set[str] = set()
        self._waiting = self._unsure = False

    def met(self, error: Exception) -> float:
        """Take in an error that ended an engine; return the seconds until there is to be another one."""
        now = self._clock()
        if now - self._last > self._timing.error_quiet:
            self._pause = 0.0
        self._pause = min(
            max(self._pause * 2, self._timing.error_pause_first), self._timing.error_pause_longest
        )
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
        if self._unsure and self._clock() - self._last > self._timing.error_pause_longest:
            self._unsure = False
            self._said.clear()
            log.info("the engine works again since %.0f s", self._clock() - self._last)
