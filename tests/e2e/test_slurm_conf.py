"""A slurm.conf that Slurm does not run with: seen before it is live, and put back. Without an engine."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.play_lab import Lab

LOGIN, CONF = "play-login", "/etc/slurm/slurm.conf"
OURS = "/etc/slurm/slurm-powersave.d"


@pytest.fixture
def job(lab: Lab) -> Iterator[str]:
    """A job that runs on play-1 all the time, in a cluster as it was first."""
    lab.describe()
    lab.play("deploy.yml", "--extra-vars", "slurmctld_replace_edits=true")
    up(lab)
    job = lab.on(LOGIN, "sbatch --parsable -w play-1 --chdir=/ --output=/dev/null --wrap 'sleep 900'")
    lab.wait("it runs", lambda: runs(lab, job))
    yield job
    assert runs(lab, job), "whatever was tried, the job went on"
    lab.on(LOGIN, f"scancel {job}")


def up(lab: Lab) -> None:
    """Wait until both nodes can run jobs."""
    lab.wait("both are up", lambda: {*lab.states().values()} <= {"idle", "mixed", "allocated"}, 60)


def runs(lab: Lab, job: str) -> bool:
    """Ask as every user does."""
    return lab.on(LOGIN, f"squeue --noheader --job={job} --format=%T", rc=None) == "RUNNING"


def files(lab: Lab) -> str:
    """The live files of the login node, as hashes, and the process of slurmctld."""
    return lab.on(LOGIN, "cd /etc/slurm; md5sum *.conf") + str(lab.pid(LOGIN, "slurmctld"))


def said(output: str) -> str:
    """Return an output as a person reads it: Ansible writes JSON, with its lines' ends as \\n."""
    return output.replace("\\n", "\n").replace('\\"', '"')


def test_a_typo_is_refused_before_it_is_live_and_its_cure_is_taken(lab: Lab, job: str) -> None:
    before = files(lab)
    lab.describe(slurm_conf_extra={"MaxArraySise": 1000})
    output = said(lab.play("deploy.yml", rc=2))
    assert "Nothing was changed: Slurm does not run with the new files" in output
    assert re.search(r"Parsing error at unrecognized key: MaxArraySise|MaxArraySise", output)
    assert files(lab) == before and runs(lab, job)
    lab.describe(slurm_conf_extra={"MaxArraySize": 1000})
    lab.play("deploy.yml")
    assert "= 1000" in lab.on(LOGIN, "scontrol show config | grep MaxArraySize") and runs(lab, job)
    assert lab.on(LOGIN, f"cat {OURS}/good/slurm.conf") == lab.on(LOGIN, f"cat {CONF}")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("extra", "says"),
    [
        # What `sinfo` does not find, slurmctld does.
        ({"PartitionName": ["twice Nodes=play-1", "twice Nodes=play-1"]}, "twice"),
        ({"PartitionName": ["wrong Nodes=nobody"]}, "nobody"),
        # What neither of them says.
        ({"TaskPlugin": "task/affinty"}, "there is no plugin task_affinty.so"),
        ({"SlurmctldParameters": "reboot_from_controller", "EpilogSlurmctld": "/no/such"}, "no such file"),
        ({"Include": "missing.conf"}, "there is no such file"),
        ({"StateSaveLocation": "/var/lib/slurm/elsewhere"}, "all jobs would be lost"),
    ],
    ids=["twice", "node", "plugin", "program", "include", "state"],
)
def test_what_slurm_does_not_start_with(lab: Lab, job: str, extra: dict[str, Any], says: str) -> None:
    before = files(lab)
    lab.describe(slurm_conf_extra=extra)
    output = said(lab.play("deploy.yml", rc=2))
    assert "Nothing was changed" in output and says in output
    assert files(lab) == before and runs(lab, job)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("slurm.conf", "MaxArraySise=1"),
        ("cgroup.conf", "ConstrainCoores=yes"),
        ("gres.conf", "Nmae=gpu Count=1"),
    ],
)
def test_a_mistake_by_hand_in_a_live_file_is_recovered_from(lab: Lab, job: str, name: str, line: str) -> None:
    # Without GresTypes nobody reads gres.conf.
    gres = {"gres_conf": "Name=token Count=1", "slurm_conf_extra": {"GresTypes": "token"}}
    lab.describe(**gres if name == "gres.conf" else {})
    lab.play("deploy.yml")
    lab.on(LOGIN, f"echo {line} >>/etc/slurm/{name}")
    if name == "slurm.conf":
        assert lab.on(LOGIN, "squeue 2>&1", rc=1), "from now on no user's command works"
    output = said(lab.play("deploy.yml"))
    assert f"{name} was edited here and is replaced (Slurm does not run with it)" in output
    assert re.search(rf"\n *\+{line}\n", output) and runs(lab, job)
    assert line not in lab.on(LOGIN, f"cat /etc/slurm/{name}")
    assert line in lab.on(LOGIN, f"cat {OURS}/old/*/{name}"), "a copy is kept"


