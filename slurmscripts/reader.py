#!/usr/bin/python3
"""Stream the hooks' requests from the spool to the control host, which runs this through `ssh -T`.

Standard input and output are the connection, one line a message:

  up    hello 2          the first line
        req ID BASE64    a request file, as the hook wrote it; a long resume file is cut
        odd BASE64       a file in new/ that is no request: its name and why; it is in refused/ now
        ping             every 5 s
  down  ack ID           it is journalled: the file is deleted
        refuse ID        it can't be understood: the file is kept in refused/
        ping             every 5 s

What is not acknowledged stays in the spool and is sent again at the next connection; only WINDOW requests are
sent before one is acknowledged. The reader ends at end of file, after 20 s without a word, or when a newer
reader has taken over. Started as root it becomes the spool's owner before it reads anything: whoever owns a
directory decides what its names lead to. (Version 1 stayed root.)

Only the standard library, Python 3.6 or later.
"""

import argparse
import base64
import contextlib
import ctypes
import errno
import os
import pwd
import re
import select
import stat
import subprocess
import sys
import time
from collections import deque
from typing import Callable, Deque, Dict, Iterator, Optional, Set

VERSION = 2
PING = 5.0
SCAN = 0.2  # s between two looks where there is no inotify (too many watches of one user, for one)
SILENCE = 20.0
# Bytes of a file. The hooks of older versions keep whole resume files: of 5 MB for 10,000 jobs.
LARGEST = 16 << 20
# Bytes of a request that is sent: two arguments of 128 KiB and RESUME_FILE in base64 have 1.8 MB.
LONGEST = 2 << 20
RESUME_FILE = 1398100  # characters of base64: 1 MiB
# What may be sent and not yet acknowledged: requests, and their bytes.
WINDOW, WINDOW_BYTES = 64, 8 << 20
AHEAD = 1 << 20  # bytes that may wait for the connection before more files are read
ABANDONED = 3600.0  # s after which a file in tmp/ belongs to a hook that was killed
# A link, a socket, a directory, a file of somebody else.
NEVER_OURS = (errno.ELOOP, errno.ENXIO, errno.EISDIR, errno.EACCES)
IN_MOVED_TO = 0x80  # linux/inotify.h
# A link could lead to any file, a FIFO hang.
FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
DIRECTORY = os.O_RDONLY | os.O_NOFOLLOW | os.O_DIRECTORY | os.O_CLOEXEC
HERE = os.path.dirname(os.path.abspath(__file__))
REQUEST_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")


def complain(text: str) -> None:
    """Tell what goes wrong on this side; ssh carries it to the control host's log."""
    with contextlib.suppress(OSError):
        os.write(2, f"slurm-powersave reader: {text}\n".encode("utf-8", "backslashreplace"))


def enter(path: str) -> int:
    """Open the spool and become its owner, for good. OSError if somebody else could exchange it."""
    path = os.path.abspath(path)
    parent = os.path.realpath(os.path.dirname(path))
    if os.geteuid() == 0:
        belongs_to_root(parent)
    spool = os.open(os.path.join(parent, os.path.basename(path)), DIRECTORY)
    found = os.fstat(spool)
    if os.geteuid() == 0 and found.st_uid != 0:
        become(found.st_uid, path)
    check_owner(found, path)
    os.chdir("/")
    return spool


def belongs_to_root(path: str, sticky: bool = False) -> None:
    """See that nobody but root can exchange what is in a directory, or the directory itself.

    In a sticky directory (/tmp) nobody can exchange what is root's; the spool is not.
    """
    above = os.path.dirname(path)
    if above != path:
        belongs_to_root(above, sticky=True)
    found = os.lstat(path)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != 0:
        raise PermissionError(errno.EPERM, "must be a directory of root", path)
    if found.st_mode & 0o022 and not (sticky and found.st_mode & stat.S_ISVTX):
        raise PermissionError(errno.EPERM, "must not be writable by others than root", path)


