"""The real chain: slurmctld, hooks, stream, engine, Terraform, containers, Ansible, slurmd."""

import re
import time

import pytest

from slurm_powersave.model.errors import FailureClass
from slurm_powersave.model.nodes import NodeFacts
from tests.e2e.harness import OFF, Live


def test_a_job_brings_its_nodes_up_and_idleness_takes_them_away(live: Live) -> None:
    # Features and Gres of nodes that have never been up count as well.
    job = live.sbatch("-N3 -C container --gres=disk:1", "srun hostname")
    live.job_done(job, 60)
    assert sorted(live.login(f"cat /mnt/ohpc/{job}.out").split()) == ["e2e-1", "e2e-2", "e2e-3"]
    assert sorted(live.servers()) == ["e2e-1", "e2e-2", "e2e-3"]
    # What slurm.conf says, of a node that is off and of one whose slurmd found all of this machine.
    assert live.node("e2e-1").configured == live.node("e2e-4").configured == NodeFacts(1, 921)
    assert "No changes" in live.command("terraform", "plan")
    live.wait("SuspendTime takes the nodes away", lambda: not live.servers(), 60)
    live.wait(
        "Slurm counts them as off", lambda: all(OFF in live.node(f"e2e-{n}").flags for n in (1, 2, 3)), 30
    )
    assert "No changes" in live.command("terraform", "plan")


@pytest.mark.slow
def test_the_same_node_five_times(live: Live) -> None:
    """The known issue of eiffel-ohpc: from the second time on slurmctld lost the node."""
    generations = set()
    for _ in range(5):
        job = live.sbatch("-w e2e-2", "hostname; cat /proc/sys/kernel/random/boot_id")
        live.job_done(job, 60)
        assert live.login(f"cat /mnt/ohpc/{job}.out").splitlines()[0] == "e2e-2"
        generations.add(live.servers()["e2e-2"])
        live.wait("nothing is completing", lambda: not live.node("e2e-2").has("COMPLETING"), 10)
        assert not live.node("e2e-2").has("NOT_RESPONDING", "DOWN", "DRAIN")
        live.login("scontrol update nodename=e2e-2 state=POWER_DOWN")
        live.wait("its server is gone", lambda: not live.servers(), 30)
        live.wait("Slurm counts it as off", lambda: OFF in live.node("e2e-2").flags, 30)
    assert len(generations) == 5


def test_four_hooks_at_once(live: Live) -> None:
    jobs = [live.sbatch(f"-w e2e-{n}") for n in (1, 2, 3, 4)]
    for job in jobs:
        live.job_done(job, 90)
    assert sorted(live.servers()) == ["e2e-1", "e2e-2", "e2e-3", "e2e-4"]


def test_engine_is_down_while_hooks_fire(live: Live) -> None:
    live.stop_engine()
    jobs = [live.sbatch("-w e2e-1"), live.sbatch("-w e2e-2")]
    live.wait("Slurm has asked", lambda: live.node("e2e-2").powering_up, 20)
    time.sleep(2)
    live.start_engine()
    for job in jobs:
        live.job_done(job, 60)


def test_engine_is_killed_while_terraform_works(live: Live) -> None:
    live.cloud("fault", "add", "slow-create", "--match", "e2e-[12]", "--seconds", "4", "--times", "2")
    job = live.sbatch("-w e2e-[1-2]")

    def applying() -> bool:
        return any(op.phase == "applying" for op in live.open_operations())

    live.wait("terraform apply runs", applying, 20)
    live.kill_engine()
    live.start_engine()
    live.job_done(job, 60)
    assert sorted(live.servers()) == ["e2e-1", "e2e-2"]
    assert len(live.cloud("list", "--tag", "node=e2e-1")) == 1
    assert "of an earlier engine goes on" in live.log()


def test_engine_and_terraform_are_killed_in_mid_apply(live: Live) -> None:
    live.cloud("fault", "add", "slow-create", "--match", "e2e-1", "--seconds", "4", "--times", "1")
    job = live.sbatch("-w e2e-1")
    live.wait(
        "terraform apply runs", lambda: any(op.phase == "applying" for op in live.open_operations()), 20
    )
    live.kill_engine(with_terraform=True)
    live.start_engine()
    live.job_done(job, 90)
    assert len(live.cloud("list", "--tag", "node=e2e-1")) == 1


def test_the_connection_is_cut_and_comes_back(live: Live) -> None:
    live.cut_network(True)
    try:
        time.sleep(1)
    finally:
        live.cut_network(False)
    job = live.sbatch("-w e2e-3")
    live.kill_stream()
    live.job_done(job, 90)


def test_slurmctld_is_restarted_in_mid_resume(live: Live) -> None:
    job = live.sbatch("-N2")
    live.wait("the nodes are coming", lambda: len(live.servers()) == 2, 30)
    live.login("systemctl restart slurmctld")
    live.job_done(job, 90)


def test_second_engine_says_who_holds_the_lock_and_leaves(live: Live) -> None:
    text = live.command("engine", "run", rc=3)
    assert str(live.engine_pid) in text and "running already" in text


