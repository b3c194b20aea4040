"""The playbooks against containers: a login node and two nodes, without Terraform and engine."""

import base64
import fcntl
import json
import re
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from slurm_powersave.adapters import known_hosts
from slurm_powersave.adapters.configure_run import ConfigureRun
from slurm_powersave.adapters.playbooks import AnsiblePlaybooks, Hooks, Site, environment
from slurm_powersave.adapters.spool import parse_named
from slurm_powersave.decide.addresses import assign
from slurm_powersave.decide.flavors import NodeFacts
from slurm_powersave.decide.inventory import inventory
from slurm_powersave.decide.settings import load
from slurm_powersave.model.errors import FailureClass
from slurm_powersave.model.hostlist import expand_any
from slurm_powersave.model.modes import Mode
from slurm_powersave.model.nodes import NodeProgress, RunResult

CHECKOUT = Path(__file__).resolve().parents[2]
PLACE = Path("/var/tmp/slurm-powersave-tests")
BRIDGE, NETWORK = "br-sps-play", "10.90"
OTHER_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJY7yBaJ9VaDsV7rc1bMXuKXRWgapNkXDcU73uzJ50es"
CHANGED = re.compile(r"changed=(\d+)")

# In the engine's place: notes who it is and what it may write, and leaves a process behind.
STANDIN = """#!/bin/sh
{ echo "$@"; id -un; touch /etc/x "$TMPDIR/x"; } >"$HOME/seen" 2>&1
setsid sleep 77 &
exec sleep 88
"""


