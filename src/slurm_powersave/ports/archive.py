"""Backup files, and the journal's part in them."""

from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO, Protocol

from slurm_powersave.decide.commands.backup import Manifest


class BackupReader(Protocol):
    """A backup that is read from its beginning to its end. ConfigError for one that is damaged."""

    manifest: Manifest

    def cluster_file(self) -> bytes:
        """Read the cluster file, which comes first."""

    def extract(self, into: Path | None = None) -> None:
        """Write all files below a directory, and hold each against the manifest; None: only look."""


class Archive(Protocol):
    """Writes and reads backups."""

    journal_version: int
    """The newest version of the journal that is understood here."""

    def save(self, target: Path, place: Path, manifest: Manifest) -> Manifest:
        """Make a backup file of what is below `place`: whole, verified and mode 0600, or not there at all."""

    def reading(self, source: IO[bytes], where: str) -> AbstractContextManager[BackupReader]:
        """Open a backup; `where` names it in errors."""

    def content(self, path: Path) -> bytes | None:
        """Read a file of the state directory: a Terraform state when it is whole, None if not written yet.

        Raises:
            TerraformError: a state does not become whole.
        """

    def copy_journal(self, source: Path, target: Path) -> int:
        """Copy a journal that others may be writing to, as it is at one moment; return its version.

        Raises:
            JournalError: it can't be read, or the copy is not sound.
        """
