"""Runs one guest until it is powered off: supervisor.py ROOT/servers/ID

One process per server, started by `guest.launch`, in a session of its own. It holds a mount
namespace with the server's overlay (so that nothing can stay mounted when all is dead), makes a
time namespace for every boot, and starts systemd-nspawn again when the guest reboots itself.

Signals: TERM powers the guest off in good order, QUIT at once.

Why the time namespace and the wait: slurmctld takes a registration only if the node booted after it
was asked for. It computes the boot time as now() - uptime, whole seconds, and the kernel rounds the
uptime up (sysinfo(2)). With an uptime that starts at exactly 0 in the second N, the result is N - 1
or N; so a boot must begin in a later second than the request, and no later than that.
"""

import contextlib
import ctypes
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from local_cloud.cgroups import GuestCgroups
from local_cloud.store import Store, read_json, write_json

CLONE_NEWNS, CLONE_NEWTIME = 0x00020000, 0x00000080
MS_REC, MS_SLAVE = 0x4000, 0x80000
PR_SET_PDEATHSIG = 1
REBOOT = 133
"""systemd-nspawn's exit code when the guest asked for a reboot and --keep-unit is given."""
ORDERLY = 5
"""Seconds that a guest may take to power off in good order."""
TICK = 0.01
"""Seconds; time(2) may lag behind by one kernel tick."""

libc = ctypes.CDLL(None, use_errno=True)


def _call(what: str, result: int) -> None:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")


def first_moment(requested: float) -> float:
    """When a boot may begin that was asked for at `requested`; both in seconds since the epoch."""
    return int(requested) + 1 + TICK


class Supervisor:
    """One server's guest."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.store = Store(home.parent.parent)
        self.record: dict[str, Any] = read_json(home / "server.json")
        self.order: dict[str, Any] = read_json(home / "order.json")
        self.settings = self.store.settings()
        self.cgroups = GuestCgroups(self.store.tag, self.record["id"])
        self.boots = int(read_json(home / "boot.json", {}).get("boots", 0))
        self.limits: list[str] = []
        self.vanish_at = time.monotonic() + self.order["vanish"] if self.order["vanish"] else None
        self.guest: subprocess.Popen[bytes] | None = None

    def say(self, **facts: Any) -> None:
        """Publish what the creator waits for and what `show` tells."""
        token = self.order["token"]
        write_json(
            self.home / "boot.json", {"token": token, "boots": self.boots, "limits": self.limits, **facts}
        )

    def run(self) -> None:
        """Boot the guest, again and again if it reboots; return when it is off."""
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGQUIT, signal.SIGCHLD})
        try:
            self._make_cgroups()
            self._mount()
        except Exception as error:
            self.say(error=str(error))
            raise
        self.say()
        not_before = float(self.order["requested"])
        asked = self._sleep(self.order["delay"])
        if self.order["boot_fails"] and not asked:
            (self.home / "console.log").write_text(
                "Kernel panic - not syncing: VFS: Unable to mount root fs\n"
            )
            asked = self._sleep(None)
        while not asked:
            asked = self._sleep(max(0.0, first_moment(not_before) - time.time())) or self._boot()
            not_before = time.time()
        self.cgroups.kill()
        self.cgroups.remove()
        if asked == "vanish":
            self._vanish()

    def _make_cgroups(self) -> None:
        """Anew for each boot: on cgroup v2 the last one left inner nodes, which nobody may enter."""
        flavor = self.store.flavor(self.record["flavor"])
        self.cgroups.remove()
        self.limits = self.cgroups.make(flavor["vcpus"], flavor["ram"])

    def _mount(self) -> None:
        _call("unshare", libc.unshare(CLONE_NEWNS))
        _call("mount", libc.mount(b"none", b"/", None, MS_REC | MS_SLAVE, None))
        lower = self.record["image_path"]
        options = f"lowerdir={lower},upperdir={self.home}/upper,workdir={self.home}/work"
        try:
            _call(
                "mount of the overlay",
                libc.mount(b"overlay", str(self.home / "root").encode(), b"overlay", 0, options.encode()),
            )
        except OSError as error:
            raise OSError(f"{error} (is {self.home} on an overlay itself? {options})") from None

    def _sleep(self, seconds: float | None) -> str:
        """Wait for a signal at most so long (None: for ever); say what to do now, "" for go on."""
        end = None if seconds is None else time.monotonic() + seconds
        while end is None or time.monotonic() < end:
            ends = [moment for moment in (end, self.vanish_at) if moment is not None]
            left = max(0.0, min(ends) - time.monotonic()) if ends else 3600.0
            got = signal.sigtimedwait({signal.SIGTERM, signal.SIGQUIT, signal.SIGCHLD}, left)
            if got is not None and got.si_signo == signal.SIGCHLD:
                if self.guest is not None and self.guest.poll() is not None:
                    return ""
            elif got is not None:
                return "off" if got.si_signo == signal.SIGTERM else "kill"
            elif self.vanish_at is not None and time.monotonic() >= self.vanish_at:
                return "vanish"
        return ""

    def _boot(self) -> str:
        """One boot of the guest; "" when it rebooted itself."""
        self.boots += 1
        self._make_cgroups()
        _call("unshare", libc.unshare(CLONE_NEWTIME))
        now = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        offset, rest = divmod(-now, 1_000_000_000)
        Path("/proc/self/timens_offsets").write_text(f"boottime {offset} {rest}\n")
        record = self.record
        argv = ["systemd-nspawn", "--boot", "--quiet", "--settings=no", "--register=no", "--keep-unit"]
        # A new machine name for each boot: the old one's veth goes a little later than its processes.
        argv += [f"--machine={record['id'][:8]}-{self.boots}", f"--hostname={record['name']}"]
        argv += [f"--directory={self.home}/root", f"--bind={self.store.share}:/mnt/ohpc"]
        argv += [f"--network-bridge={self.settings['bridge']}", "--console=read-only"]
        argv += ["--link-journal=no", "--resolv-conf=off", "--timezone=off"]
        if calls := self.settings.get("system_calls"):
            argv.append(f"--system-call-filter={' '.join(calls)}")
        with (self.home / "console.log").open("ab") as console:
            self.guest = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=console, stderr=console, preexec_fn=self._in_child
            )
        self.say(boot_time=time.time(), pid=os.getpid())
        asked = self._sleep(None)
        if asked == "off":
            self.guest.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.guest.wait(ORDERLY)
        self.cgroups.kill()
        code = self.guest.wait()
        self.guest = None
        return asked or ("" if code == REBOOT else "off")

    def _in_child(self) -> None:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)  # a supervisor that is killed takes the guest with it
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        self.cgroups.enter()

    def _vanish(self) -> None:
        gone = self.store.trash / self.record["id"]
        self.home.rename(gone)
        shutil.rmtree(gone, ignore_errors=True)


def main() -> None:
    """Take the server's lock, so that it has one supervisor at most, and run."""
    home = Path(sys.argv[1])
    with (home / "running").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        lock.truncate(0)
        lock.write(json.dumps({"pid": os.getpid()}))
        lock.flush()
        Supervisor(home).run()


if __name__ == "__main__":
    main()
