"""The first release deploys a cluster, and ours takes it over while jobs run."""

import fcntl
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from slurm_powersave.model.modes import Kind
from slurm_powersave.model.nodes import Operation
from tests.e2e.conftest import LANE, PLACE
from tests.e2e.harness import Live
from tests.e2e.old_release import old_release
from tests.place import own_place

FIRST = "4add6ed"
NEWER = {
    "": ("slurm_version",),
    "failure": ("restart_after", "silent_after"),
    "slurm_conf_extra": ("SlurmdParameters",),
}
"""Section -> what the harness writes there that the old release does not know, or sets by itself."""
pytestmark = [pytest.mark.slow]


class Upgraded(Live):
    """A cluster whose commands are those of the old release until `upgrade`."""

    def begin(self, place: Path) -> None:
        """Deploy with the old release."""
        self.python, self.module = str(old_release(FIRST, place)), "slurm_powersave.surfaces.cli"
        self.make()

    def write(self, **changes: object) -> None:
        """Write the cluster file; for the old release without the keys that came after it."""
        super().write(**changes)  # type: ignore[arg-type]
        if self.python != Live.python:
            found = yaml.safe_load(self.file.read_text())
            for section, keys in NEWER.items():
                for key in keys:
                    (found[section] if section else found).pop(key)
            self.file.write_text(yaml.safe_dump(found))

    def upgrade(self) -> None:
        """Stop the old engine, write what the new release wants in the cluster file, start the new one."""
        self.stop_engine()
        self.python, self.module = Live.python, Live.module
        self.write()
        self.start_engine()


@pytest.fixture(scope="module")
def old() -> Iterator[Upgraded]:
    """A cluster of the old release, with its engine."""
    place = PLACE / f"upgrade-{LANE}"
    own_place(PLACE)
    with (PLACE / f"lock-upgrade{LANE or ''}").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        made = Upgraded(place / "cluster", "up", f"br-sps-up{LANE or ''}", f"10.{150 + LANE}", slurm="22.05")
        made.remove()
        shutil.rmtree(place, ignore_errors=True)
        made.begin(place / "old")
        yield made
        made.remove()
        shutil.rmtree(place)


def runs(live: Live, options: str, script: str = "sleep 600") -> int:
    """Submit a job and wait until it runs."""
    job = live.sbatch(options, script)
    live.wait(f"job {job} runs", lambda: live.job(job).get("JobState") == "RUNNING", 90)
    return job


def newest(live: Live) -> list[Operation]:
    """The newest operations of all nodes."""
    journal = live.journal()
    try:
        return journal.history("", 20)
    finally:
        journal.close()


def unchanged(live: Live) -> None:
    """All of Terraform's states agree with what there is."""
    live.wait("nothing is under way", lambda: not live.open_operations(), 60)
    assert "No changes" in live.command("terraform", "plan")


def test_the_new_release_takes_over_a_running_cluster(old: Upgraded, tmp_path: Path) -> None:
    live = old
    ends, stays = runs(live, "-w up-1", "sleep 45; echo alive"), runs(live, "-w up-2")
    backup = tmp_path / "old.tar.gz"
    live.command("backup", "--to", str(backup))
    live.cloud("fault", "add", "slow-boot", "--match", "up-3", "--seconds", "8", "--times", "1")
    comes = live.sbatch("-w up-3")
    live.wait("its server is being made", lambda: "up-3" in live.servers(), 30)
    boots = live.boots("up-1", "up-2")

    live.upgrade()
    live.job_done(comes, 120)
    live.job_done(ends, 90)
    assert live.login(f"cat /mnt/ohpc/{ends}.out").strip() == "alive"
    assert live.job(stays)["JobState"] == "RUNNING" and live.boots("up-2")["up-2"] == boots["up-2"]
    live.wait("idle nodes are suspended", lambda: list(live.servers()) == ["up-2"], 90)
    unchanged(live)

    live.command("deploy", "--yes", timeout=300)
    live.job_done(live.sbatch("-w up-4"), 90)
    live.wait("it is suspended again", lambda: list(live.servers()) == ["up-2"], 60)
    # The old backup knows nothing of a suspend that begins now: the server would be kept for 15 minutes.
    live.except_from_suspend("up-2")
    live.login(f"scontrol reboot ASAP nextstate=RESUME reason=reimage up-2; scancel {stays}")
    live.wait(
        "it is reimaged",
        lambda: any(op.kind == Kind.REIMAGE and op.outcome == "done" for op in newest(live)),
        90,
    )
    unchanged(live)

    live.stop_engine()
    live.command("restore", str(backup), "--force")
    live.start_engine()
    live.job_done(live.sbatch("-w up-5"), 120)
    live.except_from_suspend("")
    live.wait("nodes are suspended", lambda: not live.servers(), 90)
    unchanged(live)
