"""Which process `make demo` takes for its engine, and so ends."""

import fcntl
import os
import sys
from pathlib import Path

import pytest

DEMO = Path(__file__).resolve().parents[3] / "demo"
sys.path.insert(0, str(DEMO))

from walk import tools  # noqa: E402  # demo/ is no package of the distribution


@pytest.fixture
def lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tools, "STATE", tmp_path)
    return tmp_path / "engine.lock"


def test_the_process_that_holds_the_lock(lock: Path) -> None:
    lock.write_text(f'{{"pid": {os.getpid()}, "host": "here"}}'.ljust(4096))
    with lock.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert tools.engine_pid() == os.getpid()


def test_an_engine_that_was_killed_has_left_its_pid_which_may_be_somebody_elses(lock: Path) -> None:
    assert tools.engine_pid() is None
    lock.write_text(f'{{"pid": {os.getpid()}}}')
    assert tools.engine_pid() is None


@pytest.mark.parametrize(
    "content", ["", "rubbish", "[1]", "12", "{}", '{"pid": "12"}', '{"pid": -1}', '{"pid": 0}']
)
def test_a_lock_file_with_rubbish_names_nobody(lock: Path, content: str) -> None:
    lock.write_text(content)
    with lock.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert tools.engine_pid() is None
