"""Following operations in the journal: one event per node and phase."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from slurm_powersave.surfaces.render import clock, duration

if TYPE_CHECKING:
    from slurm_powersave.adapters.journal import SqliteJournal
    from slurm_powersave.model.nodes import Operation

POLL_SECONDS = 0.3
_RECENT = 256
"""How many of the newest operations are looked at per poll; older ones are followed while they are open."""


@dataclass(frozen=True)
class Event:
    """A node entered a phase, or its operation ended (then `phase` is the outcome)."""

    at: float
    """Seconds since the epoch."""
    node: str
    mode: str
    operation: str
    phase: str
    seconds: float
    """Since the operation began."""
    text: str = ""
    """At the end: the failure's class and text."""

    def line(self) -> str:
        """Say it to a person."""
        elapsed = f"+{duration(self.seconds)}"
        line = f"{clock(self.at)}  {self.node:<16} {self.mode:<11} {self.phase:<15} {elapsed:>10}"
        return f"{line}  {self.text}" if self.text else line

    def value(self) -> dict[str, Any]:
        """Return it as it stands in JSON output."""
        return self.__dict__.copy()


def events(operation: Operation, already: int = 0) -> Iterator[Event]:
    """Return an operation's events without the first `already` ones."""
    last = len(operation.phases) - 1
    why = f"({operation.failure.value}) " if operation.failure else ""
    for number, phase in enumerate(operation.phases[already:], start=already):
        yield Event(
            at=phase.at,
            node=operation.node,
            mode=operation.mode.value,
            operation=operation.id,
            phase=phase.phase,
            seconds=max(phase.at - operation.created, 0.0),
            text=f"{why}{operation.text}".strip() if operation.outcome and number == last else "",
        )


class Follower:
    """Reads the journal again and again and tells what is new."""

    def __init__(self, journal: SqliteJournal, since: float) -> None:
        """Follow operations that are open now, and events at `since` (seconds since the epoch) or later."""
        self._journal = journal
        self._since = since
        self._told: dict[str, int] = {}
        self._open: set[str] = set()

    @property
    def idle(self) -> bool:
        """Whether nothing that has been seen is still running, and no request waits."""
        return not self._open and not self._journal.unplanned_requests()

    def news(self) -> list[Event]:
        """Return the events since the last call, in the order in which they happened."""
        found = {
            operation.id: operation
            for operation in self._journal.history(limit=_RECENT)
            if not operation.outcome or operation.since >= self._since
        }
        for operation_id in self._open - found.keys():
            if operation := self._journal.operation(operation_id):
                found[operation_id] = operation
        new: list[Event] = []
        for operation in found.values():
            new += events(operation, self._told.get(operation.id, 0))
            self._told[operation.id] = len(operation.phases)
            if operation.outcome:
                self._open.discard(operation.id)
            else:
                self._open.add(operation.id)
        return sorted(new, key=lambda event: event.at)


def wait(
    journal: SqliteJournal,
    request_id: str,
    timeout: float | None,
    tell: Callable[[Event], None],
    until: Callable[[Operation], bool] = lambda operation: False,
) -> Sequence[Operation] | None:
    """Wait until all operations of a request have ended, telling each event; None when time is up.

    `timeout` is in seconds; an operation for which `until` is true is not waited for either. A request
    whose every part was refused has no operations: the empty list.
    """
    begin = time.monotonic()
    told: dict[str, int] = {}
    while True:
        operations = journal.operations_of(request_id)
        for operation in operations:
            for event in events(operation, told.get(operation.id, 0)):
                tell(event)
            told[operation.id] = len(operation.phases)
        planned = operations or journal.refusals(request_id)
        if planned and all(one.outcome or until(one) for one in operations):
            return operations
        if timeout is not None and time.monotonic() - begin > timeout:
            return None
        time.sleep(POLL_SECONDS)
