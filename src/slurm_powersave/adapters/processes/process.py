"""Subprocesses: short ones with a time limit, and detached ones that outlive the engine.

A detached process has a directory of its own (0700) with `stdout.jsonl`, `stderr` and, once it has
ended, `rc`. If the parent of terraform dies, terraform dies of SIGPIPE in mid-apply and leaves
servers that are in no state (measured, Terraform 1.11.4); with its output in files and in a session
of its own it finishes.
"""

import contextlib
import ctypes
import errno
import os
import selectors
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from slurm_powersave.config.plain_file import opened, read_bytes, read_text
from slurm_powersave.model import machine
from slurm_powersave.model.errors import MachineError, MissingToolError, PowersaveError
from slurm_powersave.model.nodes import RunRecord

# The exit code reaches a file by rename, so that it is either whole or not there. The trap keeps the
# shell alive through a SIGINT to the group and is reset in the child, which handles the signal itself.
_KEEP_RC = 'rc=$0; trap : INT TERM; "$@"; echo $? >"$rc.new" && mv "$rc.new" "$rc"'

# Children of this process must be reaped, or they stay as zombies; adopted ones belong to init.
_children: dict[int, subprocess.Popen[bytes]] = {}


_SAID = 4000
"""Characters that are read of a run's standard error."""
LARGEST = 16 << 20
"""Bytes that a short process may say, if nothing else is said: what it says comes from another machine."""


@dataclass(frozen=True)
class Completed:
    """A short process that has ended. `rc` is None if it was killed: it took too long, or said too much."""

    rc: int | None
    out: str
    err: str
    too_much: bool = False
    """Whether it said more than it was allowed to; nothing of that is kept."""


def run(
    argv: Sequence[str],
    *,
    timeout: float,
    stdin: str | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    limit: int = LARGEST,
) -> Completed:
    """Run a command to its end, at most `timeout` seconds and up to `limit` bytes of output and errors.

    Arguments that can't be passed to a program (with a NUL, or too long for Linux) count as a failed run.

    Raises:
        MissingToolError: the program does not exist or may not be run.
        MachineError: this host has no more processes, open files or memory.
    """
    try:
        waiting = selectors.DefaultSelector()
    except OSError as error:
        raise _missing(argv[0], error) from error
    with waiting:
        return _run(argv, waiting, timeout, stdin, env, cwd, limit)


def _run(
    argv: Sequence[str],
    waiting: selectors.BaseSelector,
    timeout: float,
    stdin: str | None,
    env: Mapping[str, str] | None,
    cwd: Path | None,
    limit: int,
) -> Completed:
    try:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE if stdin is not None else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=env,
            cwd=cwd,
            bufsize=0,
            start_new_session=True,
        )
    except ValueError as error:
        return Completed(None, "", f"{argv[0]} can't be given these arguments: {error}")
    except OSError as error:
        if error.errno == errno.E2BIG:
            return Completed(None, "", f"{argv[0]} can't be given these arguments: {error.strerror}")
        raise _missing(argv[0], error) from error
    with _Streams(process, (stdin or "").encode(), waiting) as streams:
        why = streams.until(time.monotonic() + timeout, limit)
        if why:
            # Something that left the group may hold the pipes open: do not wait for their end.
            signal_group(process.pid, signal.SIGKILL)
            process.wait()
    if why == _LATE:
        return Completed(None, "", f"no answer within {timeout:g} s")
    if why:
        return Completed(None, "", f"an answer of more than {limit:,} bytes", too_much=True)
    return Completed(
        process.returncode, streams.out.decode(errors="replace"), streams.err.decode(errors="replace")
    )


_LATE, _LARGE = "late", "large"


class _Streams:
    """What a process is told and says; closes its pipes."""

    def __init__(
        self, process: subprocess.Popen[bytes], given: bytes, waiting: selectors.BaseSelector
    ) -> None:
        self.out, self.err = bytearray(), bytearray()
        self._process, self._given = process, memoryview(given)
        self._waiting = waiting
        for stream, said in ((process.stdout, self.out), (process.stderr, self.err)):
            assert stream
            self._waiting.register(stream, selectors.EVENT_READ, said)
        if process.stdin:
            os.set_blocking(process.stdin.fileno(), False)
            self._waiting.register(process.stdin, selectors.EVENT_WRITE)

    def __enter__(self) -> "_Streams":
        return self

    def __exit__(self, *_: object) -> None:
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            if stream:
                stream.close()

    def until(self, deadline: float, limit: int) -> str:
        """Talk until the process has ended; return why not, if it has to be ended."""
        while self._waiting.get_map():
            left = deadline - time.monotonic()
            if left <= 0:
                return _LATE
            if len(self.out) + len(self.err) > limit:
                return _LARGE
            for key, _ in self._waiting.select(left):
                self._write(key) if key.data is None else self._read(key)
        try:
            self._process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            return _LATE
        return ""

    def _read(self, key: selectors.SelectorKey) -> None:
        chunk = os.read(key.fd, 1 << 16)
        key.data.extend(chunk)
        if not chunk:
            self._waiting.unregister(key.fileobj)

    def _write(self, key: selectors.SelectorKey) -> None:
        try:
            self._given = self._given[os.write(key.fd, self._given[: 1 << 16]) :]
        except BlockingIOError:
            return
        except BrokenPipeError:
            self._given = self._given[:0]  # it does not want to hear it
        if not self._given:
            self._waiting.unregister(key.fileobj)
            assert self._process.stdin
            self._process.stdin.close()