def become(uid: int, path: str) -> None:
    """Give up root for good, and see that it is gone."""
    try:
        user = pwd.getpwuid(uid)
    except KeyError:
        raise PermissionError(errno.EPERM, f"its owner {uid} is no user of this host", path) from None
    gid, groups = user.pw_gid, os.getgrouplist(user.pw_name, user.pw_gid)
    os.setgroups(groups)
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    with contextlib.suppress(PermissionError):
        os.setuid(0)  # it must not work
    is_now = os.getresuid(), os.getresgid(), set(os.getgroups())
    if is_now != ((uid, uid, uid), (gid, gid, gid), set(groups)):
        raise PermissionError(errno.EPERM, f"this process can't become its owner {user.pw_name}", path)
    os.environ.update(HOME=user.pw_dir, USER=user.pw_name, LOGNAME=user.pw_name)


def check_owner(found: os.stat_result, path: str) -> None:
    """See that a directory is ours and that nobody else may write there."""
    if not stat.S_ISDIR(found.st_mode):
        raise PermissionError(errno.EPERM, "must be a directory, and no link", path)
    if found.st_uid != os.geteuid():
        raise PermissionError(errno.EPERM, f"belongs to the user {found.st_uid}, not to {os.geteuid()}", path)
    if found.st_mode & 0o022:
        raise PermissionError(errno.EPERM, "must not be writable by others than its owner", path)


class Spool:
    """The directory in which each call of a hook leaves one file. OSError if it can't be read.

    Everything in it is reached by the handles of its directories: names are looked up once.
    """

    def __init__(self, handle: int) -> None:
        self.handle = handle
        self.new, self.tmp = self.directory("new"), self.directory("tmp")
        self.backlog: Deque[str] = deque()  # found and not sent yet, oldest first
        self.sent: Dict[str, int] = {}  # not acknowledged yet: name -> bytes
        self.stuck: Set[str] = set()  # can't be read or removed: once a connection is enough
        with contextlib.suppress(OSError):  # there already; or the disk is full, and `settle` will tell
            os.mkdir("refused", 0o700, dir_fd=handle)
        self.sweep()

    def directory(self, name: str) -> int:
        """Open a directory of the spool."""
        check_owner(os.stat(name, dir_fd=self.handle, follow_symlinks=False), name)
        return os.open(name, DIRECTORY, dir_fd=self.handle)

    def sweep(self) -> None:
        """Delete what killed hooks have left."""
        for name in os.listdir(self.tmp):
            with contextlib.suppress(OSError):  # a hook has just finished it
                if os.stat(name, dir_fd=self.tmp, follow_symlinks=False).st_mtime < time.time() - ABANDONED:
                    os.unlink(name, dir_fd=self.tmp)

    def events(self) -> Optional[int]:
        """Return an inotify descriptor that becomes readable when a file arrives; None without inotify."""
        try:
            libc = ctypes.CDLL(None, use_errno=True)
            descriptor = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
            if libc.inotify_add_watch(descriptor, f"/proc/self/fd/{self.new}".encode(), IN_MOVED_TO) >= 0:
                return int(descriptor)
            why = os.strerror(ctypes.get_errno())
        except (OSError, AttributeError) as error:
            why = str(error)
        complain(f"no inotify ({why}): looking every {SCAN} s")
        return None

    def messages(self) -> Iterator[bytes]:
        """Make lines of files that were not sent yet, in the order in which they came, up to the window."""
        while len(self.sent) < WINDOW and sum(self.sent.values()) < WINDOW_BYTES:
            if not self.backlog and not self.look():
                return
            message = self.message(self.backlog.popleft())
            if message:
                yield message

    def look(self) -> bool:
        """Find what has come; tell whether there is anything."""
        found = []
        for name in set(os.listdir(self.new)) - self.sent.keys() - self.stuck:
            with contextlib.suppress(FileNotFoundError):  # a reader before us has had its acknowledgement
                when = os.stat(name, dir_fd=self.new, follow_symlinks=False).st_mtime_ns
                found.append((when, name))
        self.backlog.extend(name for _, name in sorted(found))
        return bool(self.backlog)

    def message(self, name: str) -> bytes:
        """Make the line of one file; nothing if it is gone, or can't be read now."""
        try:
            content = self.content(name)
        except FileNotFoundError:
            return b""
        except ValueError as error:
            self.refuse(name)
            return b"odd " + base64.b64encode(f"new/{name}: {error}".encode("utf-8", "backslashreplace"))
        except OSError as error:  # may pass: the next connection tries again
            self.stuck.add(name)
            complain(f"new/{name}: {error}")
            return b""
        self.sent[name] = len(content)
        return b"req " + name.encode("ascii") + b" " + base64.b64encode(content)

    def content(self, name: str) -> bytes:
        """Read a request file; ValueError if it can never be one."""
        if not REQUEST_ID.match(name):
            raise ValueError("the name is not the id of a request")
        try:
            with open(name, "rb", opener=lambda name, _: os.open(name, FILE, dir_fd=self.new)) as file:
                if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                    raise ValueError("not a regular file")
                content = file.read(LARGEST + 1)
        except OSError as error:
            if error.errno in NEVER_OURS:
                raise ValueError(error.strerror) from None
            raise
        if len(content) > LARGEST:
            raise ValueError(f"larger than {LARGEST} bytes")
        content = shortened(content)
        if len(content) > LONGEST:
            raise ValueError(f"larger than {LONGEST} bytes without its resume file")
        return content

    def acknowledge(self, name: str) -> None:
        """Delete a journalled request. If a crash brings the file back, it is only sent once more."""
        self.settle(name, lambda: os.unlink(name, dir_fd=self.new))

    def refuse(self, name: str) -> None:
        """Keep a file that is no request where only a person will read it."""
        self.settle(name, lambda: self.state_by_admin(name))

    def state_by_admin(self, name: str) -> None:
        refused = self.directory("refused")
        try:
            os.rename(name, name, src_dir_fd=self.new, dst_dir_fd=refused)
        finally:
            os.close(refused)

    def settle(self, name: str, action: Callable[[], None]) -> None:
        self.sent.pop(name, None)
        try:
            with contextlib.suppress(FileNotFoundError):
                action()
        except OSError as error:
            self.stuck.add(name)
            complain(f"new/{name} stays: {error}")


