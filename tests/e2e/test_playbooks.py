"""The playbooks against containers: a login node and two nodes, without Terraform and engine."""

import base64
import json
import re
import time
from pathlib import Path

import pytest

from slurm_powersave.adapters.ansible.playbooks import Hooks
from slurm_powersave.adapters.requests.spool import parse_named
from slurm_powersave.model.errors import FailureClass
from slurm_powersave.model.hostlist import expand_any
from slurm_powersave.model.modes import Mode
from slurm_powersave.model.slurm_version import Version
from slurm_powersave.model.slurm_versions import Difference, has
from tests.e2e.conftest import PLAY_NETWORK
from tests.e2e.play_lab import Lab, changed

OTHER_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJY7yBaJ9VaDsV7rc1bMXuKXRWgapNkXDcU73uzJ50es"


# In the engine's place: notes who it is and what it may write, and leaves a process behind.
STANDIN = """#!/bin/sh
{ echo "$@"; id -un; touch /etc/x "$TMPDIR/x"; } >"$HOME/seen" 2>&1
setsid sleep 77 &
exec sleep 88
"""


def test_hooks_and_spool_are_what_slurm_wants_and_the_persistent_node_was_asked_for(lab: Lab) -> None:
    shown = lab.on("play-login", "cd /usr/lib/slurm-powersave && stat --format='%n %U %a' *").splitlines()
    names = ["prolog-slurmctld", "reader", "ready", "reboot", "resume", "resume-fail", "suspend"]
    assert shown == [f"{name} root 755" for name in names]
    assert lab.on("play-login", "stat --format='%U %a' /var/spool/slurm-powersave/new") == "slurm 700"
    config = lab.on("play-login", "scontrol show config")
    assert re.search(r"ResumeProgram\s+= /usr/lib/slurm-powersave/resume\n", config)
    new = "/var/spool/slurm-powersave/new"
    texts = {
        name: lab.on("play-login", f"cat {new}/{name}") for name in lab.on("play-login", f"ls {new}").split()
    }
    requests = [parse_named(name, f"{text}\n".encode()) for name, text in texts.items()]
    asked = {name for one in requests for name in expand_any(one.hostlist)}
    assert (asked, {one.mode for one in requests}) == ({"play-1", "play-2"}, {Mode.RESUME})


def test_a_second_deploy_changes_nothing(lab: Lab) -> None:
    before = lab.started("play-login", "slurmctld")
    assert changed(lab.play("deploy.yml")) == 0
    assert lab.started("play-login", "slurmctld") == before


def test_a_configured_node_runs_jobs_and_is_left_alone_by_a_second_run(lab: Lab) -> None:
    assert lab.on("play-login", "srun --nodes=2 --ntasks-per-node=1 hostname | sort") == "play-1\nplay-2"
    before = lab.pid("play-1", "slurmd"), lab.pid("play-1", "munge")
    began = time.monotonic()
    news, result, run = lab.configure("play-1")
    print(f"a node that is right takes {time.monotonic() - began:.1f} s")
    assert result.ok
    assert news["play-1"].ok
    assert (lab.pid("play-1", "slurmd"), lab.pid("play-1", "munge")) == before
    assert lab.on("play-1", "systemctl is-enabled slurmd", rc=None) == "disabled", "storage comes first"
    assert lab.on("play-1", "stat --format='%U %a' /etc/munge/munge.key") == "munge 400"
    assert lab.on("play-1", "getent hosts play-2").split() == [f"{PLAY_NETWORK}.1.2", "play-2"]
    left = {path.name for path in Path(run.record.directory).iterdir()}
    assert left == {"run.json", "stdout.jsonl", "stderr", "rc"}


def test_the_munge_key_is_in_no_output(lab: Lab) -> None:
    key = base64.b64encode((lab.state / "keys/munge.key").read_bytes()).decode()
    output = lab.play("node.yml", "--limit", "play-1", "-vvv", "--diff")
    assert "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER" in output
    assert key[:40] not in output
    assert key[:40] not in lab.on("play-1", "journalctl --no-pager; cat /tmp/* 2>/dev/null; ps axww", rc=None)


def test_mpi_runs_over_the_nodes(lab: Lab) -> None:
    output = lab.play("test.yml")
    assert "2 nodes answered: play-1 play-2" in output
    assert "rank 1 of 2 on play-2" in output


