"""The engine was stopped or away, its host's clock jumps, a node hangs: no healthy server is given up."""

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from slurm_powersave.model import phases
from tests.e2e.harness import Live

FAKE_TIME = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1"


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
def shifted(live: Live) -> Iterator[Path]:
    """The engine's wall clock is what this file says; its monotonic one is the machine's."""
    offset = live.root / "offset"
    offset.write_text("+0\n")
    live.stop_engine()
    words = {
        "LD_PRELOAD": FAKE_TIME,
        "FAKETIME_TIMESTAMP_FILE": str(offset),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "DONT_FAKE_MONOTONIC": "1",
    }
    live.start_engine("env", *(f"{name}={value}" for name, value in words.items()))
    yield offset
    live.stop_engine()
    live.start_engine()


def shift(offset: Path, words: str) -> None:
    """Set the engine's clock."""
    new = offset.with_suffix(".new")
    new.write_text(words + "\n")
    new.rename(offset)


@pytest.mark.slow
@pytest.mark.parametrize("jump", ["-7200", "-60", "+3600"])
def test_a_clock_that_jumps_while_nodes_come_and_go(live: Live, shifted: Path, jump: str) -> None:
    job = coming(live, "e2e-1", "e2e-2", seconds=8)
    servers = live.servers()
    shift(shifted, jump)
    kept(live, servers, job)
    live.wait("both are suspended", lambda: not live.servers(), 90)
    shift(shifted, "+0")
    live.job_done(live.sbatch("-w e2e-1"), 90)
    busy = live.sbatch("-w e2e-2", "sleep 30")
    live.wait("it runs", lambda: live.job(busy)["JobState"] == "RUNNING", 60)
    shift(shifted, jump)
    live.command("suspend", "e2e-2", "--wait", "--timeout", "30", rc=7)
    live.job_done(busy, 60)
    live.wait("all is suspended", lambda: not live.servers() and not live.open_operations(), 90)


def freeze(*nodes: str) -> None:
    """Stop every sshd of these nodes: connections that are open hang, new ones get no banner."""
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (path / "comm").read_text().strip().startswith("sshd"):
                hostname = (path / "root/etc/hostname").read_text().strip()
                if hostname in nodes:
                    os.kill(int(path.name), signal.SIGSTOP)


@pytest.mark.slow
def test_nodes_that_hang_cost_the_others_nothing(live: Live) -> None:
    """Four nodes hang in the middle of their play; two others come meanwhile."""
    four = [f"e2e-{number}" for number in range(1, 5)]
    hung = [live.sbatch(f"-w {node}") for node in four]
    live.wait(
        "all four are in their play",
        lambda: {op.node for op in live.open_operations() if op.phase == phases.CONFIGURING} >= {*four},
        30,
    )
    freeze(*four)
    for job in [live.sbatch(f"-w e2e-{number}") for number in (5, 6)]:
        live.job_done(job, 60)
    live.login(f"scancel {' '.join(map(str, hung))}")
    live.wait("they are given up", lambda: not live.servers() and not live.open_operations(), 200)
