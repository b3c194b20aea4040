"""The cluster's known_hosts: what stays, what goes, what is refused."""

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from slurm_powersave.adapters.ssh import known_hosts
from slurm_powersave.model.errors import ConfigError

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJY7yBaJ9VaDsV7rc1bMXuKXRWgapNkXDcU73uzJ50es"
NEXT = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHeKAWUw4k2faAuM01dFRxnNeTT5yMPPzirljqrJNJxx"


def record(path: Path, name: str, address: str, keys: str = KEY) -> None:
    """Record one host."""
    known_hosts.record(path, {(name, address): known_hosts.key_lines((name, address), keys)})


def test_a_host_is_known_by_name_and_address(tmp_path: Path) -> None:
    path = tmp_path / "known_hosts"
    record(path, "demo-1", "10.0.0.1", f"{KEY} root@image\n")
    assert path.read_text() == f"demo-1,10.0.0.1 {KEY}\n"
    assert known_hosts.known(path) == {"demo-1", "10.0.0.1"}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize(("name", "address"), [("demo-1", "10.0.0.9"), ("demo-9", "10.0.0.1")])
def test_a_new_server_at_an_old_name_or_address_replaces_the_old_line(
    tmp_path: Path, name: str, address: str
) -> None:
    path = tmp_path / "known_hosts"
    record(path, "demo-1", "10.0.0.1")
    record(path, "demo-10", "10.0.0.10")
    record(path, name, address, NEXT)
    assert path.read_text() == f"demo-10,10.0.0.10 {KEY}\n{name},{address} {NEXT}\n"


def test_all_keys_of_a_host_are_recorded_once(tmp_path: Path) -> None:
    path = tmp_path / "known_hosts"
    ecdsa = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAI="
    record(path, "demo-1", "10.0.0.1", f"{KEY}\n{ecdsa} a comment\n{KEY}\n")
    assert path.read_text() == f"demo-1,10.0.0.1 {ecdsa}\ndemo-1,10.0.0.1 {KEY}\n"


@pytest.mark.parametrize(
    "text", ["", "\n", "not a key", "ssh-ed25519", f"{KEY}\n[  OK  ] Started", f"* {KEY}"]
)
def test_what_is_no_key_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"demo-1.*host key"):
        known_hosts.key_lines(("demo-1", "10.0.0.1"), text)


def test_no_line_is_lost_when_many_are_written_at_once(tmp_path: Path) -> None:
    path = tmp_path / "known_hosts"
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: record(path, f"demo-{number}", f"10.0.0.{number}"), range(40)))
    assert len(path.read_text().splitlines()) == 40


def test_without_a_file_nobody_is_known(tmp_path: Path) -> None:
    assert known_hosts.known(tmp_path / "known_hosts") == frozenset()
