"""A banner alone is no answer, and no silence of the other side holds ssh or the probe for long."""

import shlex
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from slurm_powersave.adapters.ssh import probe
from slurm_powersave.decide.slurm_files import ssh_options

BANNER = b"SSH-2.0-x\r\n"
KEXINIT = b"\0\0\0\x0c\x0a\x14" + b"\0" * 16


@contextmanager
def served(dialog: Callable[[socket.socket], None]) -> Iterator[int]:
    """Serve connections on a port until the test is over; each is held open when `talk` has ended."""
    over = threading.Event()

    def one(connection: socket.socket) -> None:
        with connection:
            try:
                dialog(connection)
                over.wait(30)
            except OSError:
                pass  # the other side has had enough

    def accept() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=one, args=[connection], daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=accept, daemon=True).start()
        try:
            yield server.getsockname()[1]
        finally:
            over.set()
            server.shutdown(socket.SHUT_RDWR)


def trickle(connection: socket.socket) -> None:
    """Say a little again and again, and never anything of use."""
    connection.sendall(b"SSH-2.0-")
    for _ in range(100):
        connection.sendall(b"x")
        time.sleep(0.05)


def in_parts(connection: socket.socket) -> None:
    """A slow host."""
    for part in (BANNER[:3], BANNER[3:], KEXINIT[:4], KEXINIT[4:]):
        connection.sendall(part)
        time.sleep(0.03)


@pytest.mark.parametrize(
    ("dialog", "up"),
    [
        (lambda connection: connection.sendall(BANNER + KEXINIT), True),
        (in_parts, True),
        (lambda connection: connection.sendall(BANNER), False),
        (lambda connection: connection.sendall(BANNER + KEXINIT[:5]), False),
        (lambda connection: connection.sendall(BANNER + b"\0\0\0\x0c\x0a\x01"), False),
        (lambda connection: connection.sendall(b"HTTP/1.1 200 OK\r\n" + KEXINIT), False),
        (lambda connection: connection.sendall(b"SSH-" + b"x" * 5000), False),
        (lambda connection: None, False),
        (trickle, False),
    ],
)
def test_who_begins_a_key_exchange_answers(dialog: Callable[[socket.socket], None], up: bool) -> None:
    with served(dialog) as port:
        began = time.monotonic()
        assert probe.answers("127.0.0.1", port, 0.5) is up
        assert time.monotonic() - began < 1.5


def test_who_is_not_there_does_not_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert probe.answers("127.0.0.1", port, 0.5) is False


@pytest.mark.parametrize(
    ("options", "seconds"),
    [
        (lambda path: ssh_options.argv(path, path)[1:], 15),
        (lambda path: shlex.split(ssh_options.ansible(path)), 30),
    ],
    ids=["argv", "ansible"],
)
def test_every_ssh_gives_a_silent_host_up(
    tmp_path: Path, options: Callable[[Path], list[str]], seconds: int
) -> None:
    said = subprocess.run(
        ["ssh", *options(tmp_path / "x"), "-G", "127.0.0.1"], capture_output=True, text=True, check=True
    ).stdout
    found = dict(line.split(" ", 1) for line in said.splitlines() if " " in line)
    silence = int(found["serveraliveinterval"]) * int(found["serveralivecountmax"])
    assert 0 < int(found["connecttimeout"]) <= 10
    assert silence > 0 and silence <= seconds


def test_ssh_is_not_held_by_a_banner(tmp_path: Path) -> None:
    """The interval is cut to a second, so that the test need not wait for longer."""
    with served(lambda connection: connection.sendall(BANNER)) as port:
        ssh = ssh_options.argv(tmp_path / "known_hosts", tmp_path / "key")
        argv = [
            ssh[0],
            "-oServerAliveInterval=1",
            *ssh[1:],
            "-p",
            str(port),
            "-l",
            "root",
            "127.0.0.1",
            "true",
        ]
        began = time.monotonic()
        assert subprocess.run(argv, capture_output=True, timeout=30).returncode == 255
        assert 2 < time.monotonic() - began < 15