@pytest.mark.every_slurm
def test_failing_create_reaches_slurm_and_rests(live: Live) -> None:
    live.fault("create-fails", "e2e-4", times=1)
    first = live.sbatch("-w e2e-4")
    live.wait("the reason is in Slurm", lambda: "(capacity)" in live.node("e2e-4").reason, 30)
    assert live.node("e2e-4").reason.startswith("slurm-powersave: (capacity)")
    assert "No valid host" in live.login(f"scontrol show job {first}")
    second, other = live.sbatch("-w e2e-4"), live.sbatch("-w e2e-5")
    live.job_done(other, 60)
    live.job_done(first, 90)
    live.job_done(second, 60)
    journal = live.journal()
    tried = [op for op in journal.history("e2e-4", 10) if op.mode == "resume"][:2]
    journal.close()
    assert [op.outcome for op in tried] == ["done", "failed"], tried
    rest = live.cluster.failure.rest[FailureClass.CAPACITY]
    assert tried[0].created - tried[1].phases[0].at >= rest, (
        "the same create came again before its rest was over"
    )
    assert not live.node("e2e-4").has("DRAIN")


def test_boot_that_fails_is_removed_and_the_other_node_serves(live: Live) -> None:
    live.fault("boot-fails", "e2e-1")
    bad, good = live.sbatch("-w e2e-1"), live.sbatch("-w e2e-2")
    live.job_done(good, 60)
    live.wait("the failed boot is told", lambda: "node-local" in live.node("e2e-1").reason, 60)
    live.wait("its server is removed", lambda: "e2e-1" not in live.servers(), 30)
    live.job_done(bad, 120)


def test_requests_by_hand_use_the_same_queue(live: Live) -> None:
    assert "done" in live.command("resume", "e2e-[5-6]", "--wait", timeout=90)
    assert live.up("e2e-5", "e2e-6")
    live.command("suspend", "e2e-[5-6]", "--wait", timeout=90)
    assert not live.servers()


def test_suspend_of_a_node_with_a_job_is_refused(live: Live) -> None:
    job = live.sbatch("-w e2e-1", "sleep 20")
    live.wait("the job runs", lambda: live.job(job).get("JobState") == "RUNNING" and live.up("e2e-1"), 60)
    text = live.command("suspend", "e2e-1", "--wait", timeout=60, rc=7)
    assert "in use" in text
    assert live.job(job)["JobState"] == "RUNNING"
    live.login(f"scancel {job}")


def test_unknown_nodes_are_refused_and_the_good_ones_served(live: Live) -> None:
    live.login("su -s /bin/sh slurm -c '/usr/lib/slurm-powersave/suspend \"e2e-1,nosuch-[1-3],$(id)\"'")

    def refused() -> bool:
        return any("nosuch" in part for part, _ in live.refusals())

    live.wait("the refusal is recorded", refused, 15)


@pytest.mark.slow
def test_deploy_again_changes_nothing(live: Live) -> None:
    text = live.command("deploy", "--yes", timeout=180)
    assert re.search(r"changed=0 ", text), text[-2000:]


def test_another_login_address_takes_nothing_away(live: Live) -> None:
    """Seen on this chain: the login node was replaced, and a node with a job got a new server."""
    job = live.sbatch("-w e2e-1", "sleep 600")
    live.wait("the job runs", lambda: live.job(job).get("JobState") == "RUNNING" and live.up("e2e-1"), 60)
    servers, boots = live.cloud("list"), live.boots("e2e-1")
    state = (live.root / "state/terraform/base/terraform.tfstate").read_bytes()
    live.write(login=99)
    try:
        text = live.command("deploy", "--yes", rc=7, timeout=120)
        assert f"localcloud_server.login ({live.name}-login, " in text
        address = f'from "{live.network}.0.10" to "{live.network}.0.99" (login.address)'
        assert f"would be replaced: network[0].fixed_ip_v4 {address}" in text
        assert f"deploy --replace-login {live.name}-login" in text
        words = ("deploy", "--yes", "--replace-login", f"{live.name}-login")
        assert f"jobs are queued or running: {job}" in live.command(*words, rc=7, timeout=120)
        assert "No changes" in live.command("terraform", "plan")
        live.job_done(live.sbatch("-w e2e-2"), 60)
    finally:
        live.write()
    assert (live.root / "state/terraform/base/terraform.tfstate").read_bytes() == state
    assert live.boots("e2e-1") == boots and live.job(job)["JobState"] == "RUNNING"
    there = {server["id"] for server in live.cloud("list")}
    assert there >= {server["id"] for server in servers}
    live.login(f"scancel {job}")


@pytest.mark.slow
def test_the_login_node_is_replaced_by_its_name_alone(live: Live) -> None:
    before = {server["name"]: server["id"] for server in live.cloud("list")}
    live.stop_engine()
    live.command("deploy", "--yes", "--replace-login", "e2e-1", rc=2, timeout=60)
    live.command("deploy", "--yes", "--replace-login", f"{live.name}-login", timeout=300)
    after = {server["name"]: server["id"] for server in live.cloud("list")}
    assert after.keys() == before.keys() and after != before
    assert "No changes" in live.command("terraform", "plan")
    live.start_engine()
    live.job_done(live.sbatch("-w e2e-1"), 60)


def test_login_host_that_can_not_be_reached_is_told(live: Live) -> None:
    live.cut_network(True)
    try:
        text = live.command("status", timeout=60)
        assert "slurm could not be read" in text and "?" in text
    finally:
        live.cut_network(False)
    live.wait("the engine is connected again", lambda: "connected since" in live.command("status"), 60)


@pytest.mark.slow
def test_node_that_never_came_is_brought_back_after_resume_timeout(live: Live) -> None:
    """The engine is down for all of ResumeTimeout: Slurm gives the node up and calls ResumeFailProgram."""
    live.stop_engine()
    job = live.sbatch("-w e2e-1")
    live.wait("Slurm gives the node up", lambda: "ResumeTimeout" in live.node("e2e-1").reason, 120)
    live.start_engine()
    live.wait("it is back in service", lambda: not live.node("e2e-1").has("DOWN"), 60)
    live.job_done(job, 180)
