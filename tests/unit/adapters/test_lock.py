"""One engine a cluster."""

import errno
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from slurm_powersave.adapters.state_dir.lock import EngineLock, describe, holder, interrupt
from slurm_powersave.model.errors import LockedError, MachineError

_HOLD = """
import sys, time
from pathlib import Path
from slurm_powersave.adapters.state_dir.lock import EngineLock
lock = EngineLock(Path(sys.argv[1]))
print("held", flush=True)
time.sleep(60)
"""


def test_a_second_engine_is_told_who_holds_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "engine.lock"
    lock = EngineLock(path)
    with pytest.raises(LockedError) as caught:
        EngineLock(path)
    assert f"process {os.getpid()} on " in str(caught.value) and caught.value.exit_code == 3
    found = holder(path)
    assert found and found["pid"] == os.getpid()
    lock.release()
    assert holder(path) is None and describe(path) == ""
    EngineLock(path).release()


def test_nobody_holds_a_lock_that_is_not_there(tmp_path: Path) -> None:
    assert holder(tmp_path / "engine.lock") is None


def test_sigkill_of_the_holder_frees_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "engine.lock"
    other = subprocess.Popen([sys.executable, "-c", _HOLD, str(path)], stdout=subprocess.PIPE, text=True)
    assert other.stdout and other.stdout.readline() == "held\n"
    with pytest.raises(LockedError, match=f"process {other.pid} "):
        EngineLock(path)
    assert describe(path).startswith(f"process {other.pid} on ")
    other.send_signal(signal.SIGKILL)
    other.wait()
    other.stdout.close()
    assert holder(path) is None
    lock = EngineLock(path)
    assert json.loads(path.read_text())["pid"] == os.getpid()
    lock.release()


def test_a_detached_child_does_not_keep_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "engine.lock"
    lock = EngineLock(path)
    child = subprocess.Popen(["sleep", "30"])
    try:
        lock.release()
        EngineLock(path).release()
    finally:
        child.kill()
        child.wait()


@pytest.fixture
def held(tmp_path: Path) -> Iterator[Path]:
    """A lock that is held; the test writes into its file."""
    path = tmp_path / "engine.lock"
    lock = EngineLock(path)
    yield path
    lock.release()


RUBBISH = {
    "nothing": b"",
    "no JSON": b"rubbish",
    "not UTF-8": b"\xff\xfe{}",
    "cut off": b'{"pid": 12, "ho',
    "nested too deep": b"[" * 4096,
    "a list": b'[12, "host"]',
    "a number": b"12",
    "no field that is known": b'{"process": 12}',
}


@pytest.mark.parametrize("content", RUBBISH.values(), ids=RUBBISH)
def test_a_lock_file_with_rubbish_names_nobody(held: Path, content: bytes) -> None:
    held.write_bytes(content)
    assert holder(held) == {}
    assert describe(held) == "a process that the lock file does not name"
    assert not interrupt(held, 0)
    with pytest.raises(LockedError, match="a process that the lock file does not name"):
        EngineLock(held)


def test_the_lock_is_taken_whatever_an_earlier_holder_has_left(tmp_path: Path) -> None:
    path = tmp_path / "engine.lock"
    path.write_text("rubbish")
    assert holder(path) is None and describe(path) == ""
    lock = EngineLock(path)
    found = holder(path)
    assert found and found["pid"] == os.getpid()
    lock.release()


FIELDS = {
    "pid": ["12", 12.0, True, None, [12], {"pid": 12}, 0, -1, 1 << 22 | 1, 10**400],
    "host": ["", None, 7, ["a"], "a b", "-a", "a\n", "\x1b[2J", "ü", "a" * 256],
    "since": ["1", None, True, [], -1, 1e300, float("inf"), float("nan"), 10**400],
    "intake": [None, 1, ["a"], "two\nlines", "\x1b[2J"],
    "file": [None, 1, ["a"], "two\nlines"],
    "trouble": [None, 1, ["a"], "two\nlines", "\x1b[2J"],
    "errors": ["1", None, True, 1.5, -1, [], 10**400],
}


@pytest.mark.parametrize(("key", "value"), [(key, value) for key in FIELDS for value in FIELDS[key]])
def test_a_field_that_can_not_be_right_is_left_out(held: Path, key: str, value: object) -> None:
    good = {"pid": 12, "host": "control.example", "since": 1.5, "intake": "connected", "file": "ab12"}
    good |= {"trouble": "no room", "errors": 2}
    held.write_text(json.dumps(good))
    assert holder(held) == good
    held.write_text(json.dumps(good | {key: value}))
    assert holder(held) == {name: of for name, of in good.items() if name != key}
    assert describe(held)


