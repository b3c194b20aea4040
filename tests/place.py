"""Directories that have the same name each time, in /var/tmp, where everybody may write."""

import os
import stat
from pathlib import Path


def own_place(path: Path) -> Path:
    """Make a directory, or make sure that it is ours: a link in another user's would lead root elsewhere."""
    path.mkdir(mode=0o755, exist_ok=True)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise PermissionError(f"{path} is not ours alone: find out who made it, and remove it")
    return path
