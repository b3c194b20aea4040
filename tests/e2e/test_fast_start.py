"""Fast start on the real Slurm: a batch job begins when its last node has registered; none is lost or held.

Without it slurmctld looks only every 30 s whether a job's nodes have come (7 to 24 s were measured);
with it well under a second passes. The bound here is one that a machine under load keeps.
"""

import pytest

from slurm_powersave.model.slurm_versions import Difference
from tests.e2e.harness import OFF, Live

BOUND = 5.0
"""Seconds from the registration, as our journal has it, to the first line of the script."""
SCAN = 30.0
"""Seconds between two looks of slurmctld at the jobs whose nodes are coming."""
RECONFIGURE, RESTART = "scontrol reconfigure", "systemctl restart slurmctld"
PROLOGS = "pgrep -f '^/bin/sh .*/prolog-slurmctld'"
STAMP = "date +%s.%N; hostname"


def first_line(live: Live, job: int | str) -> tuple[float, str]:
    """When the script began, and where."""
    moment, node = live.login(f"cat /mnt/ohpc/{job}.out").split()[:2]
    return float(moment), node


def came(live: Live, *nodes: str) -> float:
    """When the last of the nodes was counted as up."""
    for node in nodes:
        live.wait(f"{node} is recorded", lambda node=node: live.newest(node).outcome == "done", 20)
    return max(live.newest(node).phases[-1].at for node in nodes)


def prologs(live: Live, job: int) -> set[str]:
    """The processes of a job's PrologSlurmctld."""
    ours = f"tr '\\0' '\\n' </proc/$p/environ 2>/dev/null | grep -qx SLURM_JOB_ID={job}"
    return set(live.login(f"for p in $({PROLOGS}); do {ours} && echo $p; done; true").split())


def waiting(live: Live, job: int) -> set[str]:
    """Wait until the job's nodes are coming and its prolog waits for them; return its processes."""
    live.wait(
        f"job {job} waits for its nodes",
        lambda: live.job(job).get("JobState") == "CONFIGURING" and prologs(live, job),
        20,
    )
    return prologs(live, job)


def ended(live: Live, job: int, processes: set[str]) -> None:
    """Wait until these processes have left; the job may have been started again since, with others."""
    live.wait(f"the prolog of job {job} has left", lambda: not processes & prologs(live, job), 15)


def assert_not_held(live: Live, job: int) -> None:
    """A prolog that fails would make Slurm hold the job."""
    fields = live.job(job)
    assert fields["Priority"] != "0" and "Held" not in fields["Reason"], fields


def test_one_node_and_several(live: Live) -> None:
    # One of the three comes two seconds after the others.
    live.cloud("fault", "add", "slow-boot", "--match", "e2e-3", "--seconds", "2", "--times", "1")
    one, three = live.sbatch("-w e2e-1", STAMP), live.sbatch("-w e2e-[2-4]", STAMP)
    for job, nodes in ((one, ["e2e-1"]), (three, ["e2e-2", "e2e-3", "e2e-4"])):
        live.job_done(job, 60)
        began, node = first_line(live, job)
        assert node == nodes[0]
        assert began - came(live, *nodes) < BOUND
    assert not live.login(PROLOGS, check=False)


def test_every_task_of_an_array(live: Live) -> None:
    text = live.login(
        f"sbatch --parsable -o /mnt/ohpc/%A_%a.out --array=1-2 -N1 --exclusive --wrap '{STAMP}'"
    )
    array = int(text)
    live.wait(
        "both tasks have ended", lambda: not live.login(f"squeue -h -j {array} 2>/dev/null", check=False), 60
    )
    ran = {first_line(live, f"{array}_{task}") for task in (1, 2)}
    assert len({node for _, node in ran}) == 2, ran
    for began, node in ran:
        assert began - came(live, node) < BOUND


