"""One engine, and one changing command, per cluster: a lock that the kernel drops when its holder dies."""

import contextlib
import fcntl
import json
import math
import os
import re
import signal
import socket
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import cast

from slurm_powersave.config.layout import Layout
from slurm_powersave.model.errors import LockedError, MachineError
from slurm_powersave.model.printable import printable
from slurm_powersave.ports.lease import Status

_LENGTH = 8192
_TRIES, _PAUSE = 5, 0.02  # `holder` has the lock for an instant each time that somebody asks
_LONGEST = 500
"""Characters of what `tell` says: it must fit into the file beside the rest, whatever they are."""
_LARGEST_PID = 1 << 22  # proc(5), /proc/sys/kernel/pid_max
_LAST_SECOND = 1 << 37  # localtime(3) goes that far; some thousand years
_HOST = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,254}", re.ASCII)


class EngineLock:
    """Implements ports.lease.Held: holds STATE/engine.lock (or another), which names its holder."""

    def __init__(self, path: Path, what: str = "an engine", *, command: str = "", user: str = "") -> None:
        """Take the lock; `command` and `user` are told to others.

        Raises:
            LockedError: another engine, or what `what` names, holds it; the text says which.
            MachineError: the file can't be opened.
        """
        self._path = path
        try:
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK, 0o600)
        except OSError as error:
            raise MachineError(
                "the lock file can't be opened",
                where=str(path),
                why=str(error.strerror),
                todo="It must be a file that belongs to the user who runs this.",
            ) from error
        if not self._take():
            os.close(self._descriptor)
            raise LockedError(
                f"{what} is running already",
                where=str(path),
                why=describe(path) or "it has just ended",
                todo="Stop it first, or wait until it has ended.",
            )
        self._unwritten = False
        self._holder = {"pid": os.getpid(), "host": socket.gethostname(), "since": time.time()}
        said = {"command": command[:_LONGEST], "user": user[:_LONGEST]}
        self._holder |= {key: printable(text) for key, text in said.items() if text}
        try:
            self._write()
        except OSError as error:
            os.close(self._descriptor)
            raise MachineError(
                "the lock file can't be written",
                where=str(path),
                why=str(error.strerror),
                todo="Is the disk full? Make room, then try again.",
            ) from error

    def _take(self) -> bool:
        for left in reversed(range(_TRIES)):
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return True
            except OSError:
                if left:
                    time.sleep(_PAUSE)
        return False

    def tell(self, intake: str) -> None:
        """Say for `status` whether requests can come."""
        line = "".join(letter if letter.isprintable() else " " for letter in intake)
        self._tell("intake", line[:_LONGEST])

    def tell_file(self, digest: str) -> None:
        """Say for `resize` which content of the cluster file is in force."""
        self._tell("file", digest)

    def tell_trouble(self, text: str, count: int) -> None:
        """Say for `status` what the engine waits for (empty: nothing), and how many errors it has met."""
        self._holder["errors"] = count
        if text:
            self._holder["intake"] = "not connected: the engine begins anew"
        self._tell("trouble", text[:_LONGEST], always=True)

    def tell_left_alone(self, text: str) -> None:
        """Say for `status` which parts of the engine are left alone after errors (empty: none)."""
        self._tell("left_alone", text[:_LONGEST])

    def _tell(self, key: str, value: str, *, always: bool = False) -> None:
        """What can't be written now is written with the next word: nobody may fail for it."""
        if self._holder.get(key) == value and not self._unwritten and not always:
            return
        self._holder[key] = value
        try:
            self._write()
            self._unwritten = False
        except OSError:
            self._unwritten = True

    def _write(self) -> None:
        # Of one length, in one write: a reader at the same moment sees the old text or the new one.
        text = json.dumps(self._holder, ensure_ascii=False)
        os.pwrite(self._descriptor, text.encode(errors="replace").ljust(_LENGTH), 0)

    def is_current(self) -> bool:
        """Tell whether this is the file at its path, and not one that was deleted or moved away."""
        try:
            return os.path.samestat(os.fstat(self._descriptor), os.stat(self._path))
        except OSError:
            return False

    def release(self) -> None:
        """Give the lock back."""
        os.ftruncate(self._descriptor, 0)
        os.close(self._descriptor)


