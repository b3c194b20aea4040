#!/usr/bin/python3
"""Stream the hooks' requests from the spool to the control host, which runs this through `ssh -T`.

Standard input and output are the connection, one line a message:

  up    hello 1          the first line
        req ID BASE64    a request file, as the hook wrote it
        odd BASE64       a file in new/ that is no request: its name and why; it is in refused/ now
        ping             every 5 s
  down  ack ID           it is journalled: the file is deleted
        refuse ID        it can't be understood: the file is kept in refused/
        watch on|off     keep the ready files of the fast start
        ping             every 5 s

What is not acknowledged stays in the spool and is sent again at the next connection. The reader ends
at end of file, after 20 s without a word, or when a newer reader has taken over.

Only the standard library, Python 3.6 or later. Runs as SlurmUser or root.
"""

import argparse
import base64
import contextlib
import ctypes
import errno
import os
import re
import select
import stat
import subprocess
import sys
import time
from typing import Callable, Iterator, Optional, Set

PING = 5.0
SCAN = 0.2
"""Seconds between two looks where there is no inotify (too many watches of one user, for one)."""
SILENCE = 20.0
LARGEST = 16 << 20
"""Bytes; a hostlist of 128 KiB with the resume file of 10,000 jobs has 5 MB."""
AHEAD = 1 << 20
"""Bytes that may wait for the connection before more files are read."""
ABANDONED = 3600.0
"""Seconds after which a file in tmp/ belongs to a hook that was killed."""
NEVER_OURS = (errno.ELOOP, errno.ENXIO, errno.EISDIR, errno.EACCES)
"""A symbolic link, a socket, a directory, a file of somebody else."""
IN_MOVED_TO = 0x80
"""From linux/inotify.h."""

REQUEST_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")


def complain(text: str) -> None:
    """Tell what goes wrong on this side; ssh carries it to the control host's log."""
    with contextlib.suppress(OSError):
        os.write(2, f"slurm-powersave reader: {text}\n".encode("utf-8", "backslashreplace"))


def open_safely(path: str, flags: int) -> int:
    """Open what a stranger may have put there: a link could lead to any file of root's, a FIFO hang."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)


class Spool:
    """The directory in which each call of a hook leaves one file. OSError if it can't be read."""

    def __init__(self, directory: str) -> None:
        self.new = os.path.join(directory, "new")
        self.refused = os.path.join(directory, "refused")
        self.sent: Set[str] = set()
        """Names of files that were sent and are not acknowledged."""
        with contextlib.suppress(OSError):  # there already; or the disk is full, and `settle` will tell
            os.mkdir(self.refused, 0o700)
        tmp = os.path.join(directory, "tmp")
        for name in os.listdir(tmp):
            path = os.path.join(tmp, name)
            with contextlib.suppress(OSError):  # a hook has just finished it
                if os.lstat(path).st_mtime < time.time() - ABANDONED:
                    os.unlink(path)

    def events(self) -> Optional[int]:
        """Return an inotify descriptor that becomes readable when a file arrives; None without inotify."""
        try:
            libc = ctypes.CDLL(None, use_errno=True)
            descriptor = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
            if libc.inotify_add_watch(descriptor, os.fsencode(self.new), IN_MOVED_TO) >= 0:
                return int(descriptor)
            why = os.strerror(ctypes.get_errno())
        except (OSError, AttributeError) as error:
            why = str(error)
        complain(f"no inotify ({why}): looking every {SCAN} s")
        return None

    def messages(self) -> Iterator[bytes]:
        """Make a line for each file that was not sent yet, in the order in which they came."""
        found = []
        for name in set(os.listdir(self.new)) - self.sent:
            try:
                found.append((os.lstat(os.path.join(self.new, name)).st_mtime_ns, name))
            except FileNotFoundError:
                continue  # a reader before us has just had its acknowledgement
        for _, name in sorted(found):
            try:
                content = self.content(name)
            except FileNotFoundError:
                continue
            except ValueError as error:
                self.refuse(name)
                yield b"odd " + base64.b64encode(f"new/{name}: {error}".encode("utf-8", "backslashreplace"))
            except OSError as error:  # may pass: the next connection tries again
                self.sent.add(name)
                complain(f"new/{name}: {error}")
            else:
                self.sent.add(name)
                yield b"req " + name.encode("ascii") + b" " + base64.b64encode(content)

    def content(self, name: str) -> bytes:
        """Read a request file; ValueError if it can never be one."""
        if not REQUEST_ID.match(name):
            raise ValueError("the name is not the id of a request")
        try:
            with open(os.path.join(self.new, name), "rb", opener=open_safely) as file:
                if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                    raise ValueError("not a regular file")
                content = file.read(LARGEST + 1)
        except OSError as error:
            if error.errno in NEVER_OURS:
                raise ValueError(error.strerror) from None
            raise
        if len(content) > LARGEST:
            raise ValueError(f"larger than {LARGEST} bytes")
        return content

    def acknowledge(self, name: str) -> None:
        """Delete a journalled request. If a crash brings the file back, it is only sent once more."""
        self.settle(name, os.unlink, os.path.join(self.new, name))

    def refuse(self, name: str) -> None:
        """Keep a file that is no request where only a person will read it."""
        self.settle(name, os.rename, os.path.join(self.new, name), os.path.join(self.refused, name))

    def settle(self, name: str, action: Callable[..., None], *paths: str) -> None:
        try:
            action(*paths)
            self.sent.discard(name)
        except FileNotFoundError:
            self.sent.discard(name)
        except OSError as error:
            self.sent.add(name)  # once a connection is enough
            complain(f"new/{name} stays: {error}")


