"""A local cloud with a mirror, a key and shards: what the tests of the cloud and its provider use."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.e2e.guests import CHECKOUT
from tests.evidence import Evidence

DEMO = CHECKOUT / "demo"


def processes(directory: Path) -> list[int]:
    """Every process that has a path below a directory on its command line."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and f"{directory}/" in (entry / "cmdline").read_text():
                found.append(int(entry.name))
    return [pid for pid in found if pid != os.getpid()]


class Cloud:
    """A cloud below a directory, by its command."""

    def __init__(self, root: Path, bridge: str, subnet: str, image: str) -> None:
        self.root, self.bridge, self.subnet = root, bridge, subnet
        self.images = {"default": image, "other": image}

    @property
    def settings(self) -> dict[str, Any]:
        """What a cluster file says of this cloud."""
        return {
            "root": str(self.root),
            "bridge": self.bridge,
            "subnet": self.subnet,
            "images": self.images,
        }

    def __call__(self, *verb: str, rc: int = 0) -> Any:
        """Run a verb and return its JSON."""
        argv = [sys.executable, str(DEMO / "local_cloud/cli.py"), "--root", str(self.root), *verb]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == rc, done.stderr
        return json.loads(done.stdout)

    def network(self) -> None:
        """Make the bridge."""
        images = [f"--image={name}={path}" for name, path in self.images.items()]
        self("network", "ensure", "--bridge", self.bridge, "--subnet", self.subnet, *images)

    def node(self, name: str) -> dict[str, Any]:
        """Return the one server of a name."""
        (found,) = [server for server in self("list") if server["name"] == name]
        return dict(found)


class Shard:
    """The nodes' root module in a directory."""

    def __init__(self, directory: Path, lab: "Lab") -> None:
        self.directory, self.lab, self.plan = directory, lab, directory / "plan"
        shutil.copytree(DEMO / "nodes", directory)
        self.want({})
        self.run("init", "-input=false")

    def want(self, nodes: dict[str, str], **changes: str) -> None:
        """Write the map: node name to the last two parts of its address, and what is not as usual."""
        usual = {"pool": "c", "image": "default", "flavor": "small", "zone": "", "shard": "nodes-001"}
        usual |= {"operation": "op1", **changes}
        values = {
            "cluster": "lab",
            "cloud": self.lab.cloud.settings,
            "key_pair": self.lab.public_key,
            "nodes": {name: {**usual, "address": f"10.88.{rest}"} for name, rest in nodes.items()},
        }
        (self.directory / "nodes.auto.tfvars.json").write_text(json.dumps(values))
        self.plan.unlink(missing_ok=True)

    def start(self, *argv: str) -> "subprocess.Popen[str]":
        """Start terraform in a process group of its own, as the engine does."""
        return subprocess.Popen(
            ["terraform", *argv],
            cwd=self.directory,
            env=self.lab.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )

    def run(self, *argv: str, rc: int = 0) -> str:
        """Run terraform to its end."""
        process = self.start(*argv)
        out, _ = process.communicate(timeout=120)
        assert process.returncode == rc, out
        return out

    def apply(self, rc: int = 0) -> str:
        """Make it so: what `actions` has planned, if it has."""
        planned = [self.plan.name] if self.plan.exists() else []
        out = self.run("apply", "-auto-approve", "-json", "-parallelism=20", *planned, rc=rc)
        self.plan.unlink(missing_ok=True)
        return out

    def assert_no_changes(self) -> None:
        """A full plan, with refresh, finds nothing to do."""
        assert "No changes" in self.run("plan", "-detailed-exitcode", "-no-color")

    def actions(self) -> dict[str, list[str]]:
        """Plan, and return the actions by node name."""
        self.run("plan", f"-out={self.plan.name}")
        plan = json.loads(self.run("show", "-json", self.plan.name))
        changes = {change["index"]: change["change"]["actions"] for change in plan["resource_changes"]}
        return {name: actions for name, actions in changes.items() if actions != ["no-op"]}

    def ids(self) -> dict[str, str]:
        """Read the state: node name to server id, tainted ones too."""
        state = json.loads(self.run("state", "pull") or "{}")
        return {
            instance["index_key"]: instance["attributes"]["id"]
            for resource in state.get("resources", [])
            for instance in resource["instances"]
        }


class Lab:
    """A cloud with its network, a mirror and a key."""

    def __init__(self, directory: Path, image: str) -> None:
        self.directory = directory
        self.cloud = Cloud(directory / "cloud", "br-sps-lc", "10.88.0.0/17", image)
        self.second = Cloud(directory / "second", "br-sps-lc2", "10.88.128.0/17", image)
        self.key = directory / "key"
        self._shards = 0

    def remove(self) -> None:
        """Remove everything; what a killed run left, too."""
        self.cloud("clean")
        self.second("clean")
        shutil.rmtree(self.directory, ignore_errors=True)

    def make(self) -> None:
        """Lay it out."""
        self.directory.mkdir(parents=True)
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.key], check=True)
        self.public_key = self.key.with_suffix(".pub").read_text().strip()
        argv = [sys.executable, str(DEMO / "provider/mirror"), str(self.directory / "mirror")]
        rc = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip()
        self.environment = {**os.environ, "TF_CLI_CONFIG_FILE": rc, "TF_IN_AUTOMATION": "1"}
        self.cloud.network()

    def evidence(self) -> Evidence:
        """What a test that has failed tells of this cloud."""
        return {
            "servers": lambda: json.dumps(self.cloud("list"), indent=1),
            "faults": lambda: json.dumps(self.cloud("fault", "list")),
        }

    def shard(self) -> Shard:
        """Return a new, empty, initialised shard."""
        self._shards += 1
        return Shard(self.directory / f"nodes-{self._shards:03}", self)

    def ssh(self, server: dict[str, Any], command: str) -> str:
        """Run a command on a server; its key must be the one that the cloud told."""
        known = self.directory / "known_hosts"
        known.write_text(f"{server['address']} {server['host_key']}\n")
        argv = ["ssh", "-F", "none", "-i", str(self.key), "-o", f"UserKnownHostsFile={known}"]
        argv += ["-o", "BatchMode=yes"]
        argv += ["-o", "StrictHostKeyChecking=yes", "-o", "ConnectTimeout=5", f"root@{server['address']}"]
        deadline = time.monotonic() + 20
        while True:
            done = subprocess.run([*argv, command], capture_output=True, text=True, check=False)
            if done.returncode == 0:
                return done.stdout.strip()
            assert time.monotonic() < deadline, done.stderr
            time.sleep(0.1)


def errors(output: str) -> list[dict[str, Any]]:
    """The error diagnostics in terraform's JSON output."""
    lines = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    return [line["diagnostic"] for line in lines if line.get("@level") == "error"]


def until(condition: Callable[[], object], seconds: float = 20) -> None:
    """Wait until something is true."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def names(servers: Sequence[dict[str, Any]]) -> list[str]:
    return sorted(server["name"] for server in servers)
