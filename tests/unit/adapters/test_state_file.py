"""Terraform's state: copied before an apply, put back where Terraform has left an empty or broken one."""

import errno
import fcntl
import json
import os
import subprocess
import sys
from pathlib import Path
from unittest.mock import patch

import pytest

from slurm_powersave.adapters.terraform import state_file
from slurm_powersave.adapters.terraform.base import Planned, State
from slurm_powersave.adapters.terraform.command import Command
from slurm_powersave.adapters.terraform.state_file import BROKEN, COPY, STATE
from slurm_powersave.model.errors import TerraformError

WHOLE = json.dumps({"version": 4, "outputs": {"login": {"value": {"id": "a"}}}, "resources": []})


def test_a_whole_state_is_copied_and_a_broken_one_is_not(tmp_path: Path) -> None:
    state_file.keep(tmp_path)
    assert not (tmp_path / COPY).exists(), "there is nothing before the first apply"
    (tmp_path / STATE).write_text(WHOLE)
    state_file.keep(tmp_path)
    assert (tmp_path / COPY).read_text() == WHOLE
    assert (tmp_path / COPY).stat().st_mode & 0o777 == 0o600
    (tmp_path / STATE).write_text(WHOLE[:20])
    state_file.keep(tmp_path)
    assert (tmp_path / COPY).read_text() == WHOLE


@pytest.mark.parametrize("content", ["", "{", WHOLE[:20], "\0" * 50, "[]"])
@pytest.mark.parametrize("copy", [COPY, f"{STATE}.backup"])
def test_a_copy_takes_the_place_of_a_broken_state(tmp_path: Path, content: str, copy: str) -> None:
    (tmp_path / STATE).write_text(content)
    (tmp_path / copy).write_text(WHOLE)
    assert state_file.is_broken(tmp_path)
    assert copy in state_file.put_back(tmp_path)
    assert (tmp_path / STATE).read_text() == WHOLE
    assert (tmp_path / BROKEN).read_text() == content, "what there was is kept"
    assert not state_file.is_broken(tmp_path) and state_file.put_back(tmp_path) == ""


def test_ours_comes_before_terraform_s_own(tmp_path: Path) -> None:
    (tmp_path / STATE).touch()
    (tmp_path / COPY).write_text(WHOLE)
    (tmp_path / f"{STATE}.backup").write_text("{}")
    state_file.put_back(tmp_path)
    assert (tmp_path / STATE).read_text() == WHOLE


def test_an_empty_state_without_a_copy_is_one_that_never_was(tmp_path: Path) -> None:
    (tmp_path / STATE).touch()
    assert "no copy" in state_file.put_back(tmp_path)
    assert not (tmp_path / STATE).exists()


_LOCK = """
import fcntl, sys
file = open(sys.argv[1], "r+")
fcntl.lockf(file, fcntl.LOCK_EX)
print("locked", flush=True)
sys.stdin.read()
"""


def test_a_state_that_terraform_writes_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / STATE
    path.touch()
    (tmp_path / COPY).write_text(WHOLE)
    other = subprocess.Popen(
        [sys.executable, "-c", _LOCK, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert other.stdout and other.stdout.readline() == b"locked\n"
    try:
        assert not state_file.is_broken(tmp_path) and state_file.put_back(tmp_path) == ""
        assert path.read_text() == ""
    finally:
        other.communicate()
    assert state_file.is_broken(tmp_path)


def test_outputs_of_a_broken_state_are_those_of_the_copy(tmp_path: Path) -> None:
    assert state_file.outputs(tmp_path) == {}
    (tmp_path / STATE).touch()
    assert state_file.outputs(tmp_path) == {}
    (tmp_path / COPY).write_text(WHOLE)
    assert state_file.outputs(tmp_path) == {"login": {"id": "a"}}
    (tmp_path / STATE).write_text("{")
    assert state_file.outputs(tmp_path) == {"login": {"id": "a"}}
    (tmp_path / COPY).unlink()
    with pytest.raises(TerraformError):
        state_file.outputs(tmp_path)


def test_a_fifo_in_its_place_does_not_hold_anybody(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / STATE)
    assert not state_file.is_broken(tmp_path), "it is left to a person"
    with pytest.raises(TerraformError, match="a FIFO"):
        state_file.read_json(tmp_path / STATE)
    (tmp_path / STATE).unlink()
    (tmp_path / STATE).mkdir()
    assert state_file.is_locked(tmp_path) and not state_file.is_broken(tmp_path)


def test_the_base_state_is_copied_before_its_apply(tmp_path: Path) -> None:
    program = tmp_path / "terraform"
    program.write_text(f"#!/bin/sh\n: >{tmp_path / STATE}\nexit 1\n")
    program.chmod(0o755)
    (tmp_path / STATE).write_text(WHOLE)
    (tmp_path / "plan-1").mkdir()
    state = State(tmp_path, Command(str(program)))
    with pytest.raises(TerraformError):
        state.apply(Planned(tmp_path / "plan-1/tfplan", "", {}, {}))
    assert state.broken
    assert COPY in state.mend()
    assert (tmp_path / STATE).read_text() == WHOLE
    with (tmp_path / STATE).open("r+") as file:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM, errno.EISDIR])
def test_a_state_that_is_not_ours_is_left_alone_and_the_others_are_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(*_: object, **__: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "open", refuse)
    assert state_file.is_locked(tmp_path)


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENOMEM, errno.EIO])
def test_trouble_of_the_host_is_told_when_a_state_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(*_: object, **__: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(OSError, match=r"\[Errno"):
        state_file.is_locked(tmp_path)


def test_a_state_is_told_apart_by_its_file_once_that_is_old_enough(tmp_path: Path) -> None:
    assert state_file.stamp(tmp_path) == "", "there is none"
    state, later = tmp_path / STATE, 3 * 10**9
    state.write_text("{}")
    assert state_file.stamp(tmp_path) == "", "another change in the same moment would not be seen"
    changed = state.stat().st_mtime_ns
    with patch("time.time_ns", lambda: changed + later):
        before = state_file.stamp(tmp_path)
        assert before and state_file.stamp(tmp_path) == before
    other = tmp_path / "other"
    other.write_text("[]")
    os.utime(other, ns=(changed, changed))
    other.replace(state)  # the same size and time of writing
    with patch("time.time_ns", lambda: changed + 2 * later):
        assert state_file.stamp(tmp_path) not in ("", before)
        state.write_text("")
        assert state_file.stamp(tmp_path) == "", "Terraform has just locked a new one"
