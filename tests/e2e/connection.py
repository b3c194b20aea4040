"""How the tests ask a cluster's machines: ssh, and one shared connection to the login node."""

import subprocess
import time
from pathlib import Path

_START = 5.0
"""Seconds that the shared connection may take to start or to end."""


class Connection:
    """Commands on the machines of the cluster below one directory.

    A test asks slurmctld about every 0.3 s, and a login of its own for each question is dear.
    """

    def __init__(self, root: Path, login: str) -> None:
        """`login` is the login node's address; key and known hosts are those of the state directory."""
        self._login, self._socket = login, root / "ssh"
        state = root / "state"
        self._argv = ["ssh", "-F", "/dev/null", "-i", f"{state}/keys/id_ed25519", "-o", "LogLevel=ERROR"]
        self._argv += ["-o", f"UserKnownHostsFile={state}/known_hosts"]
        self._argv += ["-o", "StrictHostKeyChecking=yes", "-o", "BatchMode=yes"]
        self._master: subprocess.Popen[bytes] | None = None

    def run(self, address: str, command: str, *, check: bool = True, timeout: float = 60) -> str:
        """Run a shell command as root and return its output; AssertionError if it fails."""
        shared = ["-S", str(self._socket)] if address == self._login and self._share() else []
        argv = [*self._argv, *shared, f"root@{address}", command]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=timeout, check=False)
        assert not check or done.returncode == 0, (command, done.returncode, done.stdout, done.stderr)
        return done.stdout.strip()

    def _share(self) -> bool:
        """Start the shared connection if there is none; False if the login node can't be reached."""
        if self._master and self._master.poll() is None:
            return True
        self._socket.unlink(missing_ok=True)
        alive = ["-o", "ServerAliveInterval=1", "-o", "ServerAliveCountMax=3"]
        argv = [*self._argv, *alive, "-N", "-M", "-S", str(self._socket), f"root@{self._login}"]
        null = subprocess.DEVNULL
        self._master = subprocess.Popen(argv, stdin=null, stdout=null, stderr=null)
        end = time.monotonic() + _START
        while not self._socket.exists() and self._master.poll() is None and time.monotonic() < end:
            time.sleep(0.02)
        return self._socket.exists()

    def close(self) -> None:
        """End the shared connection: the login node goes away."""
        if self._master:
            self._master.terminate()
            self._master.wait(_START)
            self._master = None