@pytest.mark.parametrize(
    "content",
    [
        {"pid": -1},
        {"pid": 0},
        {"pid": "1"},
        {},
        {"pid": os.getpid()},
        {"pid": 12, "host": ["here"]},
        {"pid": 12, "host": "elsewhere.example"},
    ],
)
def test_nobody_is_interrupted_who_is_not_named(
    held: Path, content: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "kill", lambda *who: pytest.fail(f"a signal was sent: {who}"))
    held.write_text(json.dumps({"host": socket.gethostname(), **content}))
    assert not interrupt(held, 0)


@pytest.mark.parametrize("error", [ProcessLookupError, PermissionError])
def test_a_holder_that_takes_no_signal_is_waited_for(
    held: Path, error: type[OSError], monkeypatch: pytest.MonkeyPatch
) -> None:
    def kill(pid: int, number: int) -> None:
        raise error

    monkeypatch.setattr(os, "kill", kill)
    held.write_text(json.dumps({"pid": 12, "host": socket.gethostname()}))
    assert not interrupt(held, 0)


@pytest.mark.parametrize("letter", ["x", "ü", "\U0001f600", '"', "\\", "\x1b", "\n", "\udcff"])
def test_whatever_the_state_is_called_the_file_stays_readable(tmp_path: Path, letter: str) -> None:
    path = tmp_path / "engine.lock"
    lock = EngineLock(path)
    lock.tell("no connection: " + letter * 5000)
    lock.tell_file("f" * 64)
    found = holder(path)
    assert found and found.keys() == {"pid", "host", "since", "intake", "file"}
    assert str(found["intake"]).startswith("no connection: ")
    lock.release()


def test_who_only_looks_keeps_nobody_from_taking_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "engine.lock"
    path.touch()
    look = threading.Event()

    def reader() -> None:
        with path.open() as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            look.set()
            time.sleep(0.03)

    thread = threading.Thread(target=reader)
    thread.start()
    assert look.wait(5)
    EngineLock(path).release()
    thread.join()


HOLDER = """
import sys, time
from pathlib import Path
from slurm_powersave.adapters.state_dir.lock import EngineLock
from slurm_powersave.surfaces.cli.main import take_signals
take_signals()
EngineLock(Path(sys.argv[1]), "a resize")
try:
    print("held", flush=True)
    time.sleep(60)
except KeyboardInterrupt:
    sys.exit(3)
"""


def test_the_holder_is_interrupted_and_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "resize.lock"
    assert interrupt(path, 0), "nobody holds it"
    # As a script's `&` starts it.
    argv = ["sh", "-c", 'trap "" INT; exec "$@"', "sh", sys.executable, "-c", HOLDER, str(path)]
    holder = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    assert holder.stdout and holder.stdout.readline() == "held\n"
    assert interrupt(path, 10)
    assert holder.wait(5) == 3


@pytest.mark.parametrize("kind", ["directory", "missing directory"])
def test_a_lock_file_that_can_not_be_opened_is_told(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "engine.lock" if kind == "directory" else tmp_path / "none" / "engine.lock"
    if kind == "directory":
        path.mkdir()
    with pytest.raises(MachineError, match="lock file") as error:
        EngineLock(path)
    assert error.value.where == str(path)


def test_what_the_engine_waits_for_is_told_and_taken_back(tmp_path: Path) -> None:
    path = tmp_path / "engine.lock"
    lock = EngineLock(path)
    lock.tell("connected since now")
    lock.tell_trouble("no room" * 200, 3)
    found = holder(path) or {}
    assert found["errors"] == 3 and str(found["trouble"]).startswith("no room") and "pid" in found
    assert found["intake"] == "not connected: the engine begins anew"
    lock.tell("connected since now")
    lock.tell_trouble("", 3)
    found = holder(path) or {}
    assert (found["trouble"], found["errors"], found["intake"]) == ("", 3, "connected since now")
    lock.release()


def test_a_lock_file_that_can_not_be_written_is_told_and_the_lock_is_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "engine.lock"

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr(os, "pwrite", full)
        with pytest.raises(MachineError, match="No space left on device") as error:
            EngineLock(path)
    assert error.value.where == str(path) and holder(path) is None
    EngineLock(path).release()


def test_words_for_status_that_can_not_be_written_come_with_the_next_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "engine.lock"
    lock = EngineLock(path)

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr(os, "pwrite", full)
        lock.tell_trouble("database or disk is full", 1)
    assert "trouble" not in (holder(path) or {})
    lock.tell_file("ab12")
    lock.tell_file("ab12")
    found = holder(path) or {}
    assert (found["trouble"], found["file"]) == ("database or disk is full", "ab12")
    lock.release()
