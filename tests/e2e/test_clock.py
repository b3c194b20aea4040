"""The engine was stopped or away, or its clock moved: no healthy server is given up."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from slurm_powersave.model import phases
from tests.e2e.harness import OFF, Live

SHIFTED = Path(__file__).parent / "shifted_clock"


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


@pytest.fixture
def step(live: Live, tmp_path: Path) -> Iterator[Callable[[float], None]]:
    """The cluster with an engine whose clock is so many seconds from the right one; it begins right."""
    offset = tmp_path / "offset"

    def to(seconds: float) -> None:
        new = offset.with_suffix(".new")
        new.write_text(str(seconds))
        new.rename(offset)

    to(0)
    live.stop_engine()
    live.start_engine("env", f"PYTHONPATH={SHIFTED}", f"SHIFTED_CLOCK={offset}")
    yield to
    live.stop_engine()
    live.start_engine()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("when", "seconds"),
    [
        (phases.APPLYING, -7200),
        (phases.APPLYING, 7200),
        (phases.BOOTING, -7200),
        (phases.BOOTING, -60),
        (phases.BOOTING, 60),
        (phases.BOOTING, 7200),
        (phases.CONFIGURING, -7200),
        (phases.CONFIGURING, 7200),
    ],
)
def test_a_clock_that_steps_while_nodes_come_and_go(
    live: Live, step: Callable[[float], None], when: str, seconds: float
) -> None:
    nodes = ["e2e-1", "e2e-2"]
    fault = "slow-create" if when == phases.APPLYING else "slow-boot"
    for node in nodes:
        live.cloud("fault", "add", fault, "--match", node, "--seconds", "4", "--times", "1")
    job = live.sbatch(f"-w {','.join(nodes)} -N2", "sleep 20")
    live.wait(f"a node is {when}", lambda: when in live.phases().values(), 30)
    step(seconds)
    live.wait("the job runs", lambda: live.job(job).get("JobState") == "RUNNING", 60)
    servers = live.servers()
    assert servers.keys() == {*nodes}
    step(0)
    time.sleep(5)
    assert live.servers() == servers and live.job(job)["JobState"] == "RUNNING"

    live.job_done(job, 60)
    live.wait("nodes go", lambda: live.open_operations(), 60)
    step(seconds)
    live.wait("they have gone", lambda: not live.servers() and not live.open_operations(), 60)
    assert all(OFF in live.node(node).flags for node in nodes)
    assert {live.newest(node).outcome for node in nodes} == {"done"}
    assert "the clock" in live.log()