def start_detached(
    argv: Sequence[str],
    directory: Path,
    *,
    run_id: str,
    kind: str,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdout: str = "stdout.jsonl",
) -> RunRecord:
    """Start a process that lives on when this one dies.

    Raises:
        MissingToolError: the program does not exist or may not be run.
        MachineError: this host has no more processes, open files, memory or room on its disk.
    """
    _reap()
    try:
        process = _start(argv, directory, stdout, env, cwd)
    except OSError as error:
        raise _missing(argv[0], error) from error
    _children[process.pid] = process
    ticks = start_ticks(process.pid) or 0
    return RunRecord(run_id, kind, str(directory), process.pid, ticks, socket.gethostname(), boot_id())


def _start(
    argv: Sequence[str], directory: Path, stdout: str, env: Mapping[str, str] | None, cwd: Path | None
) -> subprocess.Popen[bytes]:
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    (directory / "rc").unlink(missing_ok=True)
    with contextlib.ExitStack() as opened:
        streams = []
        for name in (stdout, "stderr"):
            streams.append(os.open(directory / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600))
            opened.callback(os.close, streams[-1])
        return subprocess.Popen(
            ["/bin/sh", "-c", _KEEP_RC, str(_rc(directory)), *argv],
            stdin=subprocess.DEVNULL,
            stdout=streams[0],
            stderr=streams[1],
            env=env,
            cwd=cwd,
            start_new_session=True,
        )


def _reap() -> None:
    """Let go of the children that have ended: of a run that was given up nobody asks how it ended."""
    for pid in [pid for pid, child in _children.items() if child.poll() is not None]:
        del _children[pid]


@cache
def boot_id() -> str:
    """Name this boot of this host (proc(5), /proc/sys/kernel/random/boot_id)."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def start_ticks(pid: int) -> int | None:
    """Return field 22 of /proc/PID/stat, which with the pid names a process for certain (proc(5)).

    Raises:
        OSError: that can't be read now: too many files are open.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else int(fields[19])


def alive(record: RunRecord) -> bool:
    """Tell whether the recorded process (not a later one with its pid) still runs.

    One from before a reboot does not, nor does one of another host: pids and ticks begin anew there. What the
    first release has recorded names neither, so there the process itself must name the run's directory.
    """
    if record.boot_id and (record.host, record.boot_id) != (socket.gethostname(), boot_id()):
        return False
    if not record.boot_id and not _names(record.pid, _rc(record.directory)):
        return False
    child = _children.get(record.pid)
    if child is not None and child.poll() is not None:
        del _children[record.pid]
        return False
    return start_ticks(record.pid) == record.start_ticks


def _rc(directory: Path | str) -> Path:
    """Return the file that holds the exit code of a run, which its shell has as an argument."""
    return Path(directory) / "rc"


def _names(pid: int, path: Path) -> bool:
    try:
        return os.fsencode(path) in read_bytes(Path(f"/proc/{pid}/cmdline")).split(b"\0")
    except (FileNotFoundError, ProcessLookupError):
        return False


def exit_code(record: RunRecord) -> int | None:
    """Return the exit code; None while it runs; -1 if it ended without leaving one (killed)."""
    path = _rc(record.directory)
    running = alive(record)
    try:
        return int(read_bytes(path))
    except FileNotFoundError:
        return None if running else -1


def said_beside(record: RunRecord) -> str:
    """Return what a run has written to its standard error; of much the end."""
    try:
        return read_text(Path(record.directory) / "stderr", errors="replace")[-_SAID:]
    except FileNotFoundError:
        return ""


def wrote_no_exit_code(record: RunRecord) -> bool:
    """Tell whether a run has ended and there was no room to write how."""
    directory = Path(record.directory)
    return (directory / "rc.new").exists() and not (directory / "rc").exists()


def signal_run(record: RunRecord, number: signal.Signals) -> None:
    """Signal the whole group of a recorded process, if it is still that process."""
    if alive(record):
        signal_group(record.pid, number)


def signal_group(pid: int, number: signal.Signals) -> None:
    """Signal a process group; one that is gone is no error."""
    try:
        os.killpg(pid, number)
    except ProcessLookupError:
        return


def groups_below(pid: int) -> set[int]:
    """Return the process groups of all descendants, from /proc/PID/stat (proc(5): ppid, pgrp)."""
    parents: dict[int, tuple[int, int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            parents[int(entry.name)] = (int(fields[1]), int(fields[2]))
    below = {pid}
    while True:
        more = {child for child, (parent, _) in parents.items() if parent in below} - below
        if not more:
            return {parents[child][1] for child in below if child in parents} - {os.getpgrp()}
        below |= more


def take_orphans() -> None:
    """Become the parent of descendants whose own parent dies (prctl(2), PR_SET_CHILD_SUBREAPER)."""
    ctypes.CDLL(None, use_errno=True).prctl(36, 1, 0, 0, 0)


class Tail:
    """Reads the whole lines that were added to a file since the last call."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0

    def lines(self) -> list[str]:
        """Return the new lines; a last one without its newline is left for the next call."""
        try:
            with opened(self._path) as file:
                file.seek(self._offset)
                block = file.read()
        except FileNotFoundError:
            return []
        whole = block[: block.rfind(b"\n") + 1]
        self._offset += len(whole)
        return whole.decode(errors="replace").splitlines()


def _missing(program: str, error: OSError) -> PowersaveError:
    if machine.is_at_fault(error) and not isinstance(error, PermissionError):
        return MachineError(
            f"{program} could not be started",
            why=error.strerror or str(error),
            todo="This host is short of disk, memory, processes or open files: make room.",
        )
    return MissingToolError(
        f"{program} could not be started",
        why=error.strerror or str(error),
        todo=f"Install {program}, or set its path in the cluster file.",
    )
