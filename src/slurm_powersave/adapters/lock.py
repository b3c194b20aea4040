"""One engine per cluster: a lock that the kernel drops when its holder dies."""

import fcntl
import json
import os
import signal
import socket
import time
from pathlib import Path

from slurm_powersave.model.errors import LockedError

_LENGTH = 4096


class EngineLock:
    """Holds STATE/engine.lock (or another), which names its holder."""

    def __init__(self, path: Path, what: str = "an engine") -> None:
        """Take the lock.

        Raises:
            LockedError: another engine, or what `what` names, holds it; the text says which.
        """
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._descriptor)
            raise LockedError(
                f"{what} is running already",
                where=str(path),
                why=describe(path) or "its holder is not named",
                todo="Stop that one first, or leave it to its work.",
            ) from None
        self._holder = {"pid": os.getpid(), "host": socket.gethostname(), "since": time.time()}
        self._write()

    def tell(self, intake: str) -> None:
        """Say for `status` whether requests can come."""
        self._tell("intake", intake)

    def tell_file(self, digest: str) -> None:
        """Say for `resize` which content of the cluster file is in force."""
        self._tell("file", digest)

    def _tell(self, key: str, value: str) -> None:
        if self._holder.get(key) != value:
            self._holder[key] = value
            self._write()

    def _write(self) -> None:
        # Of one length, in one write: a reader at the same moment sees the old text or the new one.
        os.pwrite(self._descriptor, json.dumps(self._holder).encode().ljust(_LENGTH), 0)

    def release(self) -> None:
        """Give the lock back."""
        os.ftruncate(self._descriptor, 0)
        os.close(self._descriptor)


def holder(path: Path) -> dict[str, object] | None:
    """Return {pid, host, since, intake} of the running engine, or None if none holds the lock."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        try:
            found = json.loads(os.pread(descriptor, _LENGTH, 0))
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}
    finally:
        os.close(descriptor)
    return None


def interrupt(path: Path, seconds: float) -> bool:
    """Send SIGTERM to a holder on this host; tell whether the lock is free, now or within the time.

    Not SIGINT: a command that a script has started with `&` does not hear it.
    """
    found = holder(path)
    if found and found.get("host") == socket.gethostname():
        os.kill(int(str(found["pid"])), signal.SIGTERM)
    deadline = time.monotonic() + seconds
    while holder(path) is not None:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def describe(path: Path) -> str:
    """Word who holds the lock."""
    found = holder(path)
    if not found:
        return ""
    since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(float(str(found.get("since", 0)))))
    return f"process {found.get('pid')} on {found.get('host')} since {since}"
