"""From the hooks to the journal, within bounds; what it means is decided in engine/planning.py."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace

from slurm_powersave.model.allowance import Allowance
from slurm_powersave.model.nodes import Request
from slurm_powersave.model.timing import USUAL, Timing
from slurm_powersave.ports.clock import Clock
from slurm_powersave.ports.intake import Intake
from slurm_powersave.ports.journal import Inbox

_WAITING = 256
"""Requests that may be journalled and not planned; more wait where they are, in the end on Slurm's host."""
_KEPT = 1000
"""Characters of a resume file that are kept in any case."""
log = logging.getLogger("slurm_powersave")


class Bounds:
    """What of the other side's words goes to the log and the disk without end."""

    def __init__(self) -> None:
        self._refused = Allowance(20, 0.2)
        self._resume_files = Allowance(64 << 20, 64 << 10)
        self._untold = 0

    def refused(self, request_id: str, why: str) -> None:
        """Tell that something is no request; the spool keeps it aside."""
        if not self._refused.take(1, time.monotonic()):
            self._untold += 1
            return
        log.error("spool: %s refused: %s", request_id, why)
        if self._untold:
            log.error("spool: %d more were refused in the meantime", self._untold)
            self._untold = 0

    def cut(self, request: Request) -> Request:
        """Keep the beginning of a resume file if very many have come: nothing is decided on it."""
        size = len(request.resume_file)
        if size <= _KEPT or self._resume_files.take(size, time.monotonic()):
            return request
        return replace(request, resume_file=request.resume_file[:_KEPT])


def pump(
    intake: Intake,
    journal: Inbox,
    clock: Clock,
    left: deque[tuple[str, Request | str]],
    bounds: Bounds | None = None,
) -> int:
    """Journal what has come, then acknowledge it; return how many requests were new.

    Args:
        intake: gives each request once in a process's life.
        journal: where the requests go.
        clock: tells when they came.
        left: what has come and is not journalled yet; it stays here if the journal fails.
        bounds: those of this intake.

    Raises:
        JournalError: the journal can't be written; call again later, or let another intake ask for it.
    """
    new, bounds = 0, bounds or Bounds()
    left.extend(intake.receive())
    while left:
        request_id, request = left[0]
        if isinstance(request, str):
            bounds.refused(request_id, request)
        elif journal.add_request(bounds.cut(request), clock.wall()):
            new += 1
            log.info(
                "request=%s mode=%s nodes=%s source=%s",
                request.id, request.mode, request.hostlist[:200], request.source,
            )  # fmt: skip
        intake.acknowledge(request_id)
        left.popleft()
    return new


class Pump(threading.Thread):
    """Journals requests as they come, whatever the engine's loop waits for.

    An error ends the thread, and `check` tells the loop of it: with it intake and engine begin anew, and what
    was not acknowledged comes again.
    """

    def __init__(
        self,
        intake: Intake,
        arrived: threading.Event,
        journal: Inbox,
        clock: Clock,
        wake: threading.Event,
        looked: Callable[[], None] = lambda: None,
        timing: Timing = USUAL,
    ) -> None:
        """`looked` is called after each look, a second after the last one at the latest."""
        super().__init__(name="intake", daemon=True)
        self._intake, self._arrived, self._journal = intake, arrived, journal
        self._clock, self._wake, self._looked = clock, wake, looked
        self._timing = timing
        self._left: deque[tuple[str, Request | str]] = deque()
        self._bounds = Bounds()
        self._full = False
        self._stop_asked = threading.Event()
        self._error: Exception | None = None

    def run(self) -> None:
        """Wait for the intake's event; look every second in any case."""
        try:
            while not self._stop_asked.is_set():
                self._arrived.wait(self._timing.intake_full if self._full else self._timing.intake_look)
                self._arrived.clear()
                self._look()
        except Exception as error:
            self._error = error
            self._wake.set()

    def _look(self) -> None:
        # What is not taken is not acknowledged, and the intake stops to read.
        self._full = self._journal.count_unplanned() >= _WAITING
        if not self._full and pump(self._intake, self._journal, self._clock, self._left, self._bounds):
            self._wake.set()
        self._looked()

    def check(self) -> None:
        """Raise the error that has ended the thread, if one has."""
        if self._error:
            raise self._error

    def stop(self) -> None:
        """End the thread."""
        self._stop_asked.set()
        self._arrived.set()
        self.join(5)
