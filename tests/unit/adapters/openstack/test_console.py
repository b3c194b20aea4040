"""SSH host keys from what a console shows."""

import socket
import time
from pathlib import Path

import pytest

from slurm_powersave.adapters.openstack import console
from slurm_powersave.adapters.openstack.console import BEGIN, END, shown
from tests.openstack.http_cloud import public_key

FIRST, SECOND = public_key(secret=b"1" * 32), public_key(secret=b"2" * 32)
RSA = public_key("ssh-rsa", b"3" * 32)


def block(*lines: str) -> str:
    """A block as cloud-init prints it; a console ends its lines with CR LF."""
    return "\r\n".join((BEGIN, *lines, END, ""))


@pytest.mark.parametrize(
    ("console", "found"),
    [
        ("", ""),
        ("[  OK  ] Reached target Cloud-init target.\r\n", ""),
        (block(f"{FIRST} root@n1"), FIRST),
        (block(f"{RSA} root@n1", f"{FIRST} root@n1"), f"{FIRST}\n{RSA}"),
        (block(FIRST) + "login: " + block(SECOND), FIRST),
        (block(FIRST) + f"{BEGIN}\r\n{SECOND}", FIRST),
        (f"{BEGIN}\r\n{SECOND[:40]}" + block(FIRST), FIRST),
        (f"{BEGIN}\r\n{FIRST}", ""),
        (f"{FIRST}\r\n", ""),
        (f"{FIRST}\r\n{END}", ""),
        (block(f"[   12.345678] cloud-init[812]: {FIRST} root@n1"), FIRST),
        (block("[   13.1] audit: type=1400", FIRST, "[  OK  ] Started"), FIRST),
        (block(f"{FIRST[:40]}[  OK  ] Started", RSA), RSA),
        (block(FIRST[:-8], RSA), RSA),
        (block(f"ssh-ed25519 {FIRST.split()[1].swapcase()}", RSA), RSA),
        (block(f"ssh-rsa {FIRST.split()[1]}"), ""),
    ],
)
def test_the_first_whole_block_counts_and_in_it_the_whole_keys(console: str, found: str) -> None:
    assert next(iter(shown(console).blocks), "") == found


def test_first_use_asks_whatever_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ssh-keyscan, with the address as an argument and nothing else."""
    tool = tmp_path / "ssh-keyscan"
    tool.write_text(
        f'#!/bin/sh\necho "$@" >>{tmp_path}/asked\ncase "$*" in *10.0.0.2) echo "10.0.0.2 {FIRST}";; esac\n'
    )
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert console.scan(["10.0.0.1", "10.0.0.2", "10.0.0.3"]) == FIRST
    asked = (tmp_path / "asked").read_text().splitlines()
    assert [line.split()[-1] for line in asked] == ["10.0.0.1", "10.0.0.2"]
    assert console.scan(["10.0.0.3"]) == ""


@pytest.mark.root  # it listens on port 22 of a loopback address
def test_first_use_does_not_wait_for_a_host_that_is_silent() -> None:
    """The kernel takes the connection, and nobody speaks."""
    with socket.create_server(("127.0.0.77", 22)):
        begin = time.monotonic()
        assert console.scan(["127.0.0.77"]) == ""
        assert console.SCAN_TIMEOUT - 1 <= time.monotonic() - begin <= console.SCAN_TIMEOUT + 3
