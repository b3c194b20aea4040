"""On the real chain: a lost journal, a Slurm that has lost its state, and what people have set."""

import time

import pytest

from slurm_powersave import wiring
from slurm_powersave.decide.node import brake
from tests.e2e.harness import OFF, Live


def lose_the_journal(live: Live) -> None:
    """Delete the journal's files while no engine runs."""
    live.stop_engine()
    for path in live.cluster.layout.root.glob("journal.db*"):
        path.unlink()


def failed(live: Live, node: str) -> bool:
    """Tell whether a resume of the node has failed."""
    return any(op.outcome == "failed" for op in live.journal().history(node, 5))


def test_a_lost_journal_costs_no_running_job_its_server(live: Live) -> None:
    job = live.sbatch("-w e2e-[1-2] -N2", "sleep 40; echo alive")
    live.wait("it runs", lambda: live.job(job)["JobState"] == "RUNNING", 90)
    servers, boots = live.servers(), live.boots("e2e-1", "e2e-2")
    lose_the_journal(live)
    live.fault("create-fails", "e2e-3")
    live.start_engine()
    live.sbatch("-w e2e-3")
    live.wait("the creation has failed", lambda: failed(live, "e2e-3"), 60)
    time.sleep(12)  # what the engine compares, it has compared by now
    assert {name: one for name, one in live.servers().items() if name in servers} == servers
    assert live.boots("e2e-1", "e2e-2") == boots
    live.job_done(job, 90)
    assert live.login(f"cat /mnt/ohpc/{job}.out").strip() == "alive"
    record = live.journal().node_record("e2e-1")
    assert record and record.server_id == servers["e2e-1"] and record.shard, "recorded again, with its state"
    assert live.journal().brake() == brake.NEW
    live.cloud("fault", "clear")
    live.command("continue", "--confirm")
    assert not live.journal().brake()


@pytest.mark.slow
def test_a_server_says_whether_a_job_runs_there(live: Live) -> None:
    job = live.sbatch("-w e2e-1", "sleep 15")
    live.wait("it runs", lambda: live.job(job)["JobState"] == "RUNNING", 90)
    node = live.cluster.node_spec("e2e-1")
    asked = wiring.site(live.cluster).playbooks()
    live.wait("it says so", lambda: asked.runs_steps(node) is True, 10)
    live.job_done(job, 60)
    live.wait("it says that none does", lambda: asked.runs_steps(node) is False, 15)
    assert asked.runs_steps(live.cluster.node_spec("e2e-4")) is None, "one that is not there says nothing"


@pytest.mark.slow
def test_a_slurm_that_calls_running_nodes_off_gets_no_server_deleted(live: Live) -> None:
    """Without its StateSaveLocation slurmctld starts as on its first day: cloud nodes are off for it."""
    job = live.sbatch("-w e2e-1", "sleep 60")
    live.wait("it runs", lambda: live.job(job)["JobState"] == "RUNNING", 90)
    servers = live.servers()
    place = live.login("scontrol show config | awk '/^StateSaveLocation/ {print $3}'").strip()
    assert place.startswith("/var/")
    live.login(f"systemctl stop slurmctld && find {place} -mindepth 1 -delete && systemctl start slurmctld")
    live.wait("slurmctld answers", lambda: live.nodes(), 30)
    time.sleep(20)
    assert live.servers() == servers


@pytest.mark.slow
def test_a_suspend_by_hand_leaves_what_somebody_has_drained(live: Live) -> None:
    live.idle("e2e-1")
    live.login("scontrol update nodename=e2e-1 state=DRAIN reason='prüfen: fan 3'")
    said = live.command("suspend", "e2e-1", "--wait", timeout=60, rc=7)
    assert live.servers() and "fan 3" in said + live.log()
    live.command("suspend", "e2e-1", "--force", "--wait", timeout=90)
    assert not live.servers()
    node = live.node("e2e-1")
    assert node.has("DRAIN") and node.reason == "prüfen: fan 3", node
    live.login("scontrol update nodename=e2e-1 state=RESUME")


@pytest.mark.slow
def test_a_drain_outlives_a_creation_that_fails(live: Live) -> None:
    """Node off, drained with a reason, powered up, and its creation fails."""
    live.login("scontrol update nodename=e2e-2 state=DRAIN reason='bad DIMM'")
    # On 22.05 POWER_UP wipes the reason: the engine must have seen it before.
    live.wait("the engine has seen it", lambda: "e2e-2" in live.journal().admin_states(), 60)
    live.fault("create-fails", "e2e-2")
    live.login("scontrol update nodename=e2e-2 state=POWER_UP")
    live.wait("it has failed", lambda: failed(live, "e2e-2"), 60)
    live.wait("Slurm counts it as off", lambda: OFF in live.node("e2e-2").flags, 40)
    node = live.node("e2e-2")
    assert node.has("DRAIN") and node.reason == "bad DIMM", node
    live.cloud("fault", "clear")
    live.login("scontrol update nodename=e2e-2 state=RESUME")


@pytest.mark.slow
def test_while_it_is_paused_a_resume_waits(live: Live) -> None:
    live.command("pause", "the cloud is being mended")
    job = live.sbatch("-w e2e-1")
    live.wait("Slurm has asked", lambda: live.node("e2e-1").powering_up, 20)
    time.sleep(5)
    assert not live.servers()
    live.command("continue", "--pauses")
    live.job_done(job, 60)
