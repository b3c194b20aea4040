"""The stream through this host's ssh and a real sshd, with keys and a configuration of the test's own."""

import contextlib
import getpass
import itertools
import os
import random
import shlex
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import pytest

from slurm_powersave.adapters.requests.stream import StreamIntake
from tests.hook_scripts import HookScripts
from tests.intake_chaos import Journal, all_delivered, children, every_hook_called, processes
from tests.waiting import within

pytestmark = pytest.mark.root  # for the guest image
GUEST_IMAGE = Path(__file__).resolve().parents[2] / "demo" / "guests" / "build"


def kill(pids: Iterable[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


ENTER = """
set -e
mount --bind "$1" /etc/passwd
mount -t tmpfs -o mode=755 tmpfs /run
mkdir /run/sshd
shift
exec "$@"
"""
"""Gives sshd the user and the directory that it insists on, in a mount namespace of its own."""


def sshd_program(directory: Path) -> Sequence[str]:
    """Return the argv of a guest image's sshd.

    The package openssh-server would start one on this machine, and then every run after it would find what
    a bare machine lacks. Debian 12's image: sshd 10 executes other programs, of this machine, for a session.
    """
    build = subprocess.run((GUEST_IMAGE, "--slurm", "22.05"), stdout=subprocess.PIPE, text=True, check=True)
    image = build.stdout.splitlines()[-1]
    libraries = ":".join(str(path.parent) for path in Path(image, "usr/lib").glob("*/libc.so.6"))
    (loader,) = Path(image, "usr/lib").glob("*/ld-linux-*.so.*")
    users = directory / "passwd"
    users.write_text(Path("/etc/passwd").read_text() + "sshd:x:65534:65534::/run/sshd:/usr/sbin/nologin\n")
    namespace = ("unshare", "--mount", "sh", "-c", ENTER, "sh", str(users))
    # -r: it can't execute itself anew for each connection when the loader has started it.
    return (*namespace, str(loader), "--library-path", libraries, f"{image}/usr/sbin/sshd", "-r")


class Sshd:
    """An sshd on 127.0.0.1 that knows one key."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir(mode=0o700)
        for name in ("host", "client"):
            keygen = ("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(directory / name))
            subprocess.run(keygen, check=True)
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        (directory / "known_hosts").write_text(
            f"[127.0.0.1]:{self.port} {(directory / 'host.pub').read_text()}",
        )
        (directory / "sshd_config").write_text(
            f"Port {self.port}\nListenAddress 127.0.0.1\nHostKey {directory}/host\nPidFile none\n"
            f"AuthorizedKeysFile {directory}/client.pub\nStrictModes no\nUsePAM no\n"
            "PasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin yes\n"
        )
        self.argv = (*sshd_program(directory), "-D", "-e", "-f", str(directory / "sshd_config"))
        self.process = self.run()

    def run(self) -> subprocess.Popen[bytes]:
        """Start it and wait until it answers."""
        with (self.directory / "log").open("ab") as log:
            process = subprocess.Popen(self.argv, stdin=subprocess.DEVNULL, stderr=log)
        within(10, lambda: self.answers() or process.poll() is not None)
        assert process.poll() is None and self.answers(), (self.directory / "log").read_text()
        return process

    def answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as connection:
                return connection.recv(4) == b"SSH-"
        except OSError:
            return False

    def stop(self) -> None:
        """End the listener and every session."""
        self.drop()
        self.process.kill()
        self.process.wait()

    def drop(self) -> None:
        """Kill the sessions."""
        kill(children("sshd", of=self.process.pid))

    def ssh(self, command: list[str]) -> list[str]:
        """Return the argv that runs a command over there."""
        options = {
            "BatchMode": "yes",
            "StrictHostKeyChecking": "yes",
            "UserKnownHostsFile": self.directory / "known_hosts",
            "GlobalKnownHostsFile": "/dev/null",
            "IdentitiesOnly": "yes",
            "IdentityFile": self.directory / "client",
            "ControlPath": "none",
            "LogLevel": "ERROR",
        }
        given = [f"-o{key}={value}" for key, value in options.items()]
        user = f"{getpass.getuser()}@127.0.0.1"
        return ["ssh", "-F", "none", "-T", *given, "-p", str(self.port), user, shlex.join(command)]


@pytest.fixture
def sshd(tmp_path: Path) -> Iterator[Sshd]:
    server = Sshd(tmp_path / "ssh")
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture
def hooks(tmp_path: Path) -> HookScripts:
    return HookScripts(tmp_path / "site")


def test_a_call_arrives_through_ssh(sshd: Sshd, hooks: HookScripts) -> None:
    with StreamIntake(sshd.ssh(hooks.reader())) as intake:
        assert within(10, lambda: intake.connected), intake.state()
        began = time.monotonic()
        hooks.call("resume", "c1")
        assert intake.wake.wait(5)
        assert time.monotonic() - began < 1
        ((request_id, _),) = intake.receive()
        intake.acknowledge(request_id)
        assert within(5, lambda: hooks.requests() == [])
    assert within(5, lambda: processes(str(hooks.spool)) == []), "the reader outlived the connection"


def test_a_host_whose_key_is_not_ours_is_named(sshd: Sshd, hooks: HookScripts) -> None:
    (sshd.directory / "known_hosts").write_text("")
    with StreamIntake(sshd.ssh(hooks.reader())) as intake:
        assert within(10, lambda: "Host key verification failed" in intake.state()), intake.state()


def test_a_host_that_is_away_for_a_while(sshd: Sshd, hooks: HookScripts) -> None:
    sshd.stop()
    with StreamIntake(sshd.ssh(hooks.reader()), longest_backoff=0.5) as intake:
        assert within(10, lambda: "Connection refused" in intake.state()), intake.state()
        hooks.call("resume", "c1")
        sshd.process = sshd.run()
        assert intake.wake.wait(10)
        assert len(intake.receive()) == 1


def test_200_calls_through_everything_that_can_be_killed(sshd: Sshd, hooks: HookScripts) -> None:
    dice = random.Random(7)
    journal = Journal()
    reader = f"--spool\0{hooks.spool}"
    cuts: dict[str, Callable[[], object]] = {
        "ssh killed": lambda: kill(children("StrictHostKeyChecking")),
        "sshd's sessions killed": sshd.drop,
        "reader killed": lambda: kill(set(processes(reader)) - set(children(reader))),
        "engine gone": lambda: None,
    }
    turns = itertools.cycle(cuts)
    made: list[str] = []
    with every_hook_called(hooks, 200, pause=0.1) as calls:
        while not all_delivered(hooks, calls):
            with StreamIntake(sshd.ssh(hooks.reader()), backoff=0.02, longest_backoff=0.2) as intake:
                turn = ""
                until = time.monotonic() + 3
                while turn != "engine gone" and time.monotonic() < until:
                    before = len(journal.requests)
                    journal.collect(intake, forget=dice.random() < 0.2)
                    if len(journal.requests) > before + 3:
                        turn = next(turns)
                        cuts[turn]()
                        made.append(turn)
            assert time.monotonic() < calls.deadline, "not all were delivered in time"
    assert journal.nodes() == sorted(f"n{number}" for number in range(200))
    assert set(made) == set(cuts)


def test_a_connection_that_hangs_is_given_up(sshd: Sshd, hooks: HookScripts) -> None:
    with StreamIntake(sshd.ssh(hooks.reader()), silence=6.0) as intake:
        assert within(10, lambda: intake.connected), intake.state()
        hung = children("sshd", of=sshd.process.pid)
        for pid in hung:
            os.kill(pid, signal.SIGSTOP)
        hooks.call("resume", "c1")
        assert intake.wake.wait(12)
        assert len(children("sshd", of=sshd.process.pid)) > len(hung)
        for pid in hung:
            os.kill(pid, signal.SIGCONT)
        ((request_id, _),) = intake.receive()
        intake.acknowledge(request_id)
        assert within(5, lambda: hooks.requests() == [])
        assert within(5, lambda: len(processes(f"reader.py\0--spool\0{hooks.spool}")) == 1)
        assert intake.receive() == []
