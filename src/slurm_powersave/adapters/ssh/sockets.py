"""A directory for ssh's control sockets that nobody else can enter.

Whoever may write there can put a socket of his own in the place of ours, and answer as the slurmctld host.
And a socket's path has 108 bytes at most (unix(7)); ssh adds 17 while it makes one.
"""

import atexit
import functools
import os
import re
import shutil
import stat
import tempfile
from pathlib import Path

from slurm_powersave.model.errors import ConfigError

_NAME = 20
"""Bytes of the longest name that we or Ansible give a socket."""
LONGEST = 107 - 17 - 1 - _NAME
_PLAIN = re.compile(r"[A-Za-z0-9/_.-]+")
"""What ssh does not split at or replace."""


def directory(state: Path, wanted: Path) -> Path:
    """Return where sockets may be: `wanted`, in our state directory, or else one of this process alone.

    Raises:
        ConfigError: somebody has put something else in its place.
    """
    try:
        found = state.stat()
        # Whoever can write in it can replace our directory after we have looked.
        ours = found.st_uid == os.geteuid() and not found.st_mode & 0o022
    except OSError:
        ours = False
    if not ours or len(os.fsencode(wanted)) > LONGEST:
        return _temporary()
    return own(wanted)


def own(path: Path) -> Path:
    """Make a directory that is ours alone, or make sure that it is.

    Raises:
        ConfigError: it is a link, another user's, or open to others.
    """
    try:
        path.mkdir(mode=0o700, exist_ok=True)
        found = path.lstat()
    except OSError as error:
        raise ConfigError("the directory can't be made", where=str(path), why=str(error.strerror)) from error
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise ConfigError(
            "must be a directory of this user with mode 0700, and no link",
            where=str(path),
            todo="Find out who made it, then remove it.",
        )
    return path


@functools.cache
def _temporary() -> Path:
    """Make one with a name that nobody can guess, and remove it with this process."""
    base = tempfile.gettempdir()
    if len(base) > LONGEST - len("/slurm-powersave-12345678") or not _PLAIN.fullmatch(base):
        base = "/tmp"
    made = Path(tempfile.mkdtemp(prefix="slurm-powersave-", dir=base))
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    return made
