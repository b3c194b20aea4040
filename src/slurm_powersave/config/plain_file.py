"""Reading a file of ours or of a person's, which may not be one: never waits for a writer of a FIFO."""

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

_KINDS = {
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def read_bytes(path: Path, longest: int = -1) -> bytes:
    """Read a regular file, or its first bytes.

    Raises:
        OSError: it can't be read; one that is something else than a regular file is named as what it is.
    """
    with opened(path) as file:
        return file.read(longest)


def opened(path: Path) -> BinaryIO:
    """Open a regular file to read it; the caller closes it.

    Raises:
        OSError: as `read_bytes`.
    """
    if kind := wrong_kind(path):
        raise OSError(errno.EINVAL, f"Is {kind}", str(path))
    return open(path, "rb", opener=_at_once)


def read_text(path: Path, errors: str = "strict") -> str:
    """Read a regular file as UTF-8.

    Raises:
        OSError: as `read_bytes`.
        UnicodeDecodeError: it is no UTF-8.
    """
    return read_bytes(path).decode("utf-8", errors)


def wrong_kind(path: Path) -> str:
    """Say what is there in the place of a regular file; empty if it is one.

    Raises:
        OSError: nothing is there, or it can't be looked at.
    """
    kind = stat.S_IFMT(path.stat().st_mode)
    return "" if kind == stat.S_IFREG else _KINDS.get(kind, "no regular file")


def _at_once(path: str, flags: int) -> int:
    # Somebody may put a FIFO there after we have looked.
    return os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC)
