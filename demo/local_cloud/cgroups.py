"""Cgroups of one guest, on cgroup v2, v1 and the hybrid of both, with and without systemd.

With systemd as PID 1 the supervisor is a service with Delegate=yes (`Guest.launch`), and the guest
lives in a cgroup below that service's. Without, cgroups are made below /slurm-powersave of every
hierarchy. `--keep-unit` makes systemd-nspawn share its caller's cgroup, so each guest needs its own.
"""

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

CONTROLLERS = ("cpu", "memory", "pids")
PERIOD = 100_000
"""Microseconds; a flavor's vcpus are a share of this, not pinned cores (task/affinity binds by number)."""


def systemd_is_init() -> bool:
    """Tell whether systemd runs the machine (sd_booted(3))."""
    return Path("/run/systemd/system").is_dir()


def hierarchies() -> dict[str, Path]:
    """Map each mounted hierarchy to its mount point: "" for v2, else v1 controllers (cgroups(7))."""
    found = {}
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        left, _, right = line.partition(" - ")
        kind, _, options = right.split(" ", 2)
        mount = Path(left.split()[4])
        if kind == "cgroup2":
            found[""] = mount
        elif kind == "cgroup":
            names = [name for name in options.split(",") if name in CONTROLLERS or name == "name=systemd"]
            if names:
                found[",".join(names)] = mount
    return found


def own_paths() -> dict[str, str]:
    """Map each of our process's v1 controllers ("" for v2) to its path in that hierarchy."""
    lines = [line.split(":", 2) for line in Path("/proc/self/cgroup").read_text().splitlines()]
    return {name: path for _, names, path in lines for name in names.split(",")}


class GuestCgroups:
    """The cgroups that one guest's processes live in."""

    def __init__(self, tag: str, server_id: str) -> None:
        self.parent = f"slurm-powersave/{tag}"
        self.directories: dict[str, Path] = {}
        paths = own_paths() if systemd_is_init() else {}
        for names, mount in hierarchies().items():
            own = paths.get(names.split(",")[0], "").lstrip("/")
            # Only where systemd gave us a cgroup of our own may something be made below it.
            base = mount / own / "guest" if own.endswith(".service") else mount / self.parent / server_id
            self.directories[names] = base

    def make(self, vcpus: int, ram: int) -> list[str]:
        """Make them with a flavor's limits (RAM in MiB); return the limits that could be set."""
        limits = []
        for names, path in self.directories.items():
            if names == "":
                self._delegate(path)
            path.mkdir(parents=True, exist_ok=True)
            for name, value in self._values(names, path, vcpus, ram):
                with contextlib.suppress(OSError):
                    (path / name).write_text(value)
                    limits.append(name)
        return limits

    def _delegate(self, path: Path) -> None:
        """Let a v2 cgroup's children have limits; a cgroup with processes in it can't (cgroups(7))."""
        mount = hierarchies()[""]
        if path.name == "guest":
            leaf = path.parent / "supervisor"
            leaf.mkdir(exist_ok=True)
            (leaf / "cgroup.procs").write_text(str(os.getpid()))
            parents = [path.parent]
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            parents = [above for above in reversed(path.parents) if above.is_relative_to(mount)]
        for parent in parents:
            for controller in CONTROLLERS:
                with contextlib.suppress(OSError):
                    (parent / "cgroup.subtree_control").write_text(f"+{controller}")

    @staticmethod
    def _values(names: str, path: Path, vcpus: int, ram: int) -> Iterator[tuple[str, str]]:
        size = str(ram * 1024 * 1024)
        if names == "":
            if (path / "memory.max").exists():
                yield "memory.max", size
                yield "memory.swap.max", "0"
            if (path / "cpu.max").exists():
                yield "cpu.max", f"{vcpus * PERIOD} {PERIOD}"
        if "memory" in names.split(","):
            yield "memory.limit_in_bytes", size
        if "cpu" in names.split(","):
            yield "cpu.cfs_period_us", str(PERIOD)
            yield "cpu.cfs_quota_us", str(vcpus * PERIOD)

    def enter(self) -> None:
        """Move the calling process in; for use between fork and exec."""
        for path in self.directories.values():
            (path / "cgroup.procs").write_text("0")

    def kill(self) -> None:
        """Kill every process in them, descendants' cgroups included."""
        for path in self.directories.values():
            kill_tree(path)

    def remove(self) -> None:
        """Remove them; what systemd made goes with its service."""
        for path in self.directories.values():
            remove_tree(path)


def processes(path: Path) -> set[int]:
    """List the processes in a cgroup and all below it."""
    found = set()
    for directory, _, _ in os.walk(path):
        with contextlib.suppress(OSError):
            found |= {int(line) for line in Path(directory, "cgroup.procs").read_text().split()}
    return found - {0, os.getpid()}


def kill_tree(path: Path, timeout: float = 5) -> None:
    """SIGKILL until nobody is left in a cgroup, at most `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while (pids := processes(path)) and time.monotonic() < deadline:
        try:
            (path / "cgroup.kill").write_text("1")  # v2, Linux 5.14
        except OSError:
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)


def remove_tree(path: Path) -> None:
    """Remove a cgroup with all below it; one that is still in use stays."""
    for directory, _, _ in os.walk(path, topdown=False):
        for _ in range(20):
            try:
                os.rmdir(directory)
            except FileNotFoundError:
                break
            except OSError:
                time.sleep(0.01)  # the kernel counts dying processes a moment longer
            else:
                break


def clouds_trees(tag: str) -> list[Path]:
    """Where a cloud's cgroups are when systemd does not run the machine."""
    return [mount / "slurm-powersave" / tag for mount in hierarchies().values()]
