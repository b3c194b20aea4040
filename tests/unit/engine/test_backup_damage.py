"""Backups that are damaged, changed, or full of links: refused, and nothing is changed."""

import io
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from slurm_powersave.adapters.state_dir import archive
from slurm_powersave.commands import backup
from slurm_powersave.model.errors import ConfigError
from tests.unit.commands.backup_host import Host, files


@pytest.fixture
def host(tmp_path: Path) -> Host:
    made = Host(tmp_path / "host")
    made.deploy()
    return made


def damaged(path: Path, how: str) -> bytes:
    content = path.read_bytes()
    match how:
        case "cut":
            return content[: len(content) * 2 // 3]
        case "a bit":
            middle = len(content) // 2
            return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
        case "empty":
            return b""
        case _:
            return b"not a tar file at all\n" * 100


@pytest.mark.parametrize("how", ["cut", "a bit", "empty", "other"])
def test_a_damaged_file_is_refused_and_nothing_is_changed(host: Host, how: str) -> None:
    path = host.root / "b.tar.gz"
    backup.make(host.site, path)
    path.write_bytes(damaged(path, how))
    before = files(host.state)
    with pytest.raises(ConfigError, match=r"b\.tar\.gz"):
        host.restore(path, force=True)
    assert files(host.state) == before


def rewritten(path: Path, **changes: bytes | None) -> None:
    """Write a backup anew with a member's content changed, or without it; a new one comes last."""
    with tarfile.open(path) as old:
        members = {entry.name: old.extractfile(entry).read() for entry in old}  # type: ignore[union-attr]
    named = {name.replace("__", "/"): content for name, content in changes.items()}
    with tarfile.open(path, "w:gz") as new:
        for name, content in (members | named).items():
            if content is not None:
                entry = tarfile.TarInfo(name)
                entry.size = len(content)
                new.addfile(entry, io.BytesIO(content))


@pytest.mark.parametrize(
    "changes",
    [
        {"state__known_hosts": b"demo-login ssh-ed25519 BBBB\n"},
        {"state__known_hosts": None},
        {"state__authorized": b"x"},
        {"..__..__x": b"x"},
    ],
    ids=["another content", "a member less", "a member more", "a member elsewhere"],
)
def test_a_changed_file_is_refused(host: Host, changes: dict[str, bytes | None]) -> None:
    path = host.root / "b.tar.gz"
    backup.make(host.site, path)
    rewritten(path, **changes)
    before = files(host.state)
    with pytest.raises(ConfigError, match="damaged"):
        host.restore(path, force=True)
    assert files(host.state) == before


def test_links_are_refused(host: Host, tmp_path: Path) -> None:
    path = host.root / "b.tar.gz"
    made = backup.make(host.site, path)
    text = replace(made.manifest, members={}).text().encode()
    with tarfile.open(path, "w:gz") as tar:
        entry = tarfile.TarInfo("manifest.json")
        entry.size = len(text)
        tar.addfile(entry, io.BytesIO(text))
        link = tarfile.TarInfo("cluster.yml")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    with pytest.raises(ConfigError, match="no plain file"):
        host.restore(path, force=True)


def test_a_backup_that_does_not_verify_is_not_left(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(path: Path) -> None:
        raise ConfigError("the file is no backup, or is damaged")

    monkeypatch.setattr(archive, "verify", fails)
    with pytest.raises(ConfigError, match="damaged"):
        backup.make(host.site)
    assert list((host.state / "backups").iterdir()) == []
