"""A server's disk and process, seen from outside: lay out, launch, stop, read the console."""

import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Any

from local_cloud import cgroups
from local_cloud.errors import CloudFault
from local_cloud.store import Store, read_json, write_json

BEGIN, END = "-----BEGIN SSH HOST KEY KEYS-----", "-----END SSH HOST KEY KEYS-----"
"""cloud-init's marks on the console around the host's public keys."""
_KEY_WITHIN = 1 << 20
"""Characters of a console in which the first boot has shown its key."""


class Guest:
    """One server's directory."""

    def __init__(self, store: Store, server_id: str) -> None:
        self.store = store
        self.id = server_id
        self.home = store.servers / server_id

    def lay_out(self, record: dict[str, Any], gateway: str, prefix: int) -> None:
        """Write the server's own files over the image's: name, address, key. Safe to repeat."""
        for part in ("work", "root", "upper"):
            _directory(self.home / part, 0o755)
        etc, ssh = self.home / "upper/etc", self.home / "upper/root/.ssh"
        _directory(etc, 0o755)
        _directory(ssh.parent, 0o700)
        _directory(ssh, 0o700)
        for path, mode, text in (
            (etc / "hostname", 0o644, record["name"]),
            (etc / "hosts", 0o644, f"127.0.0.1 localhost\n{record['address']} {record['name']}"),
            (etc / "guest-network", 0o644, f"{record['address']}/{prefix} {gateway}"),
            (ssh / "authorized_keys", 0o600, record["key_pair"].strip()),
        ):
            path.write_text(text + "\n")
            path.chmod(mode)

    def wipe(self) -> None:
        """Throw the disk and its console away."""
        for part in ("upper", "work"):
            shutil.rmtree(self.home / part, ignore_errors=True)
        (self.home / "console.log").unlink(missing_ok=True)

    def launch(
        self,
        requested: float,
        *,
        delay: float = 0,
        boot_fails: bool = False,
        vanish: float = 0,
        timeout: float = 30,
    ) -> None:
        """Start the supervisor, and return when it has made mounts and cgroups.

        `requested` is when the boot was asked for at the latest (seconds since the epoch): the
        guest's boot time will not be before it.
        """
        if self.running():
            return
        if shutil.which("systemd-nspawn") is None:
            raise CloudFault("host", "systemd-nspawn is missing: apt-get install systemd-container")
        token = uuid.uuid4().hex
        order = {
            "token": token,
            "requested": requested,
            "delay": delay,
            "boot_fails": boot_fails,
            "vanish": vanish,
        }
        write_json(self.home / "order.json", order)
        script = Path(__file__).with_name("supervisor.py")
        argv = [sys.executable, "-I", "-S", str(script), str(self.home)]
        log = self.home / "supervisor.log"
        if cgroups.systemd_is_init():
            unit = f"--unit=slurm-powersave-{self.store.tag}-{self.id[:8]}-{token[:8]}"
            options = [
                "--quiet",
                "--collect",
                unit,
                "--slice=slurmpowersave.slice",
                "--property=Delegate=yes",
            ]
            options += [f"--property=StandardOutput=append:{log}", f"--property=StandardError=append:{log}"]
            options += ["--property=OOMPolicy=continue", "--property=TasksMax=infinity"]
            argv = ["systemd-run", *options, "--", *argv]
        with log.open("ab") as stream:
            child = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, cwd="/", start_new_session=True
            )
        deadline = time.monotonic() + timeout
        while (boot := self.boot()).get("token") != token:
            code = child.poll()
            # systemd-run ends at once; without it the child is the supervisor itself.
            ended = code is not None and (code != 0 or not cgroups.systemd_is_init())
            if ended and self.boot().get("token") != token:
                raise CloudFault(
                    "host", f"the guest's supervisor ended: {log.read_text(errors='replace')[-500:]}"
                )
            if time.monotonic() > deadline:
                raise CloudFault(
                    "host", f"the guest's supervisor said nothing for {timeout:.0f} s; see {log}"
                )
            time.sleep(0.005)
        if boot.get("error"):
            raise CloudFault("host", boot["error"])

    def running(self) -> bool:
        """Tell whether the server has a supervisor: it holds a lock for as long as it lives."""
        try:
            with (self.home / "running").open() as lock:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except FileNotFoundError:
            return False
        return False

    def boot(self) -> dict[str, Any]:
        """Return what the supervisor published: boots, boot_time, pid, limits, error."""
        return dict(read_json(self.home / "boot.json", {}))

    def stop(self, *, orderly: bool) -> None:
        """Power off; whatever is left after a few seconds is killed."""
        pid = self._pid()
        if pid and self.running():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM if orderly else signal.SIGQUIT)
            self._wait(10)
            if self.running():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                self._wait(5)
        guest = cgroups.GuestCgroups(self.store.tag, self.id)
        if not cgroups.systemd_is_init():  # with systemd the guest's cgroups are its unit's, and gone
            guest.kill()
            guest.remove()
        if self.running():
            raise CloudFault("host", f"the supervisor of {self.id} (pid {pid}) does not end")

    def _wait(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while self.running() and time.monotonic() < deadline:
            time.sleep(0.005)

    def _pid(self) -> int:
        try:
            return int(json.loads((self.home / "running").read_text())["pid"])
        except (FileNotFoundError, ValueError, KeyError):
            return 0

    def console(self, size: int = 100_000) -> str:
        """Return the console's last characters."""
        try:
            return (self.home / "console.log").read_text(errors="replace")[-size:]
        except FileNotFoundError:
            return ""

    def host_key(self) -> str:
        """Return the SSH host's public key as the guest showed it first on its console; "" if not yet.

        Later ones may be by anybody who is root in it. A new disk begins a new console.
        """
        lines = [line.strip() for line in self._first(_KEY_WITHIN).splitlines()]
        if END not in lines:
            return ""
        shown = lines[: lines.index(END)]
        if BEGIN not in shown:
            return ""
        shown = shown[len(shown) - shown[::-1].index(BEGIN) :]
        keys = [" ".join(line.split()[:2]) for line in shown if line.startswith(("ssh-", "ecdsa-"))]
        return keys[-1] if keys else ""

    def _first(self, size: int) -> str:
        try:
            with (self.home / "console.log").open(errors="replace") as file:
                return file.read(size)
        except FileNotFoundError:
            return ""


def _directory(path: Path, mode: int) -> None:
    path.mkdir(parents=True, exist_ok=True)
    path.chmod(mode)  # whatever our umask is: in an overlay the upper directory's mode counts
