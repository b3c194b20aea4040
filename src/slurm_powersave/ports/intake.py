"""The requests of the hooks, on their way to the journal."""

from collections.abc import Sequence
from typing import Protocol

from slurm_powersave.model.nodes import Request


class Intake(Protocol):
    """Where requests come from: the spool of this host, or the stream from the slurmctld host."""

    def receive(self) -> Sequence[tuple[str, Request | str]]:
        """Return what has come: (id, request), or (id, what is wrong with it). Never blocks."""

    def acknowledge(self, request_id: str) -> None:
        """The request is journalled: the spool may forget it."""
