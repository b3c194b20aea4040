"""Dates that survive a restart, on a wall clock that may be set at any moment.

Within a process everything is told by the monotonic clock. A date in the journal (until when a node rests) is
seconds since the epoch, and only this module turns dates into moments of the monotonic clock and back.

When the wall clock is set, the dates of rests in the journal are moved by as much: what is left of a rest
stays the same. For that the journal holds an anchor: both clocks as they were, and the boot of the host in
which the monotonic one ran. With it a step is also noticed that was made while no engine ran.
"""

import logging
from contextlib import suppress

from slurm_powersave.model.errors import JournalError
from slurm_powersave.model.timing import USUAL, Timing
from slurm_powersave.ports.clock import Clock
from slurm_powersave.ports.journal import Clocks

log = logging.getLogger("slurm_powersave")


class Times:
    """Both clocks. `look` is called at the beginning of each of the engine's steps."""

    def __init__(self, clock: Clock, journal: Clocks, timing: Timing = USUAL) -> None:
        self._clock, self._journal, self._timing = clock, journal, timing
        self._ahead = clock.wall() - clock.monotonic()
        """What the wall clock was ahead of the monotonic one at the last look."""
        step = self._step_since(journal.anchor())
        self._ahead_before = self._ahead - step
        if abs(step) > self._timing.clock_step:
            self._stepped(step, "while no engine ran")
        self._written = float("-inf")
        self._write()

    def now(self) -> float:
        """Return a moment: seconds of the monotonic clock. All durations are told by it."""
        return self._clock.monotonic()

    def wall(self) -> float:
        """Return the date in seconds since the epoch: for people and for the journal."""
        return self._ahead + self._clock.monotonic()

    def moment(self, date: float) -> float:
        """Return the moment of the monotonic clock at which a date of the journal comes, or came."""
        return date - self._ahead

    def earlier(self, date: float) -> float:
        """Return the moment of a date at which an earlier engine did something; it is never to come."""
        return min(date - self._ahead_before, self.now())

    def earlier_date(self, moment: float) -> float:
        """Return the date that an earlier engine would have given a moment."""
        return moment + self._ahead_before

    def date(self, moment: float) -> float:
        """Return the date of a moment of the monotonic clock."""
        return moment + self._ahead

    def look(self) -> bool:
        """Notice a step of the wall clock; tell whether dates in the journal have moved.

        Raises:
            JournalError: the journal can't be written; the step is noticed again by the next call.
        """
        ahead = self._clock.wall() - self._clock.monotonic()
        if abs(step := ahead - self._ahead) > self._timing.clock_step:
            self._stepped(step, "")
            return True
        self._ahead = ahead
        self._write()
        return False

    def _write(self) -> None:
        """Write the anchor from time to time. Whoever needs the journal tells if it can't be written."""
        if self.now() - self._written >= self._timing.anchor_every:
            self._written = self.now()
            with suppress(JournalError):
                self._journal.save_anchor(self._anchor())

    def _stepped(self, step: float, when: str) -> None:
        ahead = self._clock.wall() - self._clock.monotonic()
        self._journal.move_backoffs(step, self._anchor())
        self._ahead = ahead
        log.warning(
            "the clock of this host was set %s by %.0f s%s; no limit counts that, and no rest ends by it",
            "forward" if step > 0 else "back", abs(step), f" {when}" if when else "",
        )  # fmt: skip

    def _anchor(self) -> tuple[str, float, float]:
        return self._clock.boot(), self._clock.wall(), self._clock.monotonic()

    def _step_since(self, anchor: tuple[str, float, float] | None) -> float:
        """Say by how much the wall clock was set since the anchor was written.

        After a boot of the host nobody knows how long it was off; but time does not run backwards.
        """
        if anchor is None:
            return 0.0
        boot, wall, monotonic = anchor
        if boot == self._clock.boot():
            return self._ahead - (wall - monotonic)
        return min(self._clock.wall() - wall, 0.0)