def shortened(content: bytes) -> bytes:
    """Cut a long resume file: it is kept for people, and nothing is decided on it."""
    key = b"\nresume_file "
    start = content.find(key) + len(key)
    end = content.find(b"\n", start)
    if start < len(key) or end - start <= RESUME_FILE:
        return content
    return content[: start + RESUME_FILE] + content[end:]


class Turn:
    """Whose turn it is: that of the reader which made the file `reader` in the spool last."""

    def __init__(self, spool: Spool) -> None:
        self.spool = spool.handle
        self.file: Optional[int] = None
        mine = f"reader.{os.getpid()}"
        try:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(mine, dir_fd=spool.tmp)
            # Empty, as the disk may be full; held open, so that no other file gets its inode number.
            self.file = os.open(mine, FILE | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=spool.tmp)
            os.rename(mine, "reader", src_dir_fd=spool.tmp, dst_dir_fd=self.spool)
        except OSError as error:
            complain(f"an older reader can't be told to end: {error}")

    def over(self) -> bool:
        """Tell whether a newer reader has come."""
        try:
            last = os.stat("reader", dir_fd=self.spool, follow_symlinks=False)
            return self.file is not None and not os.path.samestat(os.fstat(self.file), last)
        except OSError:
            return False


class Ready:
    """The program beside this one that keeps the ready files; at the end of its input it removes them."""

    def __init__(self, directory: str, sinfo: str) -> None:
        self.process: Optional[subprocess.Popen[bytes]] = None
        if os.path.isdir(directory):  # whoever deploys makes it, where fast start is on
            program = os.path.join(HERE, "ready" + os.path.splitext(__file__)[1])
            pipe, quiet = subprocess.PIPE, subprocess.DEVNULL
            command = [sys.executable, program, directory, sinfo]
            self.process = subprocess.Popen(command, stdin=pipe, stdout=quiet, bufsize=0)

    def tell(self, message: str) -> None:
        """Say `expect`: nodes are about to change."""
        try:
            if self.process and self.process.stdin:
                self.process.stdin.write(message.encode("ascii") + b"\n")
        except OSError as error:
            complain(f"no ready files: {error}")
            self.process = None


