"""A disk is full, or the engine may open few files: it waits, and nothing is lost."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from slurm_powersave.model import phases
from tests.e2e.harness import OFF, Live

SLOW = {
    phases.APPLYING: "slow-create",
    phases.BOOTING: "slow-boot",
}


def sockets(directory: str, names: list[str]) -> list[str]:
    """Name the sockets of a directory, which can't be copied."""
    return [name for name in names if Path(directory, name).is_socket()]


@pytest.fixture
def small(live: Live) -> Iterator[Live]:
    """The cluster with its state directory on a small disk of its own."""
    state = live.root / "state"
    live.stop_engine()
    aside = live.root / "state.disk"
    state.rename(aside)
    state.mkdir(mode=0o700)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m,mode=700", "tmpfs", state], check=True)
    try:
        shutil.copytree(aside, state, symlinks=True, dirs_exist_ok=True, ignore=sockets)
        live.start_engine()
        yield live
        live.stop_engine()
        shutil.rmtree(aside)
        shutil.copytree(state, aside, symlinks=True, ignore=sockets)
    finally:
        live.stop_engine()
        subprocess.run(["umount", "--lazy", state], check=True)
        state.rmdir()
        aside.rename(state)
        live.start_engine()


@contextmanager
def full(place: Path) -> Iterator[None]:
    """Fill the disk to its last byte."""
    filler = place / "filler"
    try:
        # Without a buffer: what is left in one is written by close(), which fails then as well.
        with filler.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space left"):
            while True:
                file.write(b"\0" * 65536)
        yield
    finally:
        filler.unlink()


@pytest.mark.slow
@pytest.mark.parametrize("when", [phases.PLANNING, phases.APPLYING, phases.BOOTING, phases.CONFIGURING])
def test_a_disk_that_is_full_while_a_node_comes(small: Live, when: str) -> None:
    """A second node is asked for meanwhile."""
    live = small
    if when in SLOW:
        live.cloud("fault", "add", SLOW[when], "--match", "e2e-1", "--seconds", "4", "--times", "1")
    job = live.sbatch("-w e2e-1")
    live.wait(f"its node is {when}", lambda: live.phases().get("e2e-1") in (when, phases.REGISTERING), 30)
    with full(live.root / "state"):
        live.sbatch("-w e2e-2")
        live.wait(
            "the engine has said so", lambda: "No space left" in live.log() or "is full" in live.log(), 30
        )
        subprocess.run(["sleep", "10"], check=True)
    live.job_done(job, 120)
    live.wait("all is suspended", lambda: not live.servers() and not live.open_operations(), 90)
    live.wait("Slurm shows it off", lambda: OFF in live.node("e2e-2").flags, 60)
    assert not live.node("e2e-2").has("DRAIN"), "nor of the other one"
    # Where slurmd runs already the job is done, and the node suspended, before the engine can write again.
    assert live.newest("e2e-1").outcome in ("done", "cancelled"), "a full disk is no fault of the node"
    assert "No changes" in live.command("terraform", "plan")


@pytest.mark.slow
def test_a_disk_that_is_full_while_a_node_goes(small: Live) -> None:
    live = small
    live.job_done(live.sbatch("-w e2e-1"), 90)
    live.wait(
        "it is going", lambda: live.phases().get("e2e-1") in (phases.DELETE_QUEUED, phases.DELETING), 30
    )
    with full(live.root / "state"):
        subprocess.run(["sleep", "12"], check=True)
    live.wait("it has gone", lambda: not live.servers() and not live.open_operations(), 90)
    live.job_done(live.sbatch("-w e2e-1"), 90)
    assert "No changes" in live.command("terraform", "plan")


@pytest.mark.slow
def test_an_engine_that_may_open_64_files(live: Live) -> None:
    live.stop_engine()
    live.start_engine("prlimit", "--nofile=64")
    try:
        for job in [live.sbatch(f"-w e2e-{number}") for number in range(1, 5)]:
            live.job_done(job, 180)
        live.wait("all is suspended", lambda: not live.servers() and not live.open_operations(), 120)
    finally:
        live.stop_engine()
        live.start_engine()
    assert all(live.newest(f"e2e-{number}").outcome == "done" for number in range(1, 5))


@pytest.mark.slow
def test_a_spool_that_is_full(live: Live) -> None:
    """The hook can write nothing: the engine sees in Slurm what is wanted."""
    spool = "/var/spool/slurm-powersave/tmp"
    live.login(
        f"mount -t tmpfs -o size=4k tmpfs {spool} && chown slurm: {spool}; head -c 4096 /dev/zero >{spool}/x"
    )
    try:
        job = live.sbatch("-w e2e-1")
        live.job_done(job, 90)
    finally:
        live.login(f"umount {spool}")
    live.wait("it is suspended", lambda: not live.servers() and not live.open_operations(), 90)
