"""`slurm-powersave resize` on the real chain: more and fewer nodes while jobs run."""

import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import yaml

from slurm_powersave.model.hostlist import expand_any
from slurm_powersave.model.slurm_versions import Difference
from tests.e2e.harness import OFF, Live

Pool = dict[str, Any]


class Sized:
    """The cluster whose file is edited, and what a test asks of it."""

    def __init__(self, live: Live) -> None:
        self.live = live
        self.begun: subprocess.Popen[bytes] | None = None

    def node(self, number: int | str) -> str:
        """Name a node."""
        return f"{self.live.name}-{number}"

    def edit(self, change: Callable[[dict[str, Any], Pool], None]) -> None:
        """Change the cluster file and its first pool."""
        content = yaml.safe_load(self.live.file.read_text())
        change(content, content["node_pools"][0])
        self.live.file.write_text(yaml.safe_dump(content, sort_keys=False))

    def compute(self, count: int, least: int) -> None:
        """Give the first pool another size."""

        def change(content: dict[str, Any], pool: Pool) -> None:
            pool["nodes"] = f"{self.live.name}-[1-{count}]"
            pool["addresses"] = f"{self.live.network}.1.1-{self.live.network}.1.{count}"
            pool["min_nodes"] = least
            content["gres_conf"] = "Name=disk Count=2\n"  # also of nodes that come or go

        self.edit(change)

    def resize(self, *words: str, rc: int = 0) -> str:
        """Run the command."""
        return self.live.command("resize", "--yes", *words, timeout=120, rc=rc)

    def begin(self) -> "subprocess.Popen[bytes]":
        """Start it and leave it to its work. Its output goes to a file: a pipe would fill up."""
        argv = self.live.argv("resize", "--yes")
        with (self.live.root / "resize.log").open("wb") as log:
            self.begun = subprocess.Popen(argv, stdout=log, stderr=subprocess.STDOUT)
        return self.begun

    def end(self) -> None:
        """End one that a test has left: it holds the lock of commands."""
        if self.begun and self.begun.poll() is None:
            self.begun.terminate()
            self.begun.wait(60)

    def run_on(self, node: str, seconds: int = 300) -> int:
        """Run a job on a node, and return when it runs."""
        job = self.live.sbatch(f"-w {node}", f"sleep {seconds}")
        self.live.wait(f"job {job} runs", lambda: self.runs(job) and self.live.up(node), 60)
        return job

    def runs(self, job: int) -> bool:
        """Tell whether a job is running."""
        return self.live.job(job).get("JobState") == "RUNNING"

    def protected(self) -> str:
        """What slurmctld has loaded as SuspendExcNodes."""
        found = re.search(r"SuspendExcNodes\s*= (\S+)", self.live.login("scontrol show config"))
        assert found
        return found[1]

    def addresses(self) -> list[str]:
        """The nodes' addresses in slurm.conf; `scontrol show node` may show their names instead."""
        lines = self.live.login("grep -h ^NodeName= /etc/slurm/slurm.conf")
        return [one for found in re.findall(r"NodeAddr=(\S+)", lines) for one in expand_any(found)]

    def recorded(self, node: str) -> bool:
        """Tell whether the journal knows a node's server."""
        journal = self.live.journal()
        try:
            record = journal.node_record(node)
            return bool(record and record.server_id)
        finally:
            journal.close()

    def slurmctld(self) -> str:
        """Its process."""
        return self.live.login("systemctl show --property=MainPID --value slurmctld")


@pytest.fixture
def sized(resized: Sized) -> Sized:
    """The cluster as the last test left it, without jobs."""
    resized.end()
    resized.live.login("scancel -u root", check=False)
    resized.live.wait("no job is left", lambda: not resized.live.login("squeue -h"), 30)
    return resized


@pytest.fixture(scope="module")
def resized(deployed: Live) -> Iterator[Sized]:
    """The cluster at rest; afterwards its file is as it was."""
    deployed.rest()
    made = Sized(deployed)
    yield made
    made.end()
    deployed.login("scancel -u root", check=False)
    deployed.write()
    made.resize()
    deployed.rest()


