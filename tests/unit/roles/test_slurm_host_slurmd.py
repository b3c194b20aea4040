"""slurmd is started with new files, and with its old ones again if it does not run with them."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.unit.roles.role_files import load

files, hardware, units, found = (
    load("slurm_host", f"slurm_host_{name}") for name in ("files", "hardware", "units", "slurmd")
)


class Host:
    """A host whose slurmd runs with some files only, as systemd and the kernel tell of it."""

    def __init__(self, conf: Path, runs_with: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.conf, self.runs_with, self.asked = conf, runs_with, list[str]()
        self.slurmd: Any = found.Slurmd(
            SimpleNamespace(check_mode=False, run_command=self.run, get_bin_path=lambda name: None)
        )
        self.slurmd.units = {"slurmd": {"ActiveState": "inactive"}}
        monkeypatch.setattr(found, "listens", lambda port: self.runs)

    @property
    def runs(self) -> bool:
        return self.conf.exists() and self.conf.read_text() == self.runs_with

    def run(self, argv: list[str]) -> tuple[int, str, str]:
        self.asked.append(" ".join(argv[:3]))
        return 0, "failed" if argv[1] == "is-active" and not self.runs else "bad line", ""


def test_one_that_runs_with_its_new_files_keeps_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    conf = tmp_path / "slurm.conf"
    conf.write_text("new")
    host = Host(conf, "new", monkeypatch)
    host.slurmd.before = {str(conf): (b"old", 0o644)}
    host.slurmd.slurmd()
    assert conf.read_text() == "new" and host.slurmd.changes == ["start slurmd"]


@pytest.mark.parametrize(
    ("works", "said"),
    [
        ("old", "its old files are back, and slurmd runs with them"),
        ("", "with its old files, which are back, slurmd does not start either"),
    ],
)
def test_one_that_does_not_gets_its_old_files_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, works: str, said: str
) -> None:
    conf, added = tmp_path / "slurm.conf", tmp_path / "gres.conf"
    conf.write_text("new")
    added.write_text("new, too")
    host = Host(conf, works, monkeypatch)
    host.slurmd.before = {str(conf): (b"old", 0o644), str(added): (b"", 0o644)}
    with pytest.raises(units.Problem, match=f"slurmd ended .failed.: bad line.*{said}"):
        host.slurmd.slurmd()
    assert conf.read_text() == "old" and not added.exists()
    assert "systemctl reset-failed slurmd" in host.asked


def test_one_that_did_not_run_before_keeps_its_new_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    conf = tmp_path / "slurm.conf"
    conf.write_text("new")
    with pytest.raises(units.Problem, match="slurmd ended"):
        Host(conf, "", monkeypatch).slurmd.slurmd()
    assert conf.read_text() == "new"
