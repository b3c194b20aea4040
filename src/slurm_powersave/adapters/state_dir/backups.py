"""Backup files, and the journal's part in them."""

from pathlib import Path

from slurm_powersave.adapters.journal.database import JournalFile
from slurm_powersave.adapters.journal.tables import SCHEMA_VERSION
from slurm_powersave.adapters.state_dir import archive
from slurm_powersave.adapters.terraform import state_file
from slurm_powersave.config.plain_file import read_bytes


class Backups:
    """Implements ports.Archive."""

    journal_version = SCHEMA_VERSION
    save = staticmethod(archive.save)
    reading = staticmethod(archive.reading)

    def content(self, path: Path) -> bytes | None:
        """Read a file of the state directory; a Terraform state when it is whole."""
        return state_file.steady(path) if path.name == state_file.STATE else read_bytes(path)

    def copy_journal(self, source: Path, target: Path) -> int:
        """Copy a journal as it is at one moment; return its version."""
        return JournalFile(source).snapshot_to(target)
