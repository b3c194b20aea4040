"""Nodes that hang in the middle of their play cost their own time, and no other node's."""

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from slurm_powersave.model import phases
from tests.e2e.harness import Live


def processes(server: str) -> dict[int, str]:
    """The processes of a guest, by the id of its server: pid -> command."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(FileNotFoundError, ProcessLookupError):
            if server in (process / "cgroup").read_text():
                found[int(process.name)] = (process / "cmdline").read_text()
    return found


def hang(live: Live, node: str) -> None:
    """Stop all processes of a node once Ansible is logged in there, as on a host that hangs."""
    live.wait(f"{node} has a server", lambda: node in live.servers(), 30)
    server = live.servers()[node]
    end = time.monotonic() + 30
    while ": root" not in " ".join(processes(server).values()):
        assert time.monotonic() < end, f"nobody logged in to {node}"
        time.sleep(0.05)
    for process in processes(server):
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGSTOP)


def comes_and_hangs(live: Live, node: str, after: float) -> int:
    """Submit a job for a node after so many seconds, and let the node hang; return the job."""
    time.sleep(after)
    job = live.sbatch(f"-w {node}")
    hang(live, node)
    return job


@pytest.mark.slow
def test_four_nodes_that_hang_in_their_plays_hold_up_no_other(live: Live) -> None:
    hung = [f"e2e-{number}" for number in range(1, 5)]
    # A few seconds apart, each in a play of its own; the last must hang before the first is given up.
    with ThreadPoolExecutor(len(hung)) as pool:
        jobs = list(pool.map(lambda node: comes_and_hangs(live, node, 3.0 * hung.index(node)), hung))
    time.sleep(2)
    assert [live.phases().get(node) for node in hung] == [phases.CONFIGURING] * 4

    live.job_done(live.sbatch("-w e2e-5"), 80)
    assert live.newest("e2e-5").outcome == "done"

    live.login(f"scancel {' '.join(map(str, jobs))}")
    live.wait("nothing is under way", lambda: not live.open_operations() and not live.servers(), 240)
    live.command("continue", "--confirm")
    assert "No changes" in live.command("terraform", "plan")
