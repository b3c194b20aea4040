"""On the real chain: nodes that Slurm can't reach, because their servers are gone, off or silent."""

import time
from collections.abc import Iterator

import pytest

from tests.e2e.harness import OFF, Live
from tests.e2e.silence_stories import silent, timeout

NODE = "e2e-1"


@pytest.fixture
def hasty(live: Live) -> Iterator[Live]:
    """The cluster with times that fit into a test: Slurm's for silent nodes, and the engine's."""
    before = live.log().count("cluster file: failure")
    live.write(restart_after=5, silent_after=100)
    live.command("continue", "--confirm")  # the journal is new
    slurmd = live.login("grep ^SlurmdTimeout /etc/slurm/slurm.conf", check=False).strip()
    timeout(live, "SlurmdTimeout=10")
    live.wait("the engine has taken them", lambda: live.log().count("cluster file: failure") > before, 10)
    yield live
    timeout(live, slurmd)
    live.write()
    live.wait("it takes the old ones", lambda: live.log().count("cluster file: failure") > before + 1, 10)
    if live.node(NODE).has("DOWN"):
        live.login(f"scontrol update nodename={NODE} state=RESUME", check=False)


def given_back(live: Live, node: str) -> bool:
    """Tell whether a node is off, and may be used."""
    seen = live.node(node)
    return OFF in seen.flags and not seen.has("DOWN", "DRAIN", "NOT_RESPONDING")


def test_a_node_whose_server_has_gone_is_given_back(live: Live) -> None:
    live.idle(NODE)
    live.cloud("delete", live.servers()[NODE])
    # What slurmctld does itself after SlurmdTimeout, as SlurmUser.
    down = f"scontrol update nodename={NODE} state=DOWN reason='Not responding'"
    live.login(f'su -s /bin/sh slurm -c "{down}"')
    assert live.node(NODE).reason_by == "slurm"
    live.wait("it is off, and may be used", lambda: given_back(live, NODE), 120)
    live.job_done(live.sbatch(f"-w {NODE}"), 90)


@pytest.mark.slow
def test_a_server_that_was_switched_off_is_started_again(hasty: Live) -> None:
    live = hasty
    live.idle(NODE)
    server, boots = live.servers()[NODE], live.boots(NODE)
    live.cloud("stop", server)
    live.wait("Slurm has set it DOWN", lambda: silent(live, NODE), 90)
    live.wait("status warns of it", lambda: "is off" in live.command("status"), 60)
    live.wait("Slurm has it back", lambda: live.up(NODE) and not live.node(NODE).has("DOWN"), 120)
    assert live.servers() == {NODE: server} and live.boots(NODE) != boots
    live.job_done(live.sbatch(f"-w {NODE}"), 60)
    assert "is off" not in live.command("status")
    assert "dead or silent" in live.command("history", "--evidence", "--node", NODE)


@pytest.mark.slow
def test_a_server_that_stays_silent_is_replaced(hasty: Live) -> None:
    """Its sshd hangs, and a reboot does not help."""
    live = hasty
    live.idle(NODE)
    server = live.servers()[NODE]
    stop = "systemctl stop slurmd; systemctl disable ssh ssh.socket; systemd-run --on-active=1"
    live.ssh(f"{live.network}.1.1", f"{stop} systemctl stop ssh.socket ssh", check=False)
    live.wait("Slurm has set it DOWN", lambda: silent(live, NODE), 90)
    live.wait("status warns of it", lambda: "does not answer SSH" in live.command("status"), 90)
    live.wait("its server is replaced", lambda: server not in live.servers().values(), 300)
    live.wait("it is off, and may be used", lambda: given_back(live, NODE), 120)
    live.job_done(live.sbatch(f"-w {NODE}"), 90)


@pytest.mark.slow
def test_the_owner_of_a_lost_job_is_told_why(hasty: Live) -> None:
    """Slurm has requeued it. One that is over for Slurm (--no-requeue) it changes no more (26.05.5)."""
    live = hasty
    job = live.sbatch(f"-w {NODE}", "sleep 600")
    live.wait("it runs", lambda: live.job(job)["JobState"] == "RUNNING", 90)
    time.sleep(35)  # the engine reads all nodes every 30 s
    live.cloud("delete", live.servers()[NODE])
    live.wait("it is told", lambda: "slurm-powersave: " in live.login(f"scontrol show job {job}"), 90)
    said = live.login(f"scontrol show job {job}")
    assert f"{NODE} died" in said and "its server is gone" in said
    live.login(f"scancel {job}")
    live.wait("it is off, and may be used", lambda: given_back(live, NODE), 120)


@pytest.mark.slow
def test_a_node_whose_slurmd_has_ended_is_only_named(hasty: Live) -> None:
    live = hasty
    live.idle(NODE)
    servers = live.servers()
    live.ssh(f"{live.network}.1.1", "systemctl stop slurmd")
    live.wait("Slurm has set it DOWN", lambda: silent(live, NODE), 90)
    live.wait("status says where to look", lambda: "journalctl -u slurmd" in live.command("status"), 90)
    time.sleep(20)
    assert live.servers() == servers and live.node(NODE).has("DOWN")
    live.ssh(f"{live.network}.1.1", "systemctl start slurmd")
    live.login(f"scontrol update nodename={NODE} state=RESUME")
    live.wait("the warning has ended", lambda: "slurmd" not in live.command("status"), 90)
