"""Processes with a time limit, and processes that outlive the one that started them."""

import errno
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from slurm_powersave.adapters.processes import process
from slurm_powersave.adapters.processes.process import Tail, alive, exit_code, run, signal_run, start_detached
from slurm_powersave.model.errors import MachineError, MissingToolError
from slurm_powersave.model.nodes import RunRecord


def wait(condition: Callable[[], object], seconds: float = 10.0) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


@pytest.fixture
def started() -> Iterator[list[RunRecord]]:
    """Runs that are killed at the end, whatever the test did."""
    records: list[RunRecord] = []
    yield records
    for record in records:
        signal_run(record, signal.SIGKILL)


def start(tmp_path: Path, script: str, started: list[RunRecord]) -> RunRecord:
    """Start a shell script detached."""
    record = start_detached(["sh", "-c", script], tmp_path / "run", run_id="r1", kind="apply")
    started.append(record)
    return record


def test_output_and_exit_code() -> None:
    done = run(["sh", "-c", "cat; echo err >&2; exit 3"], timeout=10, stdin="in")
    assert (done.rc, done.out, done.err) == (3, "in", "err\n")


def test_bytes_that_are_no_text_do_not_raise() -> None:
    assert run(["printf", r"\377"], timeout=10).out == "\ufffd"


def test_a_missing_program_is_named() -> None:
    with pytest.raises(MissingToolError, match="no-such-program could not be started"):
        run(["no-such-program"], timeout=1)


def test_a_program_that_may_not_be_run_is_named(tmp_path: Path) -> None:
    (tmp_path / "script").write_text("#!/bin/sh\n")
    with pytest.raises(MissingToolError, match="Permission denied"):
        run([str(tmp_path / "script")], timeout=1)


