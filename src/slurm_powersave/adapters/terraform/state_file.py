"""Terraform's state as a file: read, copied before each apply, and put back where Terraform has spoiled it.

Terraform truncates its state and writes it anew. On a full disk an empty or half a file is what is left.
"""

import fcntl
import json
import os
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from slurm_powersave.config.plain_file import read_bytes
from slurm_powersave.model import machine
from slurm_powersave.model.errors import TerraformError

STATE = "terraform.tfstate"
COPY = "terraform.tfstate.before-apply"
BROKEN = "terraform.tfstate.broken"
_STEADY = 10.0
"""Seconds in which a state that is being written becomes whole: Terraform truncates it and writes it anew."""
_OLDER = (COPY, f"{STATE}.backup")
"""Ours, and the one that Terraform makes of the state before when it writes a new one."""
_STEP_NS = 2_500_000_000
"""Nanoseconds after which a file that is written again has another time on every file system."""


def write_synced(path: Path, content: str | bytes) -> None:
    """Replace a file so that after a crash it is the old one or the new one, whole; mode 0600."""
    new = path.with_name(path.name + ".new")
    # Not waiting: somebody may have put a FIFO there.
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NONBLOCK, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content.encode() if isinstance(content, str) else content)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def exists(directory: Path) -> bool:
    """Tell whether Terraform has written a state there, whatever is in it."""
    return (directory / STATE).exists()


def directories(below: Path) -> list[Path]:
    """List the directories that hold a state, two levels below one: CLOUD/nodes-NNN."""
    return [path.parent for path in sorted(below.glob(f"*/*/{STATE}"))]


def read_json(path: Path) -> Any:
    """Read a file that Terraform, or we for it, have written.

    Raises:
        TerraformError: it can't be read, or is broken.
    """
    try:
        return json.loads(read_bytes(path))
    except (OSError, ValueError, RecursionError) as error:
        raise TerraformError(
            "not readable as JSON",
            where=str(path),
            why=str(error),
            todo=f"Nothing is done with it meanwhile. Engine and deploy put a copy ({COPY}, or Terraform's "
            "own .backup) in the place of a broken state as soon as the cloud can be read.",
        ) from error


def keep(directory: Path) -> None:
    """Copy a whole state before an apply changes it; there is none before the first."""
    content = _sound(directory / STATE)
    if content is not None:
        write_synced(directory / COPY, content)


def version(directory: Path) -> tuple[int, int]:
    """Return what differs after the state was written: time in ns and size; zeros if there is none."""
    try:
        found = (directory / STATE).stat()
    except FileNotFoundError:
        return 0, 0
    return found.st_mtime_ns, found.st_size


def stamp(directory: Path) -> str:
    """Name the version of a state; empty if there is none, or if it was written a moment ago.

    A file system counts time in steps (4 ms mostly, on some 2 s): another change in the same step would not
    be seen. An empty state is one that is just locked, or broken: what it says is looked at each time.
    """
    try:
        found = (directory / STATE).stat()
    except OSError:
        return ""
    changed = max(found.st_mtime_ns, found.st_ctime_ns)
    if not found.st_size or time.time_ns() - changed < _STEP_NS:
        return ""
    return f"{found.st_ino}-{found.st_mtime_ns}-{found.st_ctime_ns}-{found.st_size}"


def is_broken(directory: Path) -> bool:
    """Tell whether the state is empty or not readable, and nobody is writing it now."""
    return not is_whole(directory) and not is_locked(directory)


def is_whole(directory: Path) -> bool:
    """Tell whether the state is sound, or there is none yet. What can't be read at all is told elsewhere."""
    path = directory / STATE
    try:
        return not path.exists() or _sound(path) is not None
    except OSError:
        return True


def put_back(directory: Path) -> str:
    """Put the newest whole state from before in the place of a broken one; return what was done, in words.

    Only when the cloud can be read: what was made or deleted since is found out from it. The broken file is
    kept beside it. Where there is no copy, nothing was ever applied, and the next plan begins a new state.
    """
    if not is_broken(directory):
        return ""
    path = directory / STATE
    name, content = next(
        ((name, found) for name in _OLDER if (found := _sound(directory / name)) is not None), ("", b"")
    )
    shutil.copyfile(path, directory / BROKEN)
    if not name:
        path.unlink()
        return "the state was empty or broken, and there is no copy: a new one is begun"
    write_synced(path, content)
    return f"the state was empty or broken: {name} is in its place, the broken one is {BROKEN}"


def outputs(directory: Path) -> dict[str, Any]:
    """Read the values of a state's outputs from its file; none where there is no state.

    Of a broken state those of the copy count: an address of the network does not change with an apply.

    Raises:
        TerraformError: neither can be read.
    """
    path = directory / STATE
    if not path.exists():
        return {}
    whole = next((one for one in (STATE, *_OLDER) if _sound(directory / one) is not None), "")
    if not whole and path.stat().st_size == 0:
        return {}
    content = read_json(directory / (whole or STATE))
    return {name: entry["value"] for name, entry in content.get("outputs", {}).items()}


def is_locked(directory: Path) -> bool:
    """Tell whether some terraform process, ours or a person's, holds the state's lock."""
    try:
        descriptor = os.open(directory / STATE, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    except OSError as error:
        if machine.is_at_fault(error) and not machine.is_lasting(error):
            raise
        return True  # no file, or not ours: nothing is to be done there until somebody has looked
    with os.fdopen(descriptor, "rb+", buffering=0) as file:
        try:
            # Terraform's local backend takes an fcntl lock on the state file itself.
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return True
    return False


def _sound(path: Path) -> bytes | None:
    """Return a state's bytes if it is whole."""
    try:
        content = read_bytes(path)
        return content if isinstance(json.loads(content), Mapping) else None
    except (FileNotFoundError, ValueError, RecursionError):
        return None


def steady(path: Path) -> bytes | None:
    """Read a state when it is whole; None for one that Terraform has locked and not written yet.

    Raises:
        TerraformError: it does not become whole.
    """
    deadline = time.monotonic() + _STEADY
    while True:
        content = read_bytes(path)
        try:
            json.loads(content)
        except ValueError as error:
            if time.monotonic() > deadline:
                if not content:
                    return None
                raise TerraformError(
                    "the Terraform state can't be read", where=str(path), why=str(error)
                ) from None
            time.sleep(0.05)
        else:
            return content
