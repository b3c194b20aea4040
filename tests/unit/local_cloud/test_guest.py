"""What is read from a console, and when a boot may begin."""

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from local_cloud.guest import BEGIN, END, Guest
from local_cloud.store import Store
from local_cloud.supervisor import first_moment


def block(key: str) -> str:
    return f"{BEGIN}\r\n{key} root@n1\r\n{END}\r\n"


@pytest.mark.parametrize(
    ("console", "key"),
    [
        ("", ""),
        ("Welcome\n", ""),
        (f"{BEGIN}\nssh-ed25519 AAAA\n", ""),
        ("Welcome\n" + block("ssh-ed25519 AAAA"), "ssh-ed25519 AAAA"),
        (block("ssh-ed25519 AAAA") + "reboot\n" + block("ssh-ed25519 BBBB"), "ssh-ed25519 AAAA"),
        (block("ssh-ed25519 AAAA") + f"{BEGIN}\nssh-ed25519 BB", "ssh-ed25519 AAAA"),
        (f"{BEGIN}\nssh-ed25519 AA" + "power cut\n" + block("ssh-ed25519 BBBB"), "ssh-ed25519 BBBB"),
        (f"ssh-ed25519 AAAA\n{END}\n" + block("ssh-ed25519 BBBB"), ""),
        (block("ssh-ed25519 AAAA") + "x" * 300_000 + block("ssh-ed25519 BBBB"), "ssh-ed25519 AAAA"),
    ],
)
def test_the_host_key_is_the_first_whole_one(tmp_path: Path, console: str, key: str) -> None:
    guest = Guest(Store(tmp_path), "id")
    guest.home.mkdir(parents=True)
    (guest.home / "console.log").write_text(console)
    assert guest.host_key() == key


def test_the_files_of_a_server_have_their_modes_whatever_our_umask_is(tmp_path: Path) -> None:
    guest = Guest(Store(tmp_path), "id")
    record = {"name": "n1", "address": "10.0.0.5", "key_pair": "ssh-ed25519 AAAA"}
    guest.lay_out(record, "10.0.0.1", 16)
    upper = guest.home / "upper"
    modes = {name: (upper / name).stat().st_mode & 0o777 for name in (".", "etc", "root", "root/.ssh")}
    assert modes == {".": 0o755, "etc": 0o755, "root": 0o700, "root/.ssh": 0o700}
    assert (upper / "etc/guest-network").read_text() == "10.0.0.5/16 10.0.0.1\n"
    assert (upper / "root/.ssh/authorized_keys").stat().st_mode & 0o777 == 0o600


@given(
    st.floats(1e9, 2e9),
    st.floats(0, 3, exclude_min=True),
    st.floats(0, 1e6, exclude_min=True),
    st.floats(0, 0.004),
)
def test_no_guest_is_older_than_its_request(asked: float, late: float, uptime: float, lag: float) -> None:
    """As Slurm computes it: time(2), which lags up to a tick, minus the uptime that sysinfo(2) rounds up."""
    began = max(asked + late, first_moment(asked))
    boot_time = math.floor(began + uptime - lag) - math.ceil(uptime)
    assert boot_time >= math.floor(asked)
