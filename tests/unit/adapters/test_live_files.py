"""Slurm's files on the slurmctld host, read in one call."""

import os
import shlex
from pathlib import Path

import pytest

from slurm_powersave.adapters.slurm import live_files
from slurm_powersave.model.errors import UnreachableError


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where /etc/slurm is."""
    monkeypatch.setattr(live_files, "SLURM_FILES", str(tmp_path))
    monkeypatch.setattr(live_files, "LIVE_FILES", str(tmp_path / "ours"))
    (tmp_path / "ours/written").mkdir(parents=True)
    sinfo = tmp_path / "bin/sinfo"
    sinfo.parent.mkdir()
    sinfo.write_text(f"#!/bin/sh\ngrep -s Sise {tmp_path}/slurm.conf && exit 1\necho slurm 26.05.5\n")
    sinfo.chmod(0o755)
    monkeypatch.setenv("PATH", f"{sinfo.parent}:{os.environ['PATH']}")
    return tmp_path


def test_what_is_there_and_what_we_wrote_last(host: Path) -> None:
    (host / "slurm.conf").write_bytes(b"A=1\n\xff\n")
    (host / "ours/written/slurm.conf").write_text("A=2\n")
    found = live_files.read([])
    assert found.live == {"slurm.conf": "A=1\n\ufffd\n", "gres.conf": "", "cgroup.conf": ""}
    assert found.written == {"slurm.conf": "A=2\n", "gres.conf": "", "cgroup.conf": ""}


def test_through_a_shell_as_ssh_runs_it(host: Path) -> None:
    (host / "slurm.conf").write_text("A=1\n")
    # sshd hands all words to the user's shell as one line.
    assert live_files.read(["sh", "-c", 'exec sh -c "$*"', "sshd"]).live["slurm.conf"] == "A=1\n"


def test_a_slurm_conf_that_slurm_cant_read(host: Path) -> None:
    (host / "slurm.conf").write_text("MaxArraySise=1\n")
    assert live_files.read([]).unreadable == "MaxArraySise=1"
    (host / "slurm.conf").write_text("MaxArraySize=1\n")
    assert live_files.read([]).unreadable == ""


@pytest.mark.parametrize("answer", ["", "QQ==", "no base64!\n" * 7, "QQ\n" * 7])
def test_an_answer_that_is_none(host: Path, answer: str) -> None:
    with pytest.raises(UnreachableError):
        live_files.read(["sh", "-c", f"printf %s {shlex.quote(answer)}", "sshd"])


def test_a_host_that_does_not_answer(host: Path) -> None:
    with pytest.raises(UnreachableError, match="can't be read"):
        live_files.read(["sh", "-c", "echo no route >&2; exit 255", "sshd"])