def test_a_new_setting_is_read_in_place(lab: Lab) -> None:
    before = lab.started("play-login", "slurmctld")
    lab.describe(slurm_conf_extra={"MessageTimeout": 17})
    assert changed(lab.play("deploy.yml", "--check")) == 2, "slurm.conf and the record of what is loaded"
    assert "MessageTimeout          = 10 sec" in lab.on("play-login", "scontrol show config")
    assert changed(lab.play("deploy.yml")) == 2, "the same"
    assert "MessageTimeout          = 17 sec" in lab.on("play-login", "scontrol show config")
    assert lab.started("play-login", "slurmctld") == before


@pytest.mark.slow
def test_a_new_node_count_is_taken_by_a_restart_or_a_reconfigure_that_keeps_jobs(lab: Lab) -> None:
    job = lab.on("play-login", "sbatch --parsable --begin=now+1hour --wrap true")
    before, slurmd = lab.started("play-login", "slurmctld"), lab.pid("play-1", "slurmd")
    prolog, site_prolog = lab.root / "prolog", lab.root / "prolog-slurmctld"
    prolog.write_text("#!/bin/sh\ntouch /run/prolog\n")
    site_prolog.write_text("#!/bin/sh\ntouch /tmp/site-prolog\n")
    lab.describe(nodes=3, fast_start=True, prolog=str(prolog), prolog_slurmctld=str(site_prolog))
    # A deploy that was killed between writing slurm.conf and telling slurmctld is finished by the next one.
    copy = {"content": "{{ slurm_powersave.slurm_conf }}", "dest": "/etc/slurm/slurm.conf", "mode": "0644"}
    half = lab.root / "half.yml"
    play = {"hosts": "login", "gather_facts": False, "tasks": [{"ansible.builtin.copy": copy}]}
    half.write_text(json.dumps([play]))
    lab.play(str(half))
    assert "play-3" not in lab.states()
    lab.play("deploy.yml")
    reconfigured = has(Version.of(lab.slurm), Difference.RECONFIGURE_TAKES_NODES)
    assert (lab.started("play-login", "slurmctld") == before) is reconfigured
    assert "play-3" in lab.states()
    assert lab.on("play-login", f"squeue --noheader --format=%A --jobs={job}") == job
    assert lab.on("play-login", "stat --format='%U %a' /run/slurm-powersave/ready") == "slurm 755"
    assert "prolog-slurmctld" in lab.on("play-login", "scontrol show config | grep PrologSlurmctld")

    news, result, _ = lab.configure("play-1", "play-2")
    assert result.ok, news
    assert lab.pid("play-1", "slurmd") != slurmd, "its slurm.conf is another one"
    assert lab.on("play-login", "srun --nodes=2 hostname | sort") == "play-1\nplay-2"
    lab.on("play-1", "test -e /run/prolog")
    lab.on("play-login", "test -e /tmp/site-prolog")

    lab.describe(fast_start=False)
    assert "not drained, jobs may begin there: play-3" in lab.play("deploy.yml", rc=2)
    assert "play-3" in lab.states()
    lab.on("play-login", "scontrol update nodename=play-3 state=DRAIN reason=leaves")
    lab.play("deploy.yml")
    assert "play-3" not in lab.states()
    assert lab.on("play-login", "ls -A /run/slurm-powersave; ls /etc/tmpfiles.d") == ""
    output = lab.play("deploy.yml")
    assert changed(output) == 0, output


def test_a_node_without_its_storage_has_no_slurmd(lab: Lab) -> None:
    lab.on("play-2", "umount /mnt/ohpc")
    news, result, _ = lab.configure("play-1", "play-2")
    assert news["play-1"].ok
    failure = news["play-2"].failure
    assert failure
    assert failure.failure is FailureClass.NODE_LOCAL
    assert failure.text == "not mounted after 1 s: /mnt/ohpc; slurmd was not started"
    assert not result.ok
    assert lab.pid("play-2", "slurmd") == 0


