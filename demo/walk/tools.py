"""Where things are, and how commands are run and told."""

import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

CHECKOUT = Path(__file__).resolve().parents[2]
DEMO = CHECKOUT / ".demo"
CLUSTER = DEMO / "cluster.yml"
TEMPLATE = CHECKOUT / "demo" / "cluster.yml"
SLURM_VERSIONS = ("22.05", "24.11", "26.05")
SLURM = os.environ.get("SLURM") or SLURM_VERSIONS[-1]
STATE = DEMO / "state"
CLOUD = DEMO / "cloud"
LOGIN = "10.79.0.10"
_STARTED = time.monotonic()
_COLOUR = sys.stdout.isatty() and "NO_COLOR" not in os.environ


def title(text: str) -> None:
    """Begin a part of the demo."""
    line = f"== {text} "
    line += "=" * max(4, 88 - len(line)) + f" {time.monotonic() - _STARTED:5.0f} s"
    print(f"\n\033[1m{line}\033[0m" if _COLOUR else f"\n{line}", flush=True)


def say(text: str) -> None:
    """Print a line at once: other programs print in between."""
    print(text, flush=True)


def stop(text: str, todo: str) -> NoReturn:
    """End the demo with what is wrong and what to do."""
    say("")
    print(f"demo: {text}\n  {todo}", file=sys.stderr, flush=True)
    sys.exit(1)


def ours(*words: str) -> list[str]:
    """Return the argv of our own command for the demo's cluster."""
    return [str(CHECKOUT / ".venv/bin/slurm-powersave"), "--cluster", str(CLUSTER), *words]


def ssh(*words: str, terminal: bool = False) -> list[str]:
    """Return the argv of ssh to the login node; only the key that the cloud handed out is trusted."""
    options = ["-F", "none", "-o", f"UserKnownHostsFile={STATE}/known_hosts"]
    options += ["-o", "GlobalKnownHostsFile=/dev/null", "-o", "StrictHostKeyChecking=yes"]
    options += ["-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none", "-o", "ForwardAgent=no"]
    options += ["-o", "LogLevel=ERROR", "-i", f"{STATE}/keys/id_ed25519"]
    return ["ssh", *(["-t"] if terminal else []), *options, f"root@{LOGIN}", *words]


def call(argv: Sequence[str], *, quiet: bool = False) -> str:
    """Run a command; its output is shown, or returned if it is to be quiet. Ends the demo on failure."""
    done = subprocess.run(argv, stdout=subprocess.PIPE if quiet else None, text=True, check=False)
    if done.returncode:
        stop(
            f"this failed with exit code {done.returncode}: {' '.join(argv)}",
            f"`make demo` goes on from here; the engine's log is {STATE}/engine.log",
        )
    return done.stdout or ""


def value(*words: str) -> Any:
    """Run our own command with --json and return what it says."""
    return json.loads(call(ours(*words, "--json"), quiet=True))


def slurm(command: str) -> str:
    """Run a command on the login node and return what it prints."""
    return call(ssh(command), quiet=True).strip()


def engine_pid() -> int | None:
    """Return the pid of the demo's engine if it runs."""
    try:
        with (STATE / "engine.lock").open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                pid = json.load(file)["pid"]
            else:
                return None  # An engine that was killed has left its pid, which is somebody else's by now.
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return pid if isinstance(pid, int) and pid > 0 else None


def start_engine() -> None:
    """Start the engine in the background, unless it runs."""
    if pid := engine_pid():
        say(f"the engine runs already (process {pid})")
        return
    log = (STATE / "engine.log").open("a")
    argv = ours("engine", "run")
    child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    for _ in range(100):
        if engine_pid() == child.pid:
            say(f"the engine runs (process {child.pid}); its log: {STATE}/engine.log")
            return
        if child.poll() is not None:
            break
        time.sleep(0.1)
    stop("the engine did not start", f"Look at {STATE}/engine.log")


def stop_engine() -> None:
    """End the engine, if it runs."""
    if pid := engine_pid():
        os.kill(pid, signal.SIGTERM)
        for _ in range(100):
            if engine_pid() is None:
                return
            time.sleep(0.1)
        os.kill(pid, signal.SIGKILL)


class Follow:
    """Prints each node's phases as they come, for as long as the block lasts."""

    def __enter__(self) -> "Follow":
        self._process = subprocess.Popen(ours("follow"), stdout=subprocess.PIPE, text=True)
        self._thread = threading.Thread(target=self._print, daemon=True)
        self._thread.start()
        time.sleep(1.0)  # it must have read where the journal ends before something happens
        return self

    def _print(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            say("   " + line.rstrip())

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(5)
        self._thread.join(2)


def cluster_file() -> str:
    """Return the demo's cluster file for the chosen version of Slurm."""
    return re.sub(
        r"^slurm_version: .*$", f'slurm_version: "{SLURM}"', TEMPLATE.read_text(), flags=re.MULTILINE
    )


def preflight() -> None:
    """Say everything that is missing, before anything is made."""
    wrong = []
    if SLURM not in SLURM_VERSIONS:
        wrong.append(
            f"There is no guest image with Slurm {SLURM}; choose one of {', '.join(SLURM_VERSIONS)}."
        )
    elif CLUSTER.exists() and CLUSTER.read_text() != cluster_file():
        wrong.append(
            f"A demo with another cluster file is there ({CLUSTER}); remove it first: make demo-clean"
        )
    if os.geteuid() != 0:
        wrong.append("Containers need root: sudo make demo")
    for program, package in (
        ("debootstrap", "debootstrap"),
        ("systemd-nspawn", "systemd-container"),
        ("ip", "iproute2"),
        ("ssh", "openssh-client"),
    ):
        if shutil.which(program) is None:
            wrong.append(f"{program} is missing: apt-get install {package}")
    wrong += _terraform()
    if wrong:
        stop("the demo can't begin", "\n  ".join(wrong))


def _terraform() -> list[str]:
    if shutil.which("terraform") is None:
        return ["terraform is not on PATH: install Terraform 1.5 or later (or OpenTofu under that name)"]
    text = subprocess.run(["terraform", "version"], capture_output=True, text=True, check=False).stdout
    found = re.search(r"v(\d+)\.(\d+)", text)
    if not found or (int(found[1]), int(found[2])) < (1, 5):
        return [f"terraform 1.5 or later is needed; this is {text.splitlines()[0] if text else 'unknown'}"]
    return []
