"""A lost control host, a torn-down cluster, a deploy that is killed: each goes on, and nothing is leaked."""

import json
import os
import shutil
import signal
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from slurm_powersave.adapters.state_dir import lock
from tests.e2e.harness import Live


@pytest.fixture(scope="module", autouse=True)
def whole(deployed: Live) -> Iterator[None]:
    """Whatever a test here has left half done, the next module gets a cluster that works, if there is one."""
    yield
    engine = lock.holder(deployed.root / "state/engine.lock")
    if engine is None or not deployed.cluster.layout.slurm_conf_in_use.exists():
        deployed.remove()


def running(live: Live, node: str) -> int:
    """Start a job that stays, and wait until it runs on the node."""
    job = live.sbatch(f"-w {node}", "sleep 600")
    live.wait(f"job {job} runs", lambda: live.job(job).get("JobState") == "RUNNING", 60)
    return job


def recorded(live: Live) -> dict[str, str]:
    """Node -> server, as the journal has it."""
    journal = live.journal()
    try:
        return {name: r.server_id for name, r in journal.node_records().items() if r.server_id}
    finally:
        journal.close()


def test_a_lost_control_host_comes_back_from_a_stale_backup(live: Live, tmp_path: Path) -> None:
    """e2e-1 was there before the backup and stays, e2e-2 was made after it, e2e-3 went after it."""
    goes, stays = live.sbatch("-w e2e-3", "sleep 600"), running(live, "e2e-1")
    live.wait("both run", lambda: live.job(goes).get("JobState") == "RUNNING", 60)
    backup = tmp_path / "backup.tar.gz"
    live.command("backup", "--to", str(backup))
    live.login(f"scancel {goes}")
    comes = running(live, "e2e-2")
    live.wait("e2e-3 is suspended", lambda: "e2e-3" not in live.servers() and not live.open_operations(), 60)
    servers, boots = live.servers(), live.boots("e2e-1", "e2e-2")
    assert sorted(servers) == ["e2e-1", "e2e-2"]

    live.stop_engine()
    shutil.rmtree(live.root / "state")
    assert "start the engine" in live.command("restore", str(backup))
    assert sorted(recorded(live)) == ["e2e-1", "e2e-3"], "the backup is stale"
    live.start_engine()
    live.wait("the journal says what the cloud says", lambda: recorded(live) == servers, 40)
    live.wait("the state is tidied", lambda: not dirty(live), 30)
    assert live.servers() == servers and live.boots("e2e-1") == {"e2e-1": boots["e2e-1"]}
    assert {live.job(job)["JobState"] for job in (stays, comes)} == {"RUNNING"}
    assert "No changes" in live.command("terraform", "plan")

    again = live.sbatch("-w e2e-3")
    live.login(f"scancel {comes}")
    live.job_done(again, 60)
    live.wait("e2e-2 is suspended", lambda: "e2e-2" not in live.servers(), 60)
    assert live.servers()["e2e-1"] == servers["e2e-1"]
    live.job_done(live.sbatch("-w e2e-2", "hostname"), 60)
    assert live.job(stays)["JobState"] == "RUNNING"


def dirty(live: Live) -> frozenset[str]:
    """Shards that are to be tidied."""
    journal = live.journal()
    try:
        return journal.dirty_shards()
    finally:
        journal.close()


def test_teardown_leaves_nothing(live: Live) -> None:
    """With a job, and with the nodes' Terraform states lost: their servers are found by their tag."""
    running(live, "e2e-1")
    assert "an engine is running" in live.command("teardown", "--yes", rc=3)
    live.stop_engine()
    assert "jobs are running" in live.command("teardown", "--yes", rc=7)
    shutil.rmtree(live.root / "state/terraform/local")
    argv = live.argv("teardown", "--yes", "--force", "--json")
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    value: dict[str, Any] = json.loads(done.stdout)
    assert value["torn_down"]
    assert sorted(server["name"] for server in value["servers"]) == ["e2e-1", "e2e-login"]
    assert live.cloud("list") == [] and live.cloud("network", "show") is None
    assert not Path(f"/sys/class/net/{live.bridge}").exists()
    with tarfile.open(value["backup"]) as saved:
        names = saved.getnames()
        log = saved.extractfile("logs/slurmctld.log")
        assert log and b"slurmctld version" in log.read()
    assert {"manifest.json", "cluster.yml", "state/journal.db", "state/keys/id_ed25519"} <= set(names)
    assert "Nothing of the cluster is left" in live.command("teardown", "--yes")


def family(pid: int) -> list[int]:
    """A process and all that it has started."""
    listed = subprocess.run(["ps", "-e", "-o", "pid=,ppid="], capture_output=True, text=True, check=True)
    parents = [tuple(map(int, line.split())) for line in listed.stdout.splitlines()]
    found = [pid]
    for parent in found:
        found += [child for child, its in parents if its == parent]
    return found


def killed(live: Live, what: str, word: str) -> str:
    """Start a deploy, kill it with all its processes as soon as it has said a word; return its output."""
    path = live.root / "deploy.log"
    with path.open("wb") as log:
        deploy = subprocess.Popen(live.argv("deploy", "--yes"), stdout=log, stderr=log)
    try:
        live.wait(what, lambda: deploy.poll() is not None or said(live, path, word), 90)
        assert deploy.poll() is None, path.read_text()[-3000:]
    finally:
        for pid in family(deploy.pid):
            os.kill(pid, signal.SIGKILL)
        deploy.wait()
    return path.read_text()


def said(live: Live, log: Path, word: str) -> bool:
    """A word of the log, or the status of a server."""
    return word in log.read_text() or word in [server["status"] for server in live.cloud("list")]


@pytest.mark.slow
def test_a_deploy_that_is_killed_goes_on(deployed: Live) -> None:
    live = deployed
    live.stop_engine()
    live.command("teardown", "--yes", "--force", timeout=120)
    slow = ["--match", f"{live.name}-login", "--seconds", "30", "--times", "1"]
    live.cloud("fault", "add", "slow-create", *slow)
    killed(live, "terraform makes the login node", "BUILD")
    (orphan,) = [server["id"] for server in live.cloud("list")]
    text = killed(live, "Ansible is at work", "TASK [slurm_host")
    assert f"({orphan}) was left by an interrupted deploy" in text
    assert orphan not in [server["id"] for server in live.cloud("list")]
    live.command("deploy", "--yes", timeout=180)
    assert len(live.cloud("list")) == 1
    live.start_engine()
    live.job_done(live.sbatch("-w e2e-1"), 60)
    assert "No changes" in live.command("terraform", "plan")
