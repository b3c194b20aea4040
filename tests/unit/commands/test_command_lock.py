"""One command at a time changes a cluster; one that has died holds up nobody."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from slurm_powersave.adapters.state_dir import lock
from slurm_powersave.adapters.state_dir.lock import command_lease
from slurm_powersave.commands.command_lock import Patience, alone, end, is_bare, keep_lock
from slurm_powersave.config.layout import Layout
from slurm_powersave.model.errors import LockedError

HOLDER = """
import signal, sys, time
from pathlib import Path
from slurm_powersave.config.layout import Layout
from slurm_powersave.adapters.state_dir.lock import command_lease
from slurm_powersave.commands.command_lock import alone
signal.signal(signal.SIGTERM, signal.default_int_handler)
layout = Layout(Path(sys.argv[1]))
with alone(layout, command_lease(layout), sys.argv[2]):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "state")


@pytest.fixture
def other(layout: Layout) -> Iterator["subprocess.Popen[str]"]:
    """A deploy in another process."""
    found = hold(layout, "deploy --yes")
    yield found
    found.kill()
    found.communicate()


def hold(layout: Layout, command: str) -> "subprocess.Popen[str]":
    argv = [sys.executable, "-c", HOLDER, str(layout.root), command]
    found = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert found.stdout and found.stdout.readline() == "held\n"
    return found


def test_a_second_one_is_refused_with_the_name_of_the_first(
    layout: Layout, other: "subprocess.Popen[str]"
) -> None:
    with pytest.raises(LockedError) as caught, alone(layout, command_lease(layout), "resize"):
        pytest.fail("both run")
    error = caught.value
    assert error.exit_code == 3 and "--wait-lock" in error.todo
    for words in ("deploy --yes by ", f"process {other.pid} on {os.uname().nodename} since "):
        assert words in error.why


def test_one_that_was_killed_holds_up_nobody(layout: Layout, other: "subprocess.Popen[str]") -> None:
    other.kill()
    other.wait()
    with alone(layout, command_lease(layout), "deploy"):
        assert (lock.holder(layout.command_lock) or {})["pid"] == os.getpid()


@pytest.mark.parametrize("pid", [1, os.getpid()], ids=["lives", "this"])
def test_what_a_holder_of_another_host_or_boot_has_written_holds_up_nobody(layout: Layout, pid: int) -> None:
    """A host that was switched off has left its name in the file."""
    layout.root.mkdir()
    layout.command_lock.write_text(
        f'{{"pid": {pid}, "host": "elsewhere", "since": 1.0, "command": "deploy"}}'
    )
    with alone(layout, command_lease(layout), "deploy"):
        pass


def test_it_waits_and_says_for_whom(layout: Layout, other: "subprocess.Popen[str]") -> None:
    said: list[str] = []
    threading.Timer(0.5, other.kill).start()
    with alone(layout, command_lease(layout), "deploy", Patience(said.append)):
        assert other.wait(5) == -signal.SIGKILL
    assert len(said) == 1 and "waiting for deploy --yes by " in said[0] and "Ctrl-C" in said[0]


def test_it_waits_no_longer_than_it_was_told(layout: Layout, other: "subprocess.Popen[str]") -> None:
    began = time.monotonic()
    with (
        pytest.raises(LockedError),
        alone(layout, command_lease(layout), "deploy", Patience(lambda text: None, 0.3)),
    ):
        pytest.fail("both run")
    assert 0.3 <= time.monotonic() - began < 5


def test_ctrl_c_ends_the_wait(layout: Layout, other: "subprocess.Popen[str]") -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a test run may ignore it
    try:
        threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
        with (
            pytest.raises(KeyboardInterrupt),
            alone(layout, command_lease(layout), "deploy", Patience(lambda text: None, 10)),
        ):
            pytest.fail("both run")
    finally:
        signal.signal(signal.SIGINT, before)


def test_only_a_command_of_this_name_is_interrupted(layout: Layout, other: "subprocess.Popen[str]") -> None:
    end(command_lease(layout), "resize")
    assert other.poll() is None
    end(command_lease(layout), "deploy")
    assert other.wait(5) == 1 or other.returncode == -signal.SIGINT
    end(command_lease(layout), "deploy")  # nobody


def test_a_directory_that_was_only_made_for_the_lock_goes_again(layout: Layout) -> None:
    with alone(layout, command_lease(layout), "deploy"):
        assert layout.root.stat().st_mode & 0o777 == 0o700 and is_bare(layout.root)
    assert not layout.root.exists() and is_bare(layout.root)
    with alone(layout, command_lease(layout), "deploy"):
        layout.journal.touch()
    assert not is_bare(layout.root) and layout.command_lock.exists()


def test_who_waits_notices_that_the_lock_s_file_is_another(layout: Layout) -> None:
    """The first one deletes the directory that it had made for the lock alone."""
    entered = threading.Event()

    def wait() -> None:
        with alone(layout, command_lease(layout), "deploy", Patience(lambda text: None)):
            assert lock.holder(layout.command_lock) is not None
            entered.set()

    with alone(layout, command_lease(layout), "deploy"):
        thread = threading.Thread(target=wait)
        thread.start()
        time.sleep(0.3)
        assert not entered.is_set()
    thread.join(5)
    assert entered.is_set()


def test_a_state_directory_that_takes_its_place_has_the_same_lock(layout: Layout, tmp_path: Path) -> None:
    new = tmp_path / "new"
    new.mkdir()
    with alone(layout, command_lease(layout), "restore"):
        keep_lock(layout.command_lock, new)
        layout.root.rename(tmp_path / "aside")
        new.rename(layout.root)
        with pytest.raises(LockedError), alone(layout, command_lease(layout), "deploy"):
            pytest.fail("both run")
    with alone(layout, command_lease(layout), "deploy"):
        pass
