"""Nodes that hang in the middle of their play cost their own time, and no other node's."""

import os
import signal
import time
from pathlib import Path

import pytest

from slurm_powersave.model import phases
from tests.e2e.harness import Live


def freeze(name: str) -> None:
    """Stop all processes of a guest, as a host does that hangs."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "root/etc/hostname").read_text().strip() == name:
                os.kill(int(process.name), signal.SIGSTOP)
        except (FileNotFoundError, ProcessLookupError, NotADirectoryError):
            continue


@pytest.mark.slow
def test_four_nodes_that_hang_in_their_plays_hold_up_no_other(live: Live) -> None:
    hung = [f"e2e-{number}" for number in range(1, 5)]
    jobs = []
    for node in hung:
        jobs.append(live.sbatch(f"-w {node}"))
        live.wait(f"{node} is in its play", lambda node=node: live.phases().get(node) == phases.CONFIGURING, 30)
        freeze(node)
    time.sleep(2)
    assert [live.phases().get(node) for node in hung] == [phases.CONFIGURING] * 4

    live.job_done(live.sbatch("-w e2e-5"), 80)
    assert live.newest("e2e-5").outcome == "done"

    live.login(f"scancel {' '.join(map(str, jobs))}")
    live.wait("nothing is under way", lambda: not live.open_operations() and not live.servers(), 240)
    live.command("continue", "--confirm")
    assert "No changes" in live.command("terraform", "plan")
