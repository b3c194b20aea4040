"""The state directory: its own files are read and written here."""

import shutil
from collections.abc import Collection
from pathlib import Path

from slurm_powersave.adapters.state_dir import pause_file
from slurm_powersave.adapters.terraform import providers
from slurm_powersave.adapters.terraform.state_file import write_synced
from slurm_powersave.config.layout import Layout
from slurm_powersave.config.plain_file import read_bytes, read_text
from slurm_powersave.decide.slurm_files.inventory import VARIABLES


class StateDirectory:
    """Implements ports.state_store.StateStore."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    @property
    def pause_file(self) -> Path:
        """Where the file is that pauses the cluster."""
        return self._layout.pause

    def paused(self) -> str | None:
        """Return the reason in the file; None if there is no file. One that can't be read also pauses."""
        return pause_file.read(self._layout.pause)

    def end_pause(self) -> None:
        """Remove the file, if there is one."""
        self._layout.pause.unlink(missing_ok=True)

    def applied(self) -> bytes | None:
        """Return the record of what slurmctld has taken; None if nothing was recorded."""
        return read_bytes(self._layout.slurm_conf_in_use) if self._layout.slurm_conf_in_use.exists() else None

    def save_applied(self, content: str) -> None:
        """Replace that record."""
        write_synced(self._layout.slurm_conf_in_use, content)

    def inventory_variables(self) -> bytes | None:
        """Return the file of variables for Ansible; None before the first deploy."""
        path = self._layout.inventory / VARIABLES
        return read_bytes(path) if path.exists() else None

    def make(self) -> None:
        """Make the directory and those in it, for their owner only, where they are not there yet."""
        layout = self._layout
        for directory in (layout.root, layout.private_key.parent, layout.terraform, layout.runs):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)

    def identity(self) -> str | None:
        """Return the note of whose the directory is; None if there is none."""
        path = self._layout.identity
        return read_text(path, "replace") if path.exists() else None

    def save_identity(self, content: str) -> None:
        """Replace that note."""
        write_synced(self._layout.identity, content)

    def forget_states(self) -> None:
        """Remove Terraform's states and the record of what slurmctld was given."""
        layout = self._layout
        for path in (*layout.terraform.glob("*/nodes-*"), layout.base):
            shutil.rmtree(path, ignore_errors=True)
        providers.forget(layout.terraform)
        layout.slurm_conf_in_use.unlink(missing_ok=True)

    def sweep_runs(self, kept: Collection[Path]) -> None:
        """Remove the directories of detached runs but these."""
        for directory in self._layout.runs.glob("*"):
            if directory not in kept:
                shutil.rmtree(directory, ignore_errors=True)
