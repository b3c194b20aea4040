"""Following operations in the journal: one event per node and phase."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from slurm_powersave.model import phases
from slurm_powersave.model.errors import UnfinishedError
from slurm_powersave.surfaces.cli.render import clock, duration

if TYPE_CHECKING:
    from slurm_powersave.model.nodes import Operation
    from slurm_powersave.ports.journal import Journal

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

    def __init__(self, journal: Journal, since: float) -> None:
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


def became(journal: Journal, operation: Operation) -> Operation:
    """Return the operation that does what one was asked for: itself, or the one that it has joined."""
    while operation.outcome == phases.JOINED and (found := journal.operation(operation.joined)):
        operation = found
    return operation


def wait(
    journal: Journal,
    request_id: str,
    timeout: float,
    tell: Callable[[Event], None],
    until: Callable[[Operation], bool] = lambda operation: False,
    required: Callable[[], None] = lambda: None,
) -> Sequence[Operation]:
    """Wait until all that a request has become has ended, telling each event; return its operations.

    Args:
        journal: where the request is.
        request_id: the request. One whose every part was refused has no operations: the empty list.
        timeout: seconds to wait at most.
        tell: gets each event, those of operations that were joined too.
        until: an operation for which it is true is not waited for.
        required: raises an error when waiting is of no use any more.

    Raises:
        UnfinishedError: time is up.
    """
    begin = time.monotonic()
    told: dict[str, int] = {}
    while True:
        operations = journal.operations_of(request_id)
        ends = [became(journal, operation) for operation in operations]
        for operation in {one.id: one for one in (*operations, *ends)}.values():
            for event in events(operation, told.get(operation.id, 0)):
                tell(event)
            told[operation.id] = len(operation.phases)
        planned = operations or journal.refusals(request_id)
        if planned and all(one.outcome or until(one) for one in ends):
            return operations
        if time.monotonic() - begin > timeout:
            raise _late(request_id, timeout, ends)
        required()
        time.sleep(POLL_SECONDS)


def _late(request_id: str, timeout: float, ends: Sequence[Operation]) -> UnfinishedError:
    left = [
        f"{one.node} is {one.phase}" + (f" ({one.waits})" if one.waits else "")
        for one in ends
        if not one.outcome
    ]
    return UnfinishedError(
        f"request {request_id} has not ended within {timeout:g} s",
        why=", ".join(left[:10]) or "the engine has not taken it up",
        todo="It goes on. To see how: slurm-powersave follow",
    )