def test_the_time_limit_kills_the_whole_group(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    begin = time.monotonic()
    done = run(["sh", "-c", f"sleep 60 & echo $! >{pid_file}; wait"], timeout=0.5)
    assert done.rc is None and "no answer within 0.5 s" in done.err
    assert time.monotonic() - begin < 5
    wait(lambda: process.start_ticks(int(pid_file.read_text())) is None)


def test_a_child_that_left_the_group_and_holds_the_pipe_does_not_hold_us(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    begin = time.monotonic()
    try:
        done = run(["sh", "-c", f"setsid sh -c 'echo $$ >{pid_file}; exec sleep 30' & sleep 30"], timeout=0.7)
        assert done.rc is None and time.monotonic() - begin < 5
    finally:
        os.kill(int(pid_file.read_text()), signal.SIGKILL)


def test_a_detached_run_leaves_output_and_exit_code(tmp_path: Path, started: list[RunRecord]) -> None:
    record = start(tmp_path, "echo out; echo err >&2; exit 7", started)
    wait(lambda: exit_code(record) is not None)
    assert exit_code(record) == 7
    directory = Path(record.directory)
    assert (directory / "stdout.jsonl").read_text() == "out\n"
    assert (directory / "stderr").read_text() == "err\n"
    assert directory.stat().st_mode & 0o777 == 0o700
    assert (directory / "stdout.jsonl").stat().st_mode & 0o777 == 0o600


def test_it_runs_while_it_runs(tmp_path: Path, started: list[RunRecord]) -> None:
    record = start(tmp_path, "sleep 30", started)
    assert exit_code(record) is None and alive(record)


def test_a_killed_run_has_no_exit_code_of_its_own(tmp_path: Path, started: list[RunRecord]) -> None:
    record = start(tmp_path, "sleep 30", started)
    signal_run(record, signal.SIGKILL)
    wait(lambda: exit_code(record) is not None)
    assert exit_code(record) == -1


def test_sigint_reaches_the_program_and_its_code_is_kept(tmp_path: Path, started: list[RunRecord]) -> None:
    record = start(tmp_path, "trap 'echo caught; exit 130' INT; while :; do sleep 0.05; done", started)
    wait(lambda: alive(record))
    time.sleep(0.3)
    signal_run(record, signal.SIGINT)
    wait(lambda: exit_code(record) is not None)
    assert exit_code(record) == 130
    assert "caught" in (Path(record.directory) / "stdout.jsonl").read_text()


def test_a_program_that_handles_sigint_slowly_is_waited_for(tmp_path: Path, started: list[RunRecord]) -> None:
    record = start(tmp_path, "trap 'sleep 0.5; echo finished; exit 1' INT; sleep 0.1; sleep 30", started)
    time.sleep(0.5)
    signal_run(record, signal.SIGINT)
    signal_run(record, signal.SIGINT)
    wait(lambda: exit_code(record) is not None)
    assert exit_code(record) == 1


_PARENT = """
import sys
from pathlib import Path
from slurm_powersave.adapters.processes.process import start_detached
record = start_detached(["sh", "-c", sys.argv[2]], Path(sys.argv[1]), run_id="r1", kind="apply")
print(record.pid, record.start_ticks, flush=True)
import time
time.sleep(60)
"""


def test_a_run_outlives_its_parent_and_is_adopted_by_another_process(
    tmp_path: Path, started: list[RunRecord]
) -> None:
    directory = tmp_path / "run"
    script = "echo one; sleep 1; echo two; exit 4"
    parent = subprocess.Popen(
        [sys.executable, "-c", _PARENT, str(directory), script], stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout
    pid, ticks = parent.stdout.readline().split()
    record = RunRecord("r1", "apply", str(directory), int(pid), int(ticks))
    started.append(record)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert alive(record) and exit_code(record) is None
    wait(lambda: exit_code(record) is not None)
    assert exit_code(record) == 4
    assert (directory / "stdout.jsonl").read_text() == "one\ntwo\n"


def test_a_later_process_with_the_same_pid_is_not_ours(tmp_path: Path) -> None:
    me = RunRecord("r1", "apply", str(tmp_path), os.getpid(), 12345)
    assert not alive(me) and exit_code(me) == -1
    signal_run(me, signal.SIGKILL)  # and we are still here


def test_a_record_of_a_process_that_is_gone_ends_as_killed(tmp_path: Path) -> None:
    child = subprocess.Popen(["true"])
    child.wait()
    assert exit_code(RunRecord("r1", "apply", str(tmp_path), child.pid, 1)) == -1


def test_a_process_of_another_boot_or_host_is_not_ours(tmp_path: Path, started: list[RunRecord]) -> None:
    """Pids and ticks begin anew with a boot: they may name somebody else's process."""
    record = start(tmp_path, "sleep 30", started)
    assert record.host == socket.gethostname() and record.boot_id == process.boot_id()
    assert alive(record)
    for other in (replace(record, boot_id="another"), replace(record, host="another")):
        assert not alive(other) and exit_code(other) == -1
        signal_run(other, signal.SIGKILL)
    assert alive(record), "it was not signalled"


def test_a_run_of_the_first_release_is_known_by_its_directory(
    tmp_path: Path, started: list[RunRecord]
) -> None:
    """Its records name neither host nor boot: pid and ticks alone may be somebody else's after a reboot."""
    record = replace(start(tmp_path, "echo; exec sleep 30", started), host="", boot_id="")
    wait(lambda: (tmp_path / "run/stdout.jsonl").read_text())  # in its first moment it has no arguments
    assert alive(record) and exit_code(record) is None
    other = subprocess.Popen(["sleep", "30"], start_new_session=True)
    try:
        ticks = process.start_ticks(other.pid)
        assert ticks
        stranger = replace(record, pid=other.pid, start_ticks=ticks)
        assert not alive(stranger) and exit_code(stranger) == -1
        signal_run(stranger, signal.SIGKILL)
        assert other.poll() is None, "it was not signalled"
    finally:
        other.kill()
        other.wait()
    signal_run(record, signal.SIGKILL)
    wait(lambda: exit_code(record) == -1)


@pytest.mark.parametrize("number", [errno.EMFILE, errno.EAGAIN, errno.ENOMEM])
def test_a_host_that_can_start_nothing_is_no_missing_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(subprocess, "Popen", fail)
    before = os.listdir("/proc/self/fd")
    with pytest.raises(MachineError, match="could not be started"):
        run(["true"], timeout=1)
    with pytest.raises(MachineError, match="could not be started"):
        start_detached(["true"], tmp_path / "run", run_id="r1", kind="plan")
    assert os.listdir("/proc/self/fd") == before


def test_no_descriptor_is_left_where_the_second_file_can_not_be_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = os.open

    def fail(path: object, *args: int) -> int:
        if str(path).endswith("stderr"):
            raise OSError(errno.EMFILE, "Too many open files")
        return original(path, *args)  # type: ignore[arg-type]

    before = os.listdir("/proc/self/fd")
    monkeypatch.setattr(os, "open", fail)
    with pytest.raises(MachineError):
        start_detached(["true"], tmp_path / "run", run_id="r1", kind="plan")
    assert os.listdir("/proc/self/fd") == before


def test_a_run_that_nobody_asks_for_leaves_no_zombie(tmp_path: Path, started: list[RunRecord]) -> None:
    first = start_detached(["true"], tmp_path / "one", run_id="r1", kind="plan")
    wait(lambda: "Z" in Path(f"/proc/{first.pid}/stat").read_text().rpartition(")")[2].split()[0])
    start(tmp_path, "sleep 30", started)
    assert not Path(f"/proc/{first.pid}").exists()
    assert exit_code(first) == 0


def test_a_missing_program_of_a_detached_run_is_its_exit_code(
    tmp_path: Path, started: list[RunRecord]
) -> None:
    record = start_detached(["no-such-program"], tmp_path / "run", run_id="r1", kind="plan")
    started.append(record)
    wait(lambda: exit_code(record) is not None)
    assert exit_code(record) == 127
    assert "no-such-program" in (tmp_path / "run" / "stderr").read_text()


def test_tail_gives_whole_lines_once(tmp_path: Path) -> None:
    path = tmp_path / "out"
    tail = Tail(path)
    assert tail.lines() == []
    path.write_bytes(b"one\ntw")
    assert tail.lines() == ["one"]
    with path.open("ab") as file:
        file.write(b"o\nthree\n\xff\n")
    assert tail.lines() == ["two", "three", "\ufffd"]
    assert tail.lines() == []