class Turn:
    """Whose turn it is: that of the reader which made the file `reader` in the spool last."""

    def __init__(self, directory: str) -> None:
        self.path = os.path.join(directory, "reader")
        self.file: Optional[int] = None
        mine = os.path.join(directory, "tmp", f"reader.{os.getpid()}")
        try:
            # Empty, as the disk may be full; held open, so that no other file gets its inode number.
            self.file = os.open(mine, os.O_CREAT | os.O_RDONLY | os.O_CLOEXEC, 0o600)
            os.rename(mine, self.path)
        except OSError as error:
            complain(f"an older reader can't be told to end: {error}")

    def over(self) -> bool:
        """Tell whether a newer reader has come."""
        try:
            return self.file is not None and not os.path.samestat(os.fstat(self.file), os.stat(self.path))
        except OSError:
            return False


class Ready:
    """The program beside this one that keeps the ready files; at the end of its input it removes them."""

    def __init__(self, directory: str, sinfo: str) -> None:
        self.process: Optional[subprocess.Popen[bytes]] = None
        here, extension = os.path.split(__file__)[0], os.path.splitext(__file__)[1]
        # Whoever deploys makes the directory, where fast start is on.
        if os.path.isdir(directory):
            command = [sys.executable, os.path.join(here, "ready" + extension), directory, sinfo]
            quiet = subprocess.DEVNULL
            self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=quiet, bufsize=0)

    def tell(self, message: str) -> None:
        """Say `expect` (nodes are about to change), `watch on` or `watch off`."""
        try:
            if self.process and self.process.stdin:
                self.process.stdin.write(message.encode("ascii") + b"\n")
        except OSError as error:
            complain(f"no ready files: {error}")
            self.process = None


def obey(spool: Spool, ready: Ready, message: str) -> None:
    """Do what one line from the control host says; unknown words are of a later version."""
    word, _, rest = message.partition(" ")
    if word == "ack" and REQUEST_ID.match(rest):
        spool.acknowledge(rest)
    elif word == "refuse" and REQUEST_ID.match(rest):
        spool.refuse(rest)
    elif word == "watch":
        ready.tell("watch on" if rest == "on" else "watch off")


def stream(spool: Spool, ready: Ready, turn: Turn) -> str:
    """Serve the connection until it ends; return why."""
    arrivals = spool.events()
    os.set_blocking(0, False)
    os.set_blocking(1, False)
    waiting = select.poll()
    waiting.register(0, select.POLLIN)
    if arrivals is not None:
        waiting.register(arrivals, select.POLLIN)
    out, half = bytearray(b"hello 1\n"), b""
    heard = pinged = time.monotonic()
    look = True
    while not turn.over():
        now = time.monotonic()
        if now - heard > SILENCE:
            return "20 s without a word"
        if now - pinged > PING:
            out += b"ping\n"
            pinged = now
        if look and len(out) < AHEAD:
            look = False
            for message in spool.messages():
                out += message + b"\n"
                ready.tell("expect")
                if len(out) > AHEAD:
                    look = True
                    break
        waiting.register(1, select.POLLOUT if out else 0)
        events = dict(waiting.poll(1000 * (SCAN if arrivals is None else 1)))
        look = look or not events or arrivals in events
        if arrivals in events:
            os.read(arrivals, 1 << 16)
        if events.get(1, 0) & ~select.POLLOUT:
            return "nobody reads"
        if 1 in events:
            del out[: os.write(1, out[: 1 << 16])]
        if 0 in events:
            chunk = os.read(0, 1 << 16)
            if not chunk:
                return "end of file"
            heard = now
            *lines, half = (half + chunk).split(b"\n")
            for line in lines:
                obey(spool, ready, line.decode("ascii", "replace"))
    return "a newer reader has taken over"


def main() -> int:
    """Read the spool until the connection ends."""
    options = argparse.ArgumentParser(description="Stream the requests in the spool to the control host.")
    options.add_argument("--spool", default="/var/spool/slurm-powersave")
    options.add_argument("--ready", default="/run/slurm-powersave/ready", help="directory of the ready files")
    options.add_argument("--sinfo", default="sinfo")
    given = options.parse_args()
    try:
        # In this order: a directory that isn't there must not cost the reader at work its turn.
        spool = Spool(given.spool)
        turn = Turn(given.spool)
        end = stream(spool, Ready(given.ready, given.sinfo), turn)
    except OSError as error:
        complain(str(error))
        return 1
    complain(f"ends: {end}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