class Connection:
    """One connection with the control host, from hello to its end."""

    def __init__(self, spool: Spool, ready: Ready, turn: Turn) -> None:
        self.spool, self.ready, self.turn = spool, ready, turn
        self.out, self.half = bytearray(f"hello {VERSION}\n".encode()), b""
        self.heard = self.pinged = time.monotonic()
        self.look = True  # there may be something to send
        self.arrivals = spool.events()
        os.set_blocking(0, False)
        os.set_blocking(1, False)
        self.waiting = select.poll()
        self.waiting.register(0, select.POLLIN)
        if self.arrivals is not None:
            self.waiting.register(self.arrivals, select.POLLIN)

    def step(self) -> str:
        """Do what can be done now, and wait at most a second; return why it is the end, if it is."""
        now = time.monotonic()
        if self.turn.over() or now - self.heard > SILENCE:
            return "a newer reader has taken over" if self.turn.over() else "20 s without a word"
        if now - self.pinged > PING:
            self.out += b"ping\n"
            self.pinged = now
        self.fill()
        self.waiting.register(1, select.POLLOUT if self.out else 0)
        events = dict(self.waiting.poll(1000 * (SCAN if self.arrivals is None else 1)))
        self.look = self.look or not events or self.arrivals in events
        if self.arrivals in events:
            os.read(self.arrivals, 1 << 16)
        if events.get(1, 0) & ~select.POLLOUT:
            return "nobody reads"
        if 1 in events:
            del self.out[: os.write(1, self.out[: 1 << 16])]
        return self.listen() if 0 in events else ""

    def fill(self) -> None:
        """Take from the spool what the window and the connection have room for."""
        if not self.look or len(self.out) >= AHEAD:
            return
        self.look = False
        for message in self.spool.messages():
            self.out += message + b"\n"
            self.ready.tell("expect")
            if len(self.out) > AHEAD:
                self.look = True
                return

    def listen(self) -> str:
        """Do what the control host says."""
        chunk = os.read(0, 1 << 16)
        if not chunk:
            return "end of file"
        self.heard = time.monotonic()
        *lines, self.half = (self.half + chunk).split(b"\n")
        for line in lines:
            self.obey(line.decode("ascii", "replace"))
        return "a line without an end" if len(self.half) > 1 << 16 else ""

    def obey(self, message: str) -> None:
        """Do what one line says; unknown words are of a later version."""
        word, _, rest = message.partition(" ")
        if word == "ack" and REQUEST_ID.match(rest):
            self.spool.acknowledge(rest)
        elif word == "refuse" and REQUEST_ID.match(rest):
            self.spool.refuse(rest)
        self.look = self.look or word in ("ack", "refuse")  # the window has room again


def main() -> int:
    """Read the spool until the connection ends."""
    options = argparse.ArgumentParser(description="Stream the requests in the spool to the control host.")
    options.add_argument("--spool", default="/var/spool/slurm-powersave")
    options.add_argument("--ready", default="/run/slurm-powersave/ready", help="directory of the ready files")
    options.add_argument("--sinfo", default="sinfo")
    options.add_argument("--end", action="store_true", help="end the reader that runs, and do nothing else")
    given = options.parse_args()
    ready = os.path.abspath(given.ready) if given.ready else ""
    try:
        # In this order: a directory that isn't there must not cost the reader at work its turn.
        spool = Spool(enter(given.spool))
        turn = Turn(spool)
        if given.end:
            return 0
        connection, end = Connection(spool, Ready(ready, given.sinfo), turn), ""
        while not end:
            end = connection.step()
    except OSError as error:
        complain(f"{error.filename}: {error.strerror}")
        return 1
    complain(f"ends: {end}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
