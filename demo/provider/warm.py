"""A provider's process before it is one: warm.py PACKAGE CERTIFICATE SITE-PACKAGES...

Terraform starts a provider four times to plan one node and to show the plan, and nearly all of that
time is Python importing grpc. This process has done so already, and forks for each start. `launch.py`
starts it in the background and goes without it where it is not there yet. It ends after some
minutes without a call, when the mirror is gone, and when the provider's code has changed.
"""

import contextlib
import fcntl
import gc
import os
import select
import signal
import socket
import sys
import time
from pathlib import Path
from typing import IO

sys.path.insert(0, str(Path(__file__).resolve().parent))

import main

IDLE = 180.0
"""Seconds without a call after which it ends."""
LOOK = 2.0
"""Seconds between two looks at whether the mirror is still there."""


def code() -> list[str]:
    """List the files that this process was made from."""
    here = Path(__file__).resolve().parent
    files = [*here.glob("*.py"), *Path(sys.argv[1]).glob("*.py"), *here.parent.glob("local_cloud/*.py")]
    return [sys.argv[2], *map(str, files)]


def newest(files: list[str]) -> int:
    """Return when one of the files was changed last, in nanoseconds; 0 if one is gone."""
    try:
        return max(os.stat(path).st_mtime_ns for path in files)
    except FileNotFoundError:
        return 0


def receive(connection: socket.socket) -> tuple[int, dict[bytes, bytes], list[int]]:
    """Read a call: Terraform's pid, its environment, and the descriptors 0 to 2."""
    head, fds, _, _ = socket.recv_fds(connection, 8, 3)
    size = int.from_bytes(head, "big")
    body = b""
    while len(body) < size:
        block = connection.recv(size - len(body))
        if not block:
            raise OSError("the caller went away")
        body += block
    pid, *pairs = body.split(b"\0")
    return int(pid), dict(pair.split(b"=", 1) for pair in pairs if b"=" in pair), fds


def become(terraform: int, environment: dict[bytes, bytes], fds: list[int], caller: socket.socket) -> None:
    """In the child: be the provider that Terraform started."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.environb.clear()
    os.environb.update(environment)
    for number, fd in enumerate(fds):
        os.dup2(fd, number)
        os.close(fd)
    caller.sendall(b"k")
    main.serve(terraform, caller)


def wait(listener: socket.socket, lock: IO[str]) -> None:
    """Fork for each call, until it is time to end."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # children are reaped by the kernel
    files, last = code(), time.monotonic()
    changed = newest(files)
    waiting = select.poll()
    waiting.register(listener, select.POLLIN)
    while time.monotonic() - last < IDLE:
        called = waiting.poll(LOOK * 1000)
        if newest(files) != changed:
            return  # a caller sees its connection end, and starts by itself
        if not called:
            continue
        last = time.monotonic()
        connection, _ = listener.accept()
        connection.settimeout(LOOK)
        fds: list[int] = []
        with contextlib.suppress(OSError, ValueError):
            terraform, environment, fds = receive(connection)
            if os.fork() == 0:
                connection.settimeout(None)
                listener.close()
                lock.close()  # it is the parent's alone
                try:
                    become(terraform, environment, fds, connection)
                finally:
                    os._exit(1)
        for fd in fds:
            os.close(fd)
        connection.close()


def run() -> None:
    """Import everything and wait for calls; leave if another one does."""
    path = Path(os.environ.pop(SOCKET))
    main.private_directory()
    os.chdir("/")
    with path.with_suffix(".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        main.find_modules()
        main.import_all()
        gc.freeze()
        path.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
            listener.bind(str(path))
            listener.listen(64)
            try:
                wait(listener, lock)
            finally:
                path.unlink(missing_ok=True)
                path.with_suffix(".lock").unlink(missing_ok=True)


SOCKET = "SLURM_POWERSAVE_PROVIDER_SOCKET"
"""Environment variable with the path where calls are waited for."""

if __name__ == "__main__":
    run()
