"""Files that may be something else: named as what they are, and never waited for."""

import os
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import slurm_powersave
from slurm_powersave.adapters.ssh import known_hosts
from slurm_powersave.adapters.terraform.shards import read_contract
from slurm_powersave.commands.watch_file import digest
from slurm_powersave.config import pause_file, settings
from slurm_powersave.config.plain_file import read_bytes, read_text, wrong_kind
from slurm_powersave.model.errors import ConfigError, MachineError, TerraformError


def make(path: Path, kind: str) -> None:
    """Put something of a kind at a path."""
    if kind == "directory":
        path.mkdir()
    elif kind == "FIFO":
        os.mkfifo(path)
    elif kind == "socket":
        here = os.getcwd()
        os.chdir(path.parent)  # a socket's path is short
        try:
            with socket.socket(socket.AF_UNIX) as made:
                made.bind(path.name)
        finally:
            os.chdir(here)
    elif kind == "device":
        path.symlink_to("/dev/zero")


KINDS = ["directory", "FIFO", "socket", "device"]


def quickly(call: Callable[[], object]) -> object:
    """Call; AssertionError if it waits for somebody."""
    found: list[object] = []

    def do() -> None:
        try:
            found.append(call())
        except Exception as error:
            found.append(error)

    thread = threading.Thread(target=do, daemon=True)
    thread.start()
    thread.join(5)
    assert found, "it waits"
    return found[0]


def test_a_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes("ü\n".encode())
    assert read_bytes(tmp_path / "file") == b"\xc3\xbc\n"
    assert read_bytes(tmp_path / "file", 1) == b"\xc3"
    assert read_text(tmp_path / "file") == "ü\n"
    assert wrong_kind(tmp_path / "file") == ""
    with pytest.raises(FileNotFoundError):
        read_bytes(tmp_path / "none")


@pytest.mark.parametrize("kind", KINDS)
def test_anything_else_is_named(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "file"
    make(path, kind)
    error = quickly(lambda: read_bytes(path))
    assert isinstance(error, OSError) and error.strerror == f"Is a {kind}"


def test_a_fifo_that_comes_after_the_look_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    make(path, "FIFO")
    monkeypatch.setattr("slurm_powersave.config.plain_file.wrong_kind", lambda path: "")
    begin = time.monotonic()
    quickly(lambda: read_bytes(path))
    assert time.monotonic() - begin < 2


@pytest.mark.parametrize("kind", KINDS)
def test_every_reader_of_a_file_says_so(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "contract.json"
    make(path, kind)
    said = quickly(lambda: settings.load(path))
    assert isinstance(said, ConfigError) and f"Is a {kind}" in str(said) and str(path) in str(said)
    assert settings.find(path, {}) == path, "it is there: what it is, is told when it is read"
    assert quickly(lambda: digest(path)) == ""
    assert quickly(lambda: pause_file.read(path)) == f"Is a {kind}"
    assert isinstance(quickly(lambda: read_contract(tmp_path)), TerraformError)
    assert isinstance(quickly(lambda: known_hosts.known(path)), MachineError)


ALLOWED = {"adapters/processes/process.py": 3, "config/plain_file.py": 0}
"""Where a file is read in another way, and how often: below /proc."""


def test_files_are_read_here_and_nowhere_else() -> None:
    package = Path(slurm_powersave.__file__).parent
    found = {
        str(path.relative_to(package)): count
        for path in package.rglob("*.py")
        if (count := path.read_text().count(".read_text(") + path.read_text().count(".read_bytes("))
    }
    assert found == {name: count for name, count in ALLOWED.items() if count}
