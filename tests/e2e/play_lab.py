"""Guests, a cluster file and its inventory, and the plays: what the tests of playbooks and roles use."""

import json
import re
import secrets
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from slurm_powersave.adapters.ansible.configure_run import ConfigureRun
from slurm_powersave.adapters.ansible.playbooks import AnsiblePlaybooks, Hooks, Site, environment
from slurm_powersave.adapters.ssh import known_hosts
from slurm_powersave.config.settings import load
from slurm_powersave.decide.slurm_files.addresses import assign
from slurm_powersave.decide.slurm_files.inventory import inventory
from slurm_powersave.model.nodes import NodeFacts, NodeProgress, NodeSpec, RunResult
from tests.e2e.guests import CHECKOUT, MAIN_SLURM, guest_image
from tests.evidence import Evidence

PLACE = Path("/var/tmp/slurm-powersave-tests")


class Lab:
    """Guests, the cluster file, its inventory, and what a test asks of them."""

    def __init__(
        self, root: Path, bridge: str, network: str, name: str = "play", slurm: str = MAIN_SLURM
    ) -> None:
        """`network` is the first half of all addresses, `slurm` the version of Slurm."""
        self.root, self.state, self.slurm = root, root / "state", slurm
        self.bridge, self.network, self.name = bridge, network, name
        self.system_calls: list[str] = []
        self.login = (f"{name}-login", f"{network}.0.10")
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
        self.image = guest_image(self.slurm)
        network = ["--bridge", self.bridge, "--subnet", f"{self.network}.0.0/16"]
        network += ["--image", f"default={self.image}"]
        network += [f"--system-call={call}" for call in self.system_calls]
        self.cloud("network", "ensure", *network)
        self.describe()
        self.start(*self.login, "login")
        lines = known_hosts.key_lines(self.login, self.keys[self.login[0]])
        known_hosts.record(self.site.known_hosts, {self.login: lines})

    def start(self, name: str, address: str, flavor: str = "small") -> None:
        """Start a guest, remember its host key, and wait for its sshd."""
        public = Path(f"{self.site.private_key}.pub").read_text()
        options = ["--image", "default", "--flavor", flavor, "--key-pair", public, "--wait", "60"]
        self.keys[name] = self.cloud("create", "--name", name, "--address", address, *options)["host_key"]
        made = AnsiblePlaybooks(self.state, self.site)
        self.wait("sshd answers", lambda: made.reachable(NodeSpec(name, "", "", "", "", "", address)))

    def describe(self, nodes: int = 2, **changes: Any) -> None:
        """Write cluster file and inventory; what was deployed is not touched."""
        pool = {
            "name": "compute",
            "nodes": f"{self.name}-[1-{nodes}]",
            "min_nodes": 1,
            "image": "default",
            "image_user": "root",
            "flavors": ["small"],
            "addresses": f"{self.network}.1.1-{self.network}.1.{nodes}",
        }
        extra = {
            "AuthInfo": "cred_expire=10",
            "SchedulerParameters": "batch_sched_delay=0,sched_interval=1",
            "ProctrackType": "proctrack/linuxproc",
            "TaskPlugin": "task/affinity",
            "JobAcctGatherType": "jobacct_gather/none",
            "PrologFlags": None,
            "MpiDefault": "none",
            "SlurmdParameters": "config_overrides",
        }
        modules = {"base_module": str(CHECKOUT / "demo/base"), "nodes_module": str(CHECKOUT / "demo/nodes")}
        content = {
            "cluster_name": self.name,
            "slurm_version": self.slurm,
            "state_dir": str(self.state),
            "clouds": {"local": {"adapter": "local", **modules}},
            "login": {
                "name": self.login[0],
                "address": self.login[1],
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
        self.nodes = {name: cluster.node_spec(name) for name in cluster.nodes()}

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

    def on(
        self, name: str, command: str, rc: int | None = 0, given: bytes = b"", seconds: float = 400
    ) -> str:
        """Run a command on a guest, with something on its standard input."""
        address = self.login[1] if name == self.login[0] else self.nodes[name].address
        options = ["-oBatchMode=yes", "-oStrictHostKeyChecking=yes", "-i", str(self.site.private_key)]
        options += [f"-oUserKnownHostsFile={self.site.known_hosts}", "-oKexAlgorithms=^curve25519-sha256"]
        argv = ["ssh", "-F", "none", *options, f"root@{address}", command]
        done = subprocess.run(argv, input=given, capture_output=True, timeout=seconds, check=False)
        assert rc is None or done.returncode == rc, (command, done.stdout[-2000:], done.stderr[-2000:])
        return done.stdout.decode(errors="replace").strip()

    def pid(self, name: str, unit: str) -> int:
        """Return the main process of a unit; 0 if it does not run."""
        return int(self.on(name, f"systemctl show --property=MainPID --value {unit}"))

    def started(self, name: str, unit: str) -> str:
        """Tell when a unit was started; slurmctld from 23.11 on is a new process after a reconfigure, too."""
        return self.on(name, f"systemctl show --property=ActiveEnterTimestampMonotonic --value {unit}")

    def states(self) -> dict[str, str]:
        """Return node -> state as sinfo prints it."""
        lines = self.on(self.login[0], "sinfo --noheader --Node --format='%N %T'").splitlines()
        return dict(line.split() for line in lines)

    def evidence(self) -> Evidence:
        """What a test that has failed tells of these guests."""
        login, slurm = self.login[0], "sinfo --Node --long; squeue; tail -n 30 /var/log/slurm/slurmctld.log"
        return {
            "guests": lambda: json.dumps(self.cloud("list"), indent=1),
            f"Slurm on {login}": lambda: self.on(login, f"{slurm} 2>&1", rc=None, seconds=10),
            f"journal of {login}": lambda: self.on(login, "journalctl --no-pager -n 40", rc=None, seconds=10),
        }

    def remove(self) -> None:
        """Take everything away, also what a killed run left."""
        self.cloud("clean")
        subprocess.run(["rm", "-rf", self.root], check=True)

    @staticmethod
    def wait(what: str, done: Any, seconds: float = 30) -> None:
        """Wait for it."""
        deadline = time.monotonic() + seconds
        while not done():
            assert time.monotonic() < deadline, f"timed out after {seconds:g} s, waiting for this: {what}"
            time.sleep(0.1)


CHANGED = re.compile(r"changed=(\d+)")


def changed(output: str) -> int:
    """Return how much a play changed."""
    return sum(int(count) for count in CHANGED.findall(output))
