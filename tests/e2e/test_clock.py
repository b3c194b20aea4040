"""The engine was stopped or away: no healthy server is given up."""

import os
import signal
import time

import pytest

from tests.e2e.harness import Live


def coming(live: Live, *nodes: str, seconds: float) -> int:
    """Submit a job for nodes that take so long to boot, and wait until their servers exist."""
    for node in nodes:
        live.cloud("fault", "add", "slow-boot", "--match", node, "--seconds", str(seconds), "--times", "1")
    job = live.sbatch(f"-w {','.join(nodes)} -N{len(nodes)}")
    live.wait("the servers exist", lambda: {*nodes} <= live.servers().keys(), 30)
    return job


def kept(live: Live, servers: dict[str, str], job: int) -> None:
    """The job runs on the servers that it waited for."""
    assert {name: live.servers().get(name) for name in servers} == servers
    live.job_done(job, 90)
    live.wait("all are done", lambda: {live.newest(name).outcome for name in servers} == {"done"}, 15)


def test_an_engine_that_was_stopped_for_longer_than_a_boot_may_take(live: Live) -> None:
    """boot_timeout is 20 s; the nodes have come in the meantime."""
    job = coming(live, "e2e-1", "e2e-2", seconds=4)
    servers = live.servers()
    os.kill(live.engine_pid, signal.SIGSTOP)
    time.sleep(25)
    os.kill(live.engine_pid, signal.SIGCONT)
    time.sleep(3)
    kept(live, servers, job)


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [25, 100])
def test_an_engine_that_was_away(live: Live, seconds: int) -> None:
    """For longer than boot_timeout, and for longer than ResumeTimeout, after which Slurm asks anew."""
    job = coming(live, "e2e-1", "e2e-2", seconds=4)
    servers = live.servers()
    live.stop_engine(signal.SIGKILL)
    time.sleep(seconds)
    live.start_engine()
    if seconds < 90:
        kept(live, servers, job)
    else:
        live.job_done(job, 180)
