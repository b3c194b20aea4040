"""What stands in a cluster's state directory beside the journal, the leases and Terraform's states.

Methods raise OSError when a file can't be read or written; what is written is whole after a
crash, or as it was before.
"""

from collections.abc import Collection
from pathlib import Path
from typing import Protocol


class Pauses(Protocol):
    """The file by which a person pauses a cluster, also when no command works."""

    @property
    def pause_file(self) -> Path:
        """Where it is, for messages."""

    def paused(self) -> str | None:
        """Return the reason in the file; None if there is no file. One that can't be read also pauses."""

    def end_pause(self) -> None:
        """Remove the file, if there is one."""


class SlurmConfRecord(Protocol):
    """What slurmctld was last given, and the inventory's variables from which the next is made."""

    def applied(self) -> bytes | None:
        """Return the record of what slurmctld has taken; None if nothing was recorded."""

    def save_applied(self, content: str) -> None:
        """Replace that record."""

    def inventory_variables(self) -> bytes | None:
        """Return the file of variables for Ansible; None before the first deploy."""


class StateStore(Pauses, SlurmConfRecord, Protocol):
    """All of it."""

    def make(self) -> None:
        """Make the directory and those in it, for their owner only, where they are not there yet."""

    def identity(self) -> str | None:
        """Return the note of whose the directory is; None if there is none."""

    def save_identity(self, content: str) -> None:
        """Replace that note."""

    def forget_states(self) -> None:
        """Remove Terraform's states and the record of what slurmctld was given."""

    def sweep_runs(self, kept: Collection[Path]) -> None:
        """Remove the directories of detached runs but these."""