@pytest.mark.slow
def test_a_slurmctld_that_does_not_come_up_gets_its_old_files_back(lab: Lab, job: str) -> None:
    before = lab.on(LOGIN, f"md5sum {CONF}")
    lab.describe(slurm_conf_extra={"PartitionName": ["wrong Nodes=nobody"]})
    lab.on(LOGIN, "mv /usr/bin/unshare /usr/bin/unshare.away")
    try:
        output = said(lab.play("deploy.yml", rc=2))
    finally:
        lab.on(LOGIN, "mv /usr/bin/unshare.away /usr/bin/unshare")
    assert "not tried: slurmctld: no namespace of its own" in output
    assert (
        "slurmctld did not take the new files; the old ones are back" in output
        and "partition wrong" in output
    )
    assert lab.on(LOGIN, f"md5sum {CONF}") == before and runs(lab, job)
    up(lab)  # and no node is drained


@pytest.mark.slow
def test_a_file_of_somebody_else_is_refused_with_its_diff_and_kept_when_replaced(lab: Lab, job: str) -> None:
    lab.on(LOGIN, f"sed -i '1s/.*/# do not touch/' {CONF}; rm -r {OURS}")
    output = said(lab.play("deploy.yml", rc=2))
    assert "slurm.conf in /etc/slurm of this host did not come from here" in output
    assert "\n-# do not touch\n+# Written by slurm-powersave" in output
    assert "do not touch" in lab.on(LOGIN, f"head -1 {CONF}")
    lab.play("deploy.yml", "--extra-vars", "slurmctld_replace_foreign=true")
    assert "Written by" in lab.on(LOGIN, f"head -1 {CONF}") and runs(lab, job)
    assert "do not touch" in lab.on(LOGIN, f"cat {OURS}/old/*/slurm.conf")


@pytest.mark.slow
def test_an_edit_by_hand_is_shown_and_stays_until_somebody_chooses(lab: Lab, job: str) -> None:
    lab.on(LOGIN, f"echo MessageTimeout=19 >>{CONF} && scontrol reconfigure")
    output = said(lab.play("deploy.yml"))
    assert "slurm.conf was edited on this host and stays so" in output
    assert re.search(r"\n *\+MessageTimeout=19\n", output)
    assert "MessageTimeout=19" in lab.on(LOGIN, f"cat {CONF}")
    lab.describe(slurm_conf_extra={"MaxArraySize": 1002})
    output = said(lab.play("deploy.yml", rc=2))
    assert "was edited on this host since it was written" in output and "--replace-edits" in output
    lab.play("deploy.yml", "--extra-vars", "slurmctld_replace_edits=true")
    assert "MessageTimeout=19" not in lab.on(LOGIN, f"cat {CONF}")
    assert "MessageTimeout=19" in lab.on(LOGIN, f"cat {OURS}/old/*/slurm.conf")