def test_a_node_that_the_sites_playbook_refuses_has_no_slurmd(lab: Lab) -> None:
    before, after = lab.root / "before.yml", lab.root / "after.yml"
    task = "{ansible.builtin.fail: {msg: no GPU}, when: inventory_hostname == 'play-2'}"
    before.write_text(f"[{{hosts: all, gather_facts: false, tasks: [{task}]}}]")
    runs = {"register": "site_slurmd", "failed_when": "site_slurmd.rc == 0"}
    tasks = [
        {"ansible.builtin.command": "systemctl is-active slurmd", **runs},
        {"ansible.builtin.command": "touch /run/after-{{ ansible_os_family }}"},
    ]
    after.write_text(json.dumps([{"hosts": "all", "gather_facts": True, "tasks": tasks}]))
    lab.on("play-1", "systemctl stop slurmd")
    lab.on("play-2", "mount --bind /srv /mnt/ohpc")
    news, _, _ = lab.configure("play-1", "play-2", hooks=Hooks(before, after))
    assert news["play-1"].ok
    assert news["play-2"].failure
    assert news["play-2"].failure.text == "ansible.builtin.fail: no GPU"
    assert lab.pid("play-2", "slurmd") == 0
    assert lab.pid("play-1", "slurmd") > 0, "it starts after the site's playbook"
    lab.on("play-1", "test -e /run/after-Debian")
    lab.on("play-2", "test ! -e /run/after-Debian")
    assert lab.configure("play-2")[1].ok
    assert lab.pid("play-2", "slurmd") > 0


def test_a_stranger_at_a_nodes_address_gets_no_munge_key(lab: Lab) -> None:
    lab.on("play-2", "rm /etc/munge/munge.key")
    news, _, _ = lab.configure("play-1", "play-2", host_keys={"play-2": OTHER_KEY})
    assert news["play-1"].ok
    assert news["play-2"].failure
    assert "SSH host key is not the one" in news["play-2"].failure.text
    news, _, _ = lab.configure("play-2")
    assert news["play-2"].ok, "with its true key it is configured, and has a munge key again"
    lab.on("play-2", "test -s /etc/munge/munge.key")


def test_reset_asks_first_and_then_forgets_the_jobs_but_not_the_nodes_that_are_up(lab: Lab) -> None:
    lab.on("play-login", "sbatch --begin=now+1hour --wrap true")
    assert "loses all jobs" in lab.play("reset_slurm.yml", rc=2)
    assert lab.on("play-login", "squeue --noheader") != ""
    lab.play("reset_slurm.yml", "--extra-vars", "confirm=yes")
    assert lab.on("play-login", "squeue --noheader") == ""
    lab.wait("both are back", lambda: lab.states() == {"play-1": "idle", "play-2": "idle"})
    assert "-c" not in lab.on("play-login", "systemctl show --property=ExecStart slurmctld")
    assert "-c" not in lab.on("play-login", "tr '\\0' '\\n' </proc/$(pgrep -o -x slurmctld)/cmdline").split()
    assert lab.on("play-login", "srun --nodes=2 hostname | sort") == "play-1\nplay-2"


def test_the_engines_service_may_write_to_its_state_only_and_leaves_its_runs_alone(lab: Lab) -> None:
    program = lab.root / "standin"
    program.write_text(STANDIN)
    play = [
        {
            "hosts": "login",
            "gather_facts": False,
            "tasks": [
                {"ansible.builtin.copy": {"src": str(program), "dest": "/usr/local/bin/e", "mode": "0755"}}
            ],
            "roles": [],
        },
        {
            "hosts": "login",
            "gather_facts": False,
            "roles": [{"role": "engine", "engine_program": "/usr/local/bin/e"}],
        },
    ]
    path = lab.root / "engine.yml"
    path.write_text(json.dumps(play))
    lab.play(str(path))
    home = "/var/lib/slurm-powersave"
    lab.wait("it has run", lambda: lab.on("play-login", f"cat {home}/seen", rc=None).count("\n") >= 2)
    args, user, touch = lab.on("play-login", f"cat {home}/seen").splitlines()
    assert args == "--cluster /etc/slurm-powersave/cluster.yml engine run"
    assert user == "slurm-powersave"
    assert touch == "touch: cannot touch '/etc/x': Read-only file system"
    assert changed(lab.play(str(path))) == 0
    detached = lab.on("play-login", "pgrep -f 'sleep 77'")
    lab.on("play-login", "systemctl restart slurm-powersave-engine")
    assert detached in lab.on("play-login", "pgrep -f 'sleep 77'").splitlines()
    verify = "systemd-analyze verify slurm-powersave-engine.service 2>&1 | grep -c slurm-powersave-engine"
    assert lab.on("play-login", verify, rc=None) == "0"
