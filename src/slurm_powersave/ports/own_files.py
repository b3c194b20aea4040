"""The files of the state directory that are neither the journal nor Terraform's."""

from pathlib import Path
from typing import Protocol


class OwnFiles(Protocol):
    """Keys, and whatever else is written so that a crash leaves it whole."""

    def refuse(self) -> None:
        """Look at what an engine needs before it begins.

        Raises:
            ConfigError: a file is missing, empty, something else than a file, or not readable for this user.
        """

    def public_key(self) -> str:
        """Read the key pair of the servers.

        Raises:
            ConfigError: it is missing, or can't be read.
        """

    def make_key(self) -> None:
        """Make the key pair of the servers.

        Raises:
            ConfigError: ssh-keygen's own words.
        """

    def save(self, path: Path, content: str | bytes) -> None:
        """Replace a file so that after a crash it is the old one or the new one, whole; mode 0600."""