class Lab:
    """Guests, the cluster file, its inventory, and what a test asks of them."""

    def __init__(self, root: Path) -> None:
        self.root, self.state = root, root / "state"
        self.site = Site(
            CHECKOUT / "playbooks",
            self.state / "inventory",
            self.state / "known_hosts",
            self.state / "keys/id_ed25519",
        )
        self.keys: dict[str, str] = {}

    def cloud(self, *verb: str) -> Any:
        """Run a verb of the local cloud."""
        argv = [sys.executable, str(CHECKOUT / "demo/local_cloud/cli.py"), "--root", str(self.root / "cloud")]
        done = subprocess.run([*argv, *verb], capture_output=True, text=True, timeout=120, check=True)
        return json.loads(done.stdout)

    def make(self) -> None:
        """Start the guests and lay keys, inventory and known_hosts out."""
        self.site.private_key.parent.mkdir(parents=True)
        keygen = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.site.private_key)]
        subprocess.run(keygen, check=True)
        (self.state / "keys/munge.key").write_bytes(secrets.token_bytes(512))
        built = subprocess.run(
            [CHECKOUT / "demo/guests/build"], stdout=subprocess.PIPE, text=True, check=True
        )
        image = f"default={built.stdout.strip().splitlines()[-1]}"
        network = ["--bridge", BRIDGE, "--subnet", f"{NETWORK}.0.0/16", "--image", image]
        self.cloud("network", "ensure", *network)
        self.describe()
        login = ("play-login", f"{NETWORK}.0.10")
        self.start(*login, "login")
        lines = known_hosts.key_lines(login, self.keys["play-login"])
        known_hosts.record(self.site.known_hosts, {login: lines})

    def start(self, name: str, address: str, flavor: str = "small") -> None:
        """Start a guest and remember its host key."""
        public = Path(f"{self.site.private_key}.pub").read_text()
        options = ["--image", "default", "--flavor", flavor, "--key-pair", public, "--wait", "60"]
        self.keys[name] = self.cloud("create", "--name", name, "--address", address, *options)["host_key"]

    def describe(self, nodes: int = 2, **changes: Any) -> None:
        """Write cluster file and inventory; what was deployed is not touched."""
        pool = {
            "name": "compute",
            "nodes": f"play-[1-{nodes}]",
            "min_nodes": 1,
            "image": "default",
            "image_user": "root",
            "flavors": ["small"],
            "addresses": f"{NETWORK}.1.1-{NETWORK}.1.{nodes}",
        }
        extra = {
            "AuthInfo": "cred_expire=10",
            "SchedulerParameters": "batch_sched_delay=0,sched_interval=1",
            "ProctrackType": "proctrack/linuxproc",
            "TaskPlugin": "task/affinity",
            "JobAcctGatherType": "jobacct_gather/none",
            "PrologFlags": None,
            "MpiDefault": "none",
        }
        modules = {"base_module": str(CHECKOUT / "demo/base"), "nodes_module": str(CHECKOUT / "demo/nodes")}
        content = {
            "cluster_name": "play",
            "state_dir": str(self.state),
            "clouds": {"local": {"adapter": "local", **modules}},
            "login": {
                "name": "play-login",
                "address": f"{NETWORK}.0.10",
                "image": "default",
                "flavor": "login",
            },
            "node_pools": [pool],
            "partitions": [{"name": "main", "pools": ["compute"], "options": {"Default": "YES"}}],
            "power_save": {
                "suspend_time": 3600,
                "suspend_timeout": 15,
                "resume_timeout": 600,
                "interval": 1,
                "min_interval": 0,
            },
            "slurm_conf_extra": extra | changes.pop("slurm_conf_extra", {}),
            **changes,
        }
        path = self.root / "cluster.yml"
        path.write_text(json.dumps(content))  # JSON is YAML
        cluster = load(path)
        made = inventory(cluster, {"compute": NodeFacts(2, 500)}, assign(cluster, {}))
        for name, text in made.files().items():
            (self.site.inventory / name).parent.mkdir(parents=True, exist_ok=True)
            (self.site.inventory / name).write_text(text)
        (self.site.inventory / "group_vars/all/test.yml").write_text("slurm_host_mounts_wait: 1\n")
        self.nodes = {name: cluster.desired(name) for name in cluster.nodes()}

    def play(self, name: str, *arguments: str, rc: int = 0) -> str:
        """Run a playbook as a person would, and return its output."""
        argv = ["ansible-playbook", "--inventory", str(self.site.inventory), *arguments]
        path = Path(name) if name.startswith("/") else self.site.playbooks / name
        env = environment(self.site)
        done = subprocess.run(
            [*argv, str(path)], env=env, capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == rc, done.stdout[-4000:] + done.stderr[-2000:]
        return done.stdout + done.stderr

    def configure(
        self, *names: str, host_keys: Mapping[str, str] | None = None, hooks: Hooks | None = None
    ) -> tuple[dict[str, NodeProgress], RunResult, ConfigureRun]:
        """Configure nodes as the engine does."""
        made = AnsiblePlaybooks(self.state, self.site, {"compute": hooks or Hooks()}, timeout=120)
        nodes = [self.nodes[name] for name in names]
        self.wait("sshd answers", lambda: all(made.reachable(node) for node in nodes))
        run = made.configure(nodes, self.keys if host_keys is None else host_keys)
        news: list[NodeProgress] = []
        self.wait("the play ends", lambda: news.extend(run.progress()) or run.poll(), 120)
        news += run.progress()
        result = run.poll()
        assert result
        return {one.node: one for one in news}, result, run

    def on(self, name: str, command: str, rc: int | None = 0) -> str:
        """Run a command on a guest."""
        address = f"{NETWORK}.0.10" if name == "play-login" else self.nodes[name].address
        options = ["-oBatchMode=yes", "-oStrictHostKeyChecking=yes", "-i", str(self.site.private_key)]
        options += [f"-oUserKnownHostsFile={self.site.known_hosts}", "-oKexAlgorithms=^curve25519-sha256"]
        argv = ["ssh", *options, f"root@{address}", command]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
        assert rc is None or done.returncode == rc, (command, done.stdout, done.stderr)
        return done.stdout.strip()

    def pid(self, name: str, unit: str) -> int:
        """Return the main process of a unit; 0 if it does not run."""
        return int(self.on(name, f"systemctl show --property=MainPID --value {unit}"))

    def states(self) -> dict[str, str]:
        """Return node -> state as sinfo prints it."""
        lines = self.on("play-login", "sinfo --noheader --Node --format='%N %T'").splitlines()
        return dict(line.split() for line in lines)

    @staticmethod
    def wait(what: str, done: Any, seconds: float = 30) -> None:
        """Wait for it."""
        deadline = time.monotonic() + seconds
        while not done():
            assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
            time.sleep(0.1)


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """A deployed login node and two configured nodes; what a killed run left is removed first."""
    PLACE.mkdir(exist_ok=True)
    with (PLACE / "lock-playbooks").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        made = Lab(PLACE / "playbooks")
        _remove(made)
        made.make()
        made.play("deploy.yml")
        made.on("play-login", "scontrol update nodename=play-2 state=POWER_UP")
        time.sleep(2)  # Slurm waits for a boot after the request, in whole seconds
        for node in made.nodes.values():
            made.start(node.name, node.address)
        news, result, _ = made.configure("play-1", "play-2")
        assert result.ok, news
        made.wait("both have registered", lambda: made.states() == dict.fromkeys(news, "idle"))
        yield made
        _remove(made)


def _remove(lab: Lab) -> None:
    lab.cloud("clean")
    subprocess.run(["rm", "-rf", lab.root], check=True)


def changed(output: str) -> int:
    """Return how much a play changed."""
    return sum(int(count) for count in CHANGED.findall(output))


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
    before = lab.pid("play-login", "slurmctld")
    assert changed(lab.play("deploy.yml")) == 0
    assert lab.pid("play-login", "slurmctld") == before


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
    assert lab.on("play-1", "getent hosts play-2").split() == [f"{NETWORK}.1.2", "play-2"]
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
    before = lab.pid("play-login", "slurmctld")
    lab.describe(slurm_conf_extra={"MessageTimeout": 17})
    assert changed(lab.play("deploy.yml", "--check")) == 2, "slurm.conf and the record of what is loaded"
    assert "MessageTimeout          = 10 sec" in lab.on("play-login", "scontrol show config")
    assert changed(lab.play("deploy.yml")) == 3, "and the reload"
    assert "MessageTimeout          = 17 sec" in lab.on("play-login", "scontrol show config")
    assert lab.pid("play-login", "slurmctld") == before


def test_a_new_node_count_is_taken_by_a_restart_that_keeps_jobs(lab: Lab) -> None:
    job = lab.on("play-login", "sbatch --parsable --begin=now+1hour --wrap true")
    before, slurmd = lab.pid("play-login", "slurmctld"), lab.pid("play-1", "slurmd")
    prolog, site_prolog = lab.root / "prolog", lab.root / "prolog-slurmctld"
    prolog.write_text("#!/bin/sh\ntouch /run/prolog\n")
    site_prolog.write_text("#!/bin/sh\ntouch /tmp/site-prolog\n")
    lab.describe(nodes=3, fast_start=True, prolog=str(prolog), prolog_slurmctld=str(site_prolog))
    # A deploy that was killed between writing slurm.conf and telling slurmctld is finished by the next one.
    half = lab.root / "half.yml"
    half.write_text("[{hosts: login, gather_facts: false, roles: [slurm_host]}]")
    lab.play(str(half))
    assert "play-3" not in lab.states()
    lab.play("deploy.yml")
    assert lab.pid("play-login", "slurmctld") != before
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

    lab.describe()
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
    after.write_text(
        "[{hosts: all, gather_facts: false, tasks: [{ansible.builtin.command: touch /run/after}]}]"
    )
    lab.on("play-2", "mount --bind /srv /mnt/ohpc")
    news, _, _ = lab.configure("play-1", "play-2", hooks=Hooks(before, after))
    assert news["play-1"].ok
    assert news["play-2"].failure
    assert news["play-2"].failure.text == "ansible.builtin.fail: no GPU"
    assert lab.pid("play-2", "slurmd") == 0
    lab.on("play-1", "test -e /run/after")
    lab.on("play-2", "test ! -e /run/after")
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
