"""The file that pauses a cluster when nothing else works; what it says is why."""

from pathlib import Path

from slurm_powersave.decide.plain_file import read_bytes
from slurm_powersave.model.printable import printable

_LONGEST = 200
"""Bytes of it that are shown."""


def read(path: Path) -> str | None:
    """Return what it says; None if it is not there. One that can't be read pauses, too."""
    try:
        words = read_bytes(path, _LONGEST).decode(errors="replace").split()
        return printable(" ".join(words)) or "no reason given"
    except FileNotFoundError:
        return None
    except OSError as error:
        return str(error.strerror)
