"""What a node says of its job steps is one of two words, or nothing."""

import subprocess
import time
from pathlib import Path

import pytest

from slurm_powersave.adapters.ssh import node_steps


def ssh(tmp_path: Path, script: str) -> list[str]:
    """A program in the place of ssh."""
    program = tmp_path / "ssh"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return [str(program)]


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo steps=0", True),
        ("echo steps=1", False),
        ("echo steps=2", None),
        ("echo steps=127", None),
        ("exit 255", None),
        ("echo steps=1; exit 1", None),
        ("echo steps=0; echo steps=1", None),
        ("echo Welcome; echo steps=1", None),
        ("echo steps=10", None),
        ("printf 'steps=1\\0'", None),
        ("yes steps=1", None),
        ("", None),
    ],
)
def test_what_it_says(tmp_path: Path, script: str, said: bool | None) -> None:
    assert node_steps.runs_steps(ssh(tmp_path, script), "root", "10.0.0.1") is said


def test_one_that_hangs_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_steps, "SECONDS", 0.5)
    began = time.monotonic()
    assert node_steps.runs_steps(ssh(tmp_path, "sleep 60"), "root", "10.0.0.1") is None
    assert time.monotonic() - began < 10


@pytest.mark.parametrize("host", ["", "-oProxyCommand=id", "n1", "10.0.0.1 id"])
def test_only_an_address_is_asked(tmp_path: Path, host: str) -> None:
    program = ssh(tmp_path, f"touch {tmp_path}/called; echo steps=1")
    assert node_steps.runs_steps(program, "root", host) is None
    assert not (tmp_path / "called").exists()


def test_a_job_s_step_is_told_from_the_one_that_keeps_a_cgroup() -> None:
    """The pattern, by processes that call themselves so."""
    ask = node_steps._ASK.replace("pgrep", "pgrep -P $$")
    script = f'(exec -a "$1" sleep 30) & sleep 0.5; {ask}; kill $!'
    for name, said in (("slurmstepd: [12.batch]", "steps=0"), ("/usr/sbin/slurmstepd infinity", "steps=1")):
        argv = ["bash", "-c", script, "x", name]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=20, check=False)
        assert done.stdout.strip() == said, (name, done)
