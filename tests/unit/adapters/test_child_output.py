"""A program in the foreground that is interrupted."""

import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from slurm_powersave.adapters.processes import child_output
from slurm_powersave.adapters.processes.child_output import run_shown

# Like Ansible: a worker in a session of its own, which the program ends when it is asked to end.
TIDY = """
import os, signal, subprocess, sys
worker = subprocess.Popen(["sleep", "60"], start_new_session=True)
def end(*_):
    worker.kill()
    worker.wait()
    sys.exit(1)
signal.signal(signal.SIGTERM, end)
open(sys.argv[1], "w").write(str(worker.pid))
signal.pause()
"""
STUBBORN = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
open(sys.argv[1], "w").write(str(os.getpid()))
time.sleep(60)
"""


def interrupted(script: str, note: Path, times: int = 1) -> int:
    """Run a script, interrupt us as soon as it has noted a process, and return that."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)

    def interrupt() -> None:
        while not (note.exists() and note.read_text()):
            time.sleep(0.02)
        for _ in range(times):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.1)

    try:
        threading.Thread(target=interrupt, daemon=True).start()
        with pytest.raises(KeyboardInterrupt):
            run_shown([sys.executable, "-c", script, str(note)], {"PATH": os.environ["PATH"]})
    finally:
        signal.signal(signal.SIGINT, before)
    return int(note.read_text())


def is_there(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def test_what_it_has_begun_ends_with_it(tmp_path: Path) -> None:
    """Whoever comes next holds the lock, and no task of the last play runs on beside it."""
    assert not is_there(interrupted(TIDY, tmp_path / "note"))


def test_a_second_ctrl_c_does_not_leave_it_to_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child_output, "_LAST_WORK", 1.0)
    assert not is_there(interrupted(STUBBORN, tmp_path / "note", times=3))


def test_one_that_does_not_end_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child_output, "_LAST_WORK", 0.3)
    assert not is_there(interrupted(STUBBORN, tmp_path / "note"))
