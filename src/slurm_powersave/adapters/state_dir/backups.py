"""Backup files, and the journal's part in them."""

from slurm_powersave.adapters.journal import database
from slurm_powersave.adapters.journal.tables import SCHEMA_VERSION
from slurm_powersave.adapters.state_dir import archive


class Backups:
    """Implements ports.Archive."""

    journal_version = SCHEMA_VERSION
    save = staticmethod(archive.save)
    reading = staticmethod(archive.reading)
    copy_journal = staticmethod(database.copy)
