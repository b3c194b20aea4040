"""Remove a cloud with all that it has on the machine, whatever was killed in between."""

import contextlib
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

from local_cloud import cgroups, network
from local_cloud.store import Store

OURS = ("servers", "trash", "locks", "share", "images", "cloud.json", "flavors.json", "faults.json")
"""The entries below a root that are removed; anything else there is left alone."""


def clean(root: Path) -> list[str]:
    """Stop every guest, remove bridge, cgroups and files. Safe to repeat; says what was done."""
    store = Store(root)
    done = []
    if cgroups.systemd_is_init():
        argv = ["systemctl", "stop", f"slurm-powersave-{store.tag}-*.service"]
        subprocess.run(argv, capture_output=True, timeout=60, check=False)
    # Not by the servers' files: they may be gone while their processes are not. Twice, since a
    # create that is still running may start one more.
    for _ in range(2):
        pids = supervisors(store)
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGQUIT)
        _wait_gone(pids, 5)
        for pid in supervisors(store):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        done += [f"stopped supervisor {pid}" for pid in pids]
    for tree in cgroups.clouds_trees(store.tag):
        cgroups.kill_tree(tree)
        cgroups.remove_tree(tree)
        with contextlib.suppress(OSError):
            tree.parent.rmdir()  # the last cloud's
    for bridge in network.owned(store.root):
        network.delete(store.root, bridge)
        done.append(f"deleted bridge {bridge}")
    for name in OURS:
        path = store.root / name
        if path.is_dir():
            shutil.rmtree(path)
            done.append(f"removed {path}")
        else:
            path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        for leftover in store.root.glob(".*.json.*"):
            leftover.unlink()
        store.root.rmdir()
    return done


def supervisors(store: Store) -> list[int]:
    """Find the supervisors of this cloud's servers among all processes."""
    found = []
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                argv = Path(entry.path, "cmdline").read_bytes().decode(errors="replace").split("\0")
                homes = [argument for argument in argv if argument.startswith(f"{store.servers}/")]
                if homes and any(argument.endswith("local_cloud/supervisor.py") for argument in argv):
                    found.append(int(entry.name))
    return found


def _wait_gone(pids: list[int], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and any(_alive(pid) for pid in pids):
        time.sleep(0.02)


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
