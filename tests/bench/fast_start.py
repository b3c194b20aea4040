"""From a node's registration to its batch job's first line, on each version of Slurm; JSON and a table.

Usage: python -m tests.bench.fast_start [VERSION...]; needs root. For each version a cluster of its own is
made on the local cloud, one after the other, and removed.

Two jobs a round, each on a node of its own. The second node boots some seconds later than the first, so that
the two do not share slurmctld's look of every 30 s.
"""

import json
import random
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tests.bench.spread import spread
from tests.e2e.guests import SLURM_VERSIONS
from tests.e2e.harness import Live
from tests.place import own_place

PLACE = Path("/var/tmp/slurm-powersave-bench-fast-start")
ROUNDS = 3
NODES = ("e2e-1", "e2e-2")
LATER = 7
"""Seconds by which the second node's boot is delayed."""
PATIENCE = 240.0
LOG = "/var/log/slurm/slurmctld.log"


class Cluster(Live):
    """One whose nodes may take their time to boot: what is measured comes after that."""

    def write(self, **changes: Any) -> None:
        super().write(**changes)
        self.file.write_text(self.file.read_text().replace("boot_timeout: 20", "boot_timeout: 80"))


def measure(slurm: str, say: Callable[[str, list[float]], None]) -> None:
    """Measure one version; tell the seconds of each thing that was done."""
    live = Cluster(own_place(PLACE) / slurm, name="e2e", bridge="br-sps-fast", network="10.82", slurm=slurm)
    live.remove()
    try:
        live.make(fast_start=False)
        say("without fast start", _rounds(live, lambda: None))
        live.write()
        live.command("deploy", "--yes", timeout=300)
        say("with fast start", _rounds(live, lambda: None))
        say("reconfigured while they boot", _rounds(live, lambda: live.login("scontrol reconfigure")))
        say("deployed while they boot", _rounds(live, lambda: _deploy(live)))
    finally:
        live.stop_engine()
        live.remove()


def _deploy(live: Live) -> None:
    """Deploy with another SuspendTime: our role reconfigures slurmctld."""
    seconds = random.choice([s for s in range(5, 12) if s != live.cluster.power_save.suspend_time])
    live.write(suspend_time=seconds)
    live.command("deploy", "--yes", timeout=300)


def _rounds(live: Live, meanwhile: Callable[[], object]) -> list[float]:
    return [seconds for _ in range(ROUNDS) for seconds in _round(live, meanwhile)]


def _round(live: Live, meanwhile: Callable[[], object]) -> list[float]:
    """Start both jobs, do something when both wait for their nodes; return how late they began."""
    live.rest()
    time.sleep(random.uniform(0, 15))
    live.cloud("fault", "add", "slow-boot", "--match", NODES[1], "--seconds", str(LATER), "--times", "1")
    jobs = [live.sbatch(f"-w {node}", "date +%s.%N") for node in NODES]
    waits = "CONFIGURING"
    live.wait("they wait", lambda: all(live.job(job)["JobState"] == waits for job in jobs), PATIENCE)
    time.sleep(1)
    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(meanwhile)
        for job in jobs:
            live.job_done(job, PATIENCE)
        done.result()
    for job in jobs:
        if live.job(job)["Restarts"] != "0":
            raise SystemExit(
                f"job {job} was restarted\n{live.log()[-8000:]}\n{live.login(f'cat {LOG}')[-8000:]}"
            )
    return [_began(live, job) - _registered(live, node) for job, node in zip(jobs, NODES, strict=True)]


def _began(live: Live, job: int) -> float:
    return float(live.login(f"cat /mnt/ohpc/{job}.out"))


def _registered(live: Live, node: str) -> float:
    """When slurmctld itself says that the node has come, the last time."""
    line = live.login(f"grep 'Node {node} now responding' {LOG} | tail -1")
    return float(live.login(f"date -d {line[1:].partition(']')[0]} +%s.%N"))


def main(versions: list[str]) -> int:
    """Measure the versions named, or all."""
    found: dict[str, dict[str, list[float]]] = {}
    for version in versions or SLURM_VERSIONS:

        def say(what: str, seconds: list[float], version: str = version) -> None:
            found.setdefault(version, {})[what] = seconds
            values = "  ".join(f"{key} {value:g}" for key, value in spread(seconds).items())
            print(f"{version}  {what:30} {values}", file=sys.stderr, flush=True)

        measure(version, say)
    print(json.dumps(found, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
