"""A real sshd, with keys and a configuration of a test's own."""

import contextlib
import getpass
import os
import shlex
import signal
import socket
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

from tests.intake_chaos import children
from tests.waiting import within

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