def test_it_grows_and_shrinks_with_jobs_running_and_is_killed_in_between(sized: Sized) -> None:
    live, one, three = sized.live, sized.node(1), sized.node(3)
    sized.compute(6, 1)
    assert "1. enlarge slurm.conf" in sized.resize("--dry-run")
    assert (sized.protected(), live.servers()) == ("(null)", {})
    sized.resize()
    assert (sized.protected(), list(live.servers())) == (one, [one])
    slurmctld = sized.slurmctld()
    stays = sized.run_on(one)
    sized.compute(6, 3)
    sized.resize()
    assert sized.protected() == f"{live.name}-[1-3]"
    assert live.up(*(sized.node(n) for n in (1, 2, 3)))

    goes = sized.run_on(three, 60)
    sized.compute(6, 1)
    running = sized.begin()
    live.wait("its node is drained", lambda: live.node(three).has("DRAIN"), 40)
    live.wait("the other one is powered down", lambda: live.node(sized.node(2)).going_down, 60)
    running.send_signal(signal.SIGKILL)
    running.wait(10)
    assert live.node(three).reason.startswith("slurm-powersave: shrink [resize "), live.node(three)
    assert sized.runs(goes) and sized.runs(stays)
    said = sized.resize()
    assert live.job(goes)["JobState"] == "COMPLETED", "it had its time"
    assert sized.runs(stays)
    assert list(live.servers()) == [one]
    for name in (sized.node(2), three):
        assert OFF in live.node(name).flags and not live.node(name).has("DRAIN"), (live.node(name), said)
    assert sized.protected() == one
    if not live.slurm_has(Difference.RECONFIGURE_TAKES_NODES):  # there every reconfigure is a new process
        assert sized.slurmctld() == slurmctld, "SuspendExcNodes is read without a restart"
    assert "Nothing to do" in sized.resize()


@pytest.mark.slow
def test_a_pool_and_a_partition_come_and_go_and_nodes_are_taken_but_not_one_that_root_has_drained(
    sized: Sized,
) -> None:
    live = sized.live
    stays = sized.run_on(sized.node(1))
    addresses = sized.addresses()

    def second(content: dict[str, Any], pool: Pool) -> None:
        more = pool | {"name": "more", "nodes": f"{live.name}-m[1-2]", "min_nodes": 1}
        more |= {"addresses": f"{live.network}.2.1-{live.network}.2.2", "gres": ""}
        content["node_pools"].append(more)
        content["partitions"].append({"name": "second", "pools": ["more"]})

    slurmctld = sized.slurmctld()
    sized.edit(second)
    sized.resize()
    assert sized.slurmctld() != slurmctld
    assert sized.runs(stays)
    assert live.up(sized.node("m1")), "the second pool's own min_nodes"
    job = live.sbatch("-p second -N2", "srun hostname")
    live.job_done(job, 60)
    out = sorted(live.login(f"cat /mnt/ohpc/{job}.out").split())
    assert out == [sized.node("m1"), sized.node("m2")]

    def without(content: dict[str, Any], pool: Pool) -> None:
        del content["node_pools"][1], content["partitions"][1]

    four = sized.node(4)
    live.login(f"scontrol update nodename={four} state=DRAIN reason=disk")
    sized.edit(without)
    sized.compute(3, 1)
    assert "not powered down and drained" in live.command("deploy", "--yes", rc=7)
    assert f"{four}: DRAIN was set by root (disk)" in sized.resize(rc=10), "the others go on"
    assert sorted(live.nodes()) == [sized.node(n) for n in (1, 2, 3, 4)]
    assert live.node(four).has("DRAIN") and live.node(four).reason == "disk"
    live.login(f"scontrol update nodename={four} state=POWER_DOWN")
    assert sized.addresses() == addresses[:4]
    assert sized.runs(stays)
    assert list(live.servers()) == [sized.node(1)]
    journal = live.journal()
    assert sized.node("m1") not in journal.node_records() and not journal.drains()
    journal.close()


@pytest.mark.slow
def test_abort_ends_the_running_resize_and_its_drains(sized: Sized) -> None:
    live, two = sized.live, sized.node(2)
    job = sized.run_on(two)
    sized.compute(1, 1)
    running = sized.begin()
    live.wait("the node is drained", lambda: live.node(two).has("DRAIN"), 40)
    assert "undrained" in live.command("resize", "--abort")
    assert running.wait(10) == 130, (live.root / "resize.log").read_text()
    assert sized.runs(job) and not live.node(two).has("DRAIN")
    sized.resize("--timeout", "1", rc=11)
    assert sized.runs(job) and live.node(two).has("DRAIN")
    live.command("resize", "--abort")
    assert not live.node(two).has("DRAIN")
    live.login(f"scancel {job}")


def test_a_node_with_a_job_does_not_leave_by_a_deploy_that_knows_nothing_of_it(sized: Sized) -> None:
    """From 23.11 on a reconfigure without the node would lose the job without a word."""
    live, two = sized.live, sized.node(2)
    sized.compute(2, 1)
    sized.resize()
    job = sized.run_on(two)
    live.stop_engine()
    journal = live.journal()
    journal.forget_nodes([two])  # as a journal from an old backup would
    journal.close()
    live.login("rm /etc/slurm/slurm-powersave.loaded")
    sized.compute(1, 1)
    before = live.login("md5sum /etc/slurm/slurm.conf")
    said = live.command("deploy", "--yes", rc=6, timeout=120)
    assert f"have a job: {two}" in said and "Nothing was changed" in said
    assert live.login("md5sum /etc/slurm/slurm.conf") == before and sized.runs(job)
    sized.compute(2, 1)
    live.start_engine()
    live.wait("the journal knows its server", lambda: sized.recorded(two), 90)
    live.command("deploy", "--yes", timeout=120)
    assert sized.runs(job)
    live.login(f"scancel {job}")
