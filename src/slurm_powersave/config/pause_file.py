"""The file that pauses a cluster, also when no command works; its text is the reason."""

from pathlib import Path

from slurm_powersave.config.plain_file import read_bytes
from slurm_powersave.model.printable import printable

_LONGEST = 200
"""Bytes of the reason that are shown."""


def read(path: Path) -> str | None:
    """Return the reason; None if there is no file. A file that can't be read also pauses."""
    try:
        words = read_bytes(path, _LONGEST).decode(errors="replace").split()
        return printable(" ".join(words)) or "no reason given"
    except FileNotFoundError:
        return None
    except OSError as error:
        return str(error.strerror)