def test_cancelled_or_requeued_while_its_node_comes(live: Live) -> None:
    for node in ("e2e-1", "e2e-2"):
        live.cloud("fault", "add", "slow-boot", "--match", node, "--seconds", "4", "--times", "1")
    cancelled, requeued = live.sbatch("-w e2e-1", STAMP), live.sbatch("-w e2e-2", STAMP)
    processes = {job: waiting(live, job) for job in (cancelled, requeued)}
    live.login(f"scancel {cancelled}; scontrol requeue {requeued}")
    for job, found in processes.items():
        ended(live, job, found)
    assert live.job(cancelled)["JobState"] == "CANCELLED"
    fields = live.job(requeued)
    assert fields["Restarts"] == "1", fields
    assert_not_held(live, requeued)
    live.job_done(requeued, 60)
    # The node of the cancelled job comes all the same, and is an ordinary idle node until its time is over.
    came(live, "e2e-1")
    live.wait(
        "both nodes are off again", lambda: all(OFF in live.node(n).flags for n in ("e2e-1", "e2e-2")), 60
    )
    assert not live.node("e2e-1").has("DRAIN", "DOWN")


def test_a_node_that_never_comes(live: Live) -> None:
    live.fault("boot-fails", "e2e-1")
    job = live.sbatch("-w e2e-[1-2]", STAMP)
    processes = waiting(live, job)
    live.wait("its failure is told", lambda: "node-local" in live.node("e2e-1").reason, 60)
    live.wait("the job is back in the queue", lambda: live.job(job)["JobState"] == "PENDING", 15)
    ended(live, job, processes)
    assert_not_held(live, job)
    live.job_done(job, 120)
    assert int(live.job(job)["Restarts"]) >= 1
    began, _ = first_line(live, job)
    assert began - came(live, "e2e-1") < BOUND


def ends_prologs(live: Live) -> bool:
    """Tell whether slurmctld ends a waiting prolog for good when it is reconfigured or restarted."""
    return live.slurm_has(Difference.WAITING_PROLOG_KILLED)


@pytest.mark.every_slurm
@pytest.mark.parametrize("command", [RECONFIGURE, RESTART])
def test_slurmctld_begins_anew_while_the_prolog_waits(live: Live, command: str) -> None:
    live.cloud("fault", "add", "slow-boot", "--match", "e2e-2", "--seconds", "4", "--times", "1")
    job = live.sbatch("-w e2e-[1-2]", STAMP)
    waiting(live, job)
    live.login(command)
    live.job_done(job, 90)
    began, _ = first_line(live, job)
    bound = SCAN + BOUND if ends_prologs(live) else BOUND
    assert began - came(live, "e2e-1", "e2e-2") < bound
    assert live.job(job)["Restarts"] == "0"
    assert_not_held(live, job)
    assert not prologs(live, job)


@pytest.mark.parametrize("command", [RECONFIGURE, pytest.param(RESTART, marks=pytest.mark.slow)])
def test_slurmctld_begins_anew_when_the_nodes_have_just_come(live: Live, command: str) -> None:
    """26.05 ends the prolog, lets the job go and loses its script: the engine makes Slurm notice."""
    job, other = live.sbatch("-w e2e-1", STAMP), live.sbatch("-w e2e-2", "sleep 90")
    stopped = " ".join(waiting(live, job))
    live.login(f"kill -STOP {stopped}")
    live.wait("the nodes are up", lambda: live.up("e2e-1", "e2e-2"), 60)
    live.wait("the other job runs", lambda: live.job(other)["JobState"] == "RUNNING", 15)
    live.login(command)
    live.login(f"kill -CONT {stopped}", check=False)
    live.job_done(job, 120)
    assert live.job(job)["Restarts"] == ("1" if ends_prologs(live) else "0")
    assert_not_held(live, job)
    fields = live.job(other)
    assert (fields["JobState"], fields["Restarts"]) == ("RUNNING", "0"), "its script runs"


def test_a_deploy_costs_no_job_its_fast_start(live: Live) -> None:
    live.cloud("fault", "add", "slow-boot", "--match", "e2e-1", "--seconds", "4", "--times", "1")
    job = live.sbatch("-w e2e-1", STAMP)
    waiting(live, job)
    try:
        live.write(suspend_time=6)
        live.command("deploy", "--yes", timeout=300)
    finally:
        live.write()
    live.job_done(job, 60)
    began, _ = first_line(live, job)
    assert began - came(live, "e2e-1") < BOUND
    assert live.job(job)["Restarts"] == "0"
    live.command("deploy", "--yes", timeout=300)
