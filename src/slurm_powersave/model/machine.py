"""Which errors are this host's own trouble: a full or broken disk, no memory, no more processes or files.

They are no node's and no operation's fault. They end when the host has room again, and are waited out.
"""

import errno
import re
from collections.abc import Iterator

from slurm_powersave.model.errors import MachineError, OwnFileError

_NUMBERS = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS, errno.ESTALE, errno.ENOLCK}
    | {errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.ENOMEM, errno.EACCES, errno.EPERM}
)
"""errno(3): of the disk, of what a process may have, and of our own files that this user may not read."""
_LASTING = frozenset({errno.EACCES, errno.EPERM, errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP})
"""Of these: what does not end by itself, because somebody has to put a file right."""
_NO_THREAD = "can't start new thread"
"""What Python makes of EAGAIN when a thread begins."""
_WORDS = re.compile(
    r"no space left on device|disk quota exceeded|file too large|read-only file system|input/output error|"
    r"stale (nfs )?file handle|no locks available|"
    r"too many open files|cannot allocate memory|cannot fork|resource temporarily unavailable|"
    r"pthread_create failed|database or disk is full|runtime: out of memory",
    re.IGNORECASE,
)
"""How strerror(3), sh, Go's runtime and SQLite word the same."""


def is_at_fault(error: BaseException) -> bool:
    """Tell whether an error, or what it came from, is this host's own trouble."""
    return any(
        isinstance(one, MachineError | MemoryError)
        or (isinstance(one, OSError) and one.errno in _NUMBERS)
        or (isinstance(one, RuntimeError) and _NO_THREAD in str(one))
        for one in _chain(error)
    )


def is_lasting(error: BaseException) -> bool:
    """Tell whether such an error is about one file that somebody has to put right; all others work."""
    return any(
        isinstance(one, OwnFileError) or (isinstance(one, OSError) and one.errno in _LASTING)
        for one in _chain(error)
    )


def says(text: str) -> bool:
    """Tell whether a program of this host says in its own words that the host is in trouble."""
    return _WORDS.search(text) is not None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Go from an error to what it was raised from; a chain of Python's has no end where it is a ring."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
