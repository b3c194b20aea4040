"""Commands that need what a deploy has made."""

from collections.abc import Iterable
from pathlib import Path

from slurm_powersave.config.layout import Layout
from slurm_powersave.model.errors import ConfigError


def require(layout: Layout, files: Iterable[Path]) -> None:
    """Refuse to go on where one of these files of the state directory is not there.

    Raises:
        ConfigError: the cluster was never deployed.
    """
    if not all(file.exists() for file in files):
        raise ConfigError(
            "this cluster was never deployed", where=str(layout.root), todo="Run: slurm-powersave deploy"
        )