def _number(value: object) -> float:
    """Return a JSON number; NaN, which no comparison accepts, if it is none."""
    return value if isinstance(value, int | float) and not isinstance(value, bool) else math.nan


def _is_pid(value: object) -> bool:
    return isinstance(value, int) and 0 < _number(value) <= _LARGEST_PID


def _is_time(value: object) -> bool:
    return 0 <= _number(value) < _LAST_SECOND


def _is_count(value: object) -> bool:
    return isinstance(value, int) and 0 <= _number(value) < _LAST_SECOND


def _is_host(value: object) -> bool:
    return isinstance(value, str) and _HOST.fullmatch(value) is not None


def _is_line(value: object) -> bool:
    return isinstance(value, str) and value.isprintable()


_FIELDS: Mapping[str, Callable[[object], bool]] = {
    "pid": _is_pid,
    "host": _is_host,
    "since": _is_time,
    "command": _is_line,
    "user": _is_line,
    "intake": _is_line,
    "file": _is_line,
    "trouble": _is_line,
    "left_alone": _is_line,
    "errors": _is_count,
}


def _read(descriptor: int) -> Status:
    """Read what the holder has written: a file can have been damaged, or edited by hand."""
    try:
        found = json.loads(os.pread(descriptor, _LENGTH, 0))
    except (ValueError, RecursionError):
        return {}
    if not isinstance(found, dict):
        return {}
    known = {key: found[key] for key, fits in _FIELDS.items() if key in found and fits(found[key])}
    return cast(Status, known)


def holder(path: Path) -> Status | None:
    """Return what the holder says of itself, or None if nobody holds the lock."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return _read(descriptor)
    finally:
        os.close(descriptor)
    return None


def interrupt(path: Path, seconds: float) -> bool:
    """Send SIGTERM to a holder on this host; tell whether the lock is free, now or within the time.

    Not SIGINT: a command that a script has started with `&` does not hear it. A holder that the file does
    not name, or names on another host, is waited for only.
    """
    found = holder(path) or {}
    pid = found.get("pid")
    if pid is not None and pid != os.getpid() and found.get("host") == socket.gethostname():
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + seconds
    while holder(path) is not None:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def describe(path: Path) -> str:
    """Word who holds the lock; empty if nobody does."""
    found = holder(path)
    if found is None:
        return ""
    words = [
        f"{found['command']} by" if "command" in found else "",
        f"{found['user']}," if "user" in found else "",
    ]
    words.append(
        f"process {found['pid']}" if "pid" in found else "a process that the lock file does not name"
    )
    if "host" in found:
        words.append(f"on {found['host']}")
    if "since" in found:
        words.append(time.strftime("since %Y-%m-%d %H:%M:%S", time.localtime(found["since"])))
    return " ".join(filter(None, words))


class FileLease:
    """Implements ports.lease.Lease with a lock file."""

    def __init__(self, path: Path, what: str = "an engine") -> None:
        """`what` holds it, for the message to whoever comes second."""
        self._path, self._what = path, what

    @property
    def where(self) -> str:
        """The lock file."""
        return str(self._path)

    def take(self, *, command: str = "", user: str = "") -> EngineLock:
        """Take it; `command` and `user` are told to others."""
        return EngineLock(self._path, self._what, command=command, user=user)

    def holder(self) -> Status | None:
        """Return what its holder says of itself; None if nobody holds it."""
        return holder(self._path)

    def describe(self) -> str:
        """Word who holds it; empty if nobody does."""
        return describe(self._path)

    def interrupt(self, seconds: float) -> bool:
        """Ask a holder on this host to end; tell whether the lease is free, now or within the time."""
        return interrupt(self._path, seconds)


def engine_lease(layout: Layout) -> FileLease:
    """Return the lease of the engine: whoever holds it acts on nodes."""
    return FileLease(layout.lock)


def command_lease(layout: Layout) -> FileLease:
    """Return the lease of commands that themselves change servers or files."""
    return FileLease(layout.command_lock, "another command")
