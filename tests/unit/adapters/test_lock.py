"""One engine a cluster."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from slurm_powersave.adapters.lock import EngineLock, describe, holder, interrupt
from slurm_powersave.model.errors import LockedError

_HOLD = """
import sys, time
from pathlib import Path
from slurm_powersave.adapters.lock import EngineLock
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


def test_a_lock_file_with_rubbish_names_nobody(tmp_path: Path) -> None:
    path = tmp_path / "engine.lock"
    path.write_text("rubbish")
    lock = EngineLock(path)
    assert holder(path)
    lock.release()


HOLDER = """
import sys, time
from pathlib import Path
from slurm_powersave.adapters.lock import EngineLock
from slurm_powersave.surfaces.cli import take_signals
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
