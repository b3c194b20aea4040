"""The requests of the hooks, on their way to the journal."""

import threading
from collections.abc import Sequence
from types import TracebackType
from typing import Protocol, Self

from slurm_powersave.model.nodes import Request


class Intake(Protocol):
    """Where requests come from: the spool of this host, or the stream from the slurmctld host."""

    def receive(self) -> Sequence[tuple[str, Request | str]]:
        """Return what has come: (id, request), or (id, what is wrong with it). Never blocks."""

    def acknowledge(self, request_id: str) -> None:
        """The request is journalled: the spool may forget it."""


class OpenIntake(Intake, Protocol):
    """An intake that works in the background between enter and exit."""

    wake: threading.Event
    """Set when something has come."""

    def state(self) -> str:
        """Say in a few words whether requests can come."""

    def __enter__(self) -> Self:
        """Begin to take requests in; never waits."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...
