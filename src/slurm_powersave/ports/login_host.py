"""The host on which slurmctld runs, beside Slurm itself: its SSH, Slurm's files, its logs."""

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from slurm_powersave.decide.slurm_files.live_files import LiveFiles


class LoginHost(Protocol):
    """This host, or one that is reached over SSH with known keys only."""

    def answers(self, address: str) -> bool:
        """Tell whether an sshd answers there; the login node's own address through the jump host, if any."""

    def jump_is_known(self) -> bool:
        """Tell whether the jump host's key is in its file; also if there is no jump host."""

    def live_files(self) -> LiveFiles:
        """Read Slurm's files and those that we wrote last.

        Raises:
            UnreachableError: no answer, or none that can be read.
        """

    def save_logs(self, place: Path) -> Mapping[str, str]:
        """Write the logs of slurmctld and of the engine below a directory.

        Returns:
            name -> why, for those that could not be had.
        """
