"""Leases in files: one holder at a time, who says what it is and does; freed however the holder ends."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from slurm_powersave.adapters.state_dir.lock import command_lease, engine_lease
from slurm_powersave.config.layout import Layout
from slurm_powersave.model.errors import LockedError
from slurm_powersave.ports.lease import Lease

HOLDER = """
import sys, time
from pathlib import Path
from slurm_powersave.adapters.state_dir.lock import FileLease
held = FileLease(Path(sys.argv[1])).take(command="deploy --yes", user="ann")
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture(params=[engine_lease, command_lease])
def lease(request: pytest.FixtureRequest, tmp_path: Path) -> Lease:
    made: Callable[[Layout], Lease] = request.param
    return made(Layout(tmp_path))


@contextmanager
def held_elsewhere(lease: Lease) -> Iterator["subprocess.Popen[str]"]:
    """Let another process hold it."""
    argv = [sys.executable, "-c", HOLDER, lease.where]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout and process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()


def test_one_holds_it_and_others_are_told_who(lease: Lease) -> None:
    assert lease.holder() is None and lease.describe() == ""
    held = lease.take(command="deploy", user="ann")
    with pytest.raises(LockedError) as caught:
        lease.take()
    assert caught.value.where == lease.where and f"deploy by ann, process {os.getpid()} on " in str(
        caught.value
    )
    found = lease.holder() or {}
    assert (found["pid"], found["command"], found["user"]) == (os.getpid(), "deploy", "ann")
    assert abs(found["since"] - time.time()) < 60 and "intake" not in found
    held.release()
    assert lease.holder() is None
    lease.take().release()


def test_the_holder_says_how_it_is(lease: Lease) -> None:
    held = lease.take()
    held.tell("connected")
    held.tell_file("ab12")
    held.tell_left_alone("intake")
    found = lease.holder() or {}
    assert (found["intake"], found["file"], found["left_alone"]) == ("connected", "ab12", "intake")
    held.tell_trouble("database or disk is full", 3)
    found = lease.holder() or {}
    assert (found["trouble"], found["errors"]) == ("database or disk is full", 3)
    assert found["intake"].startswith("not connected")
    held.release()


def test_it_ends_with_its_holder(lease: Lease) -> None:
    with held_elsewhere(lease) as process:
        assert (lease.holder() or {})["pid"] == process.pid
        with pytest.raises(LockedError, match=f"process {process.pid} "):
            lease.take()
        process.kill()
        process.wait()
        assert lease.holder() is None
        lease.take().release()


def test_a_holder_that_is_asked_to_end_is_waited_for(lease: Lease) -> None:
    assert lease.interrupt(0), "nobody holds it"
    with held_elsewhere(lease) as process:
        assert lease.interrupt(10)
        assert process.wait(10) == -signal.SIGTERM


def test_one_whose_place_was_moved_away_is_not_current(lease: Lease) -> None:
    held = lease.take()
    assert held.is_current()
    os.rename(lease.where, f"{lease.where}.old")
    assert not held.is_current() and lease.holder() is None
    other = lease.take()
    assert other.is_current() and not held.is_current()
    other.release()
    held.release()
