"""`backup` and `restore`: what a person types, and what the commands print."""

import json
import stat
from pathlib import Path

import pytest

from slurm_powersave.adapters.journal.sqlite import SqliteJournal

from .conftest import Command


@pytest.fixture
def deployed(cluster_file: Path, journal: SqliteJournal) -> Path:
    """A state directory with a journal and keys; return it."""
    root = cluster_file.parent / "state"
    (root / "keys").mkdir()
    (root / "keys/id_ed25519.pub").write_text("ssh-ed25519 AAAA")
    return root


def test_a_backup_goes_where_it_is_told(command: Command, deployed: Path, tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir()
    result = command("backup", "--to", str(place), "--keep", "3")
    assert result.exit_code == 0, result.stderr
    (made,) = place.iterdir()
    assert result.stdout == f"{made}\n" and "private keys" in result.stderr
    assert stat.S_IMODE(made.stat().st_mode) == 0o600


def test_backup_as_json(command: Command, deployed: Path) -> None:
    value = json.loads(command("backup", "--json").stdout)
    assert Path(value["path"]).parent == deployed / "backups"
    assert value["members"] == 3 and value["removed"] == [] and value["size"] > 0


def test_backup_to_stdout_is_the_file(command: Command, deployed: Path, tmp_path: Path) -> None:
    result = command("backup", "--to", "-")
    assert result.exit_code == 0, result.stderr
    assert result.stdout_bytes.startswith(b"\x1f\x8b")
    path = tmp_path / "b"
    path.write_bytes(result.stdout_bytes)
    assert command("restore", str(path), "--force").exit_code == 0


@pytest.mark.parametrize("words", [("--keep", "3"), ("--json",)])
def test_stdout_is_for_the_backup_alone(command: Command, deployed: Path, words: tuple[str, ...]) -> None:
    assert command("backup", "--to", "-", *words).exit_code == 2


def test_without_a_cluster(command: Command) -> None:
    result = command("backup")
    assert result.exit_code == 2 and "slurm-powersave deploy" in result.stderr


def test_restore_says_what_comes_next(command: Command, deployed: Path, tmp_path: Path) -> None:
    path = str(tmp_path / "b")
    command("backup", "--to", path)
    refused = command("restore", path)
    assert refused.exit_code == 7 and "--force" in refused.stderr
    result = command("restore", path, "--force")
    assert result.exit_code == 0, result.stderr
    assert f"state directory: {deployed}\n" in result.stdout and "start the engine" in result.stdout
    assert "The brake is on" in result.stdout
    value = json.loads(command("restore", path, "--force", "--json").stdout)
    assert value["state_dir"] == str(deployed) and value["moved"] and not value["deploy_first"]


def test_restore_on_a_host_without_a_cluster_file(
    command: Command, deployed: Path, tmp_path: Path, cluster_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(tmp_path / "b")
    command("backup", "--to", path)
    cluster_file.unlink()
    for child in sorted(deployed.rglob("*"), reverse=True):
        child.rmdir() if child.is_dir() else child.unlink()
    monkeypatch.chdir(tmp_path)
    result = command("restore", path, cluster=None)
    assert result.exit_code == 0, result.stderr
    assert cluster_file.exists() and f"cluster file, from the backup: {cluster_file}\n" in result.stdout


@pytest.mark.parametrize("content", [None, b"", b"no backup"])
def test_what_is_no_backup(command: Command, tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "b"
    if content is not None:
        path.write_bytes(content)
    result = command("restore", str(path))
    assert result.exit_code == 2 and str(path) in result.stderr