@pytest.mark.slow
def test_devices_that_only_nodes_have_are_no_obstacle(lab: Lab, job: str) -> None:
    node = "gpu-1 NodeAddr=127.0.0.9 CPUs=1 Gres=gpu:2 State=DOWN"
    extra = {"GresTypes": "gpu", "NodeName": node}
    lab.describe(gres_conf="NodeName=gpu-1 Name=gpu File=/dev/no-such[0-1]", slurm_conf_extra=extra)
    assert "not tried" not in lab.play("deploy.yml")
    lab.on(LOGIN, "test ! -e /dev/no-such0")
    lab.describe(gres_conf="NodeName=gpu-1 Name=gpu Flie=/dev/no-such[0-1]", slurm_conf_extra=extra)
    output = said(lab.play("deploy.yml", rc=2))
    assert "Nothing was changed" in output and "Flie" in output and runs(lab, job)


@pytest.mark.slow
def test_jobs_that_would_be_lost_are_named(lab: Lab, job: str) -> None:
    """The partition goes, and what refuses it without asking slurmctld for jobs is passed by."""
    before = files(lab)
    lab.describe(partitions=[{"name": "other", "pools": ["compute"], "options": {"Default": "YES"}}])
    play = [{"hosts": "login", "gather_facts": False, "roles": ["slurmctld"]}]
    path = lab.root / "only.yml"
    path.write_text(json.dumps(play))
    output = said(lab.play(str(path), rc=2))
    assert f"these jobs would be lost: {job}" in output
    assert files(lab) == before and runs(lab, job)


@pytest.mark.slow
def test_a_slurmctld_that_is_tried_calls_no_hook(lab: Lab, job: str) -> None:
    """In the candidate a partition is up that is down: 30 s later its job begins, its node is resumed."""
    down = {"name": "later", "pools": ["compute"], "options": {"State": "DOWN"}}
    main = {"name": "main", "pools": ["compute"], "options": {"Default": "YES"}}
    lab.describe(nodes=3, partitions=[main, down])
    lab.play("deploy.yml")
    waiting = lab.on(LOGIN, "sbatch --parsable -p later -w play-3 --chdir=/ --output=/dev/null --wrap true")
    spool = "cat /var/spool/slurm-powersave/new/*"
    before = lab.on(LOGIN, spool, rc=None)
    lab.describe(nodes=3, partitions=[main, {**down, "options": {"MaxTime": "60"}}])
    role = {"role": "slurmctld", "slurmctld_try_seconds": 40}
    path = lab.root / "only.yml"
    path.write_text(json.dumps([{"hosts": "login", "gather_facts": False, "roles": [role]}]))
    output = said(lab.play(str(path), "--check", "-v"))
    assert "/usr/lib/slurm-powersave/resume play-3" in output, "there it would have been called"
    assert lab.on(LOGIN, spool, rc=None) == before, "and was not"
    assert lab.on(LOGIN, f"squeue --noheader --job={waiting} --format=%T") == "PENDING"
    lab.on(LOGIN, f"scancel {waiting}; scontrol update nodename=play-3 state=DRAIN reason=leaves")


@pytest.mark.slow
def test_a_node_whose_slurmd_does_not_start_gets_its_old_files_back(lab: Lab, job: str) -> None:
    before = lab.on("play-1", f"md5sum {CONF}")
    plugins = "/usr/lib/x86_64-linux-gnu/slurm-wlm"
    lab.on("play-1", f"mv {plugins}/proctrack_pgid.so /root/")
    lab.describe(slurm_conf_extra={"ProctrackType": "proctrack/pgid"})
    output = said(lab.play("resize.yml", rc=2))
    lab.on("play-1", f"mv /root/proctrack_pgid.so {plugins}/")
    assert "its old files are back, and slurmd runs with them" in output and "proctrack" in output
    assert lab.on("play-1", f"md5sum {CONF}") == before and lab.pid("play-1", "slurmd") > 0
