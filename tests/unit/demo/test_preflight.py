"""What the demo says when it can't begin: everything at once, and what to do."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

DEMO = Path(__file__).resolve().parents[3] / "demo"
sys.path.insert(0, str(DEMO))

from walk import tools  # noqa: E402  # demo/ is no package of the distribution


def preflight(capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as left:
        tools.preflight()
    assert left.value.code == 1
    return capsys.readouterr().err


def terraform_says(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(shutil, "which", lambda program: f"/bin/{program}")
    done = subprocess.CompletedProcess([], 0, text)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: done)


def test_not_root(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    terraform_says(monkeypatch, "Terraform v1.11.4")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert "sudo make demo" in preflight(capsys)


def test_everything_missing_is_told_at_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(shutil, "which", lambda program: None)
    text = preflight(capsys)
    for wanted in (
        "apt-get install debootstrap",
        "apt-get install systemd-container",
        "terraform is not on PATH",
    ):
        assert wanted in text


@pytest.mark.parametrize("text", ["Terraform v1.4.6\non linux_amd64", "OpenTofu v1.3.0", ""])
def test_terraform_too_old(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    terraform_says(monkeypatch, text)
    assert "1.5 or later is needed" in preflight(capsys)


def test_all_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    terraform_says(monkeypatch, "Terraform v1.11.4\non linux_amd64")
    tools.preflight()
