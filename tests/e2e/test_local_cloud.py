"""The local cloud and its Terraform provider: real containers, a real terraform."""

import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
DEMO = CHECKOUT / "demo"
PLACE = Path("/var/tmp/slurm-powersave-tests")


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

    def shard(self) -> Shard:
        """Return a new, empty, initialised shard."""
        self._shards += 1
        return Shard(self.directory / f"nodes-{self._shards:03}", self)

    def ssh(self, server: dict[str, Any], command: str) -> str:
        """Run a command on a server; its key must be the one that the cloud told."""
        known = self.directory / "known_hosts"
        known.write_text(f"{server['address']} {server['host_key']}\n")
        argv = ["ssh", "-i", str(self.key), "-o", f"UserKnownHostsFile={known}", "-o", "BatchMode=yes"]
        argv += ["-o", "StrictHostKeyChecking=yes", "-o", "ConnectTimeout=5", f"root@{server['address']}"]
        deadline = time.monotonic() + 20
        while True:
            done = subprocess.run([*argv, command], capture_output=True, text=True, check=False)
            if done.returncode == 0:
                return done.stdout.strip()
            assert time.monotonic() < deadline, done.stderr
            time.sleep(0.1)


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    PLACE.mkdir(exist_ok=True)
    build = subprocess.run([DEMO / "guests/build"], stdout=subprocess.PIPE, text=True, check=True)
    with (PLACE / "local-cloud.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # a second run on this machine waits for its bridge
        made = Lab(PLACE / "local-cloud", build.stdout.strip())
        made.remove()
        made.make()
        yield made
        made.remove()


@pytest.fixture
def shard(lab: Lab) -> Iterator[Shard]:
    """A shard without servers, in a cloud without servers and faults."""
    made = lab.shard()
    yield made
    lab.cloud("fault", "clear")
    for server in lab.cloud("list"):
        lab.cloud("delete", server["id"])


def errors(output: str) -> list[dict[str, Any]]:
    """The error diagnostics in terraform's JSON output."""
    lines = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    return [line["diagnostic"] for line in lines if line.get("@level") == "error"]


def until(condition: Any, seconds: float = 20) -> None:
    """Wait until something is true."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def names(servers: Sequence[dict[str, Any]]) -> list[str]:
    return sorted(server["name"] for server in servers)


def test_the_base_module_makes_network_and_login_node(lab: Lab, tmp_path: Path) -> None:
    base = tmp_path / "base"
    shutil.copytree(DEMO / "base", base)
    login = {"name": "lab-login", "address": "10.88.0.10", "image": "default", "flavor": "login"}
    values = {"cluster": "lab", "cloud": lab.cloud.settings, "key_pair": lab.public_key, "login": login}
    (base / "base.auto.tfvars.json").write_text(json.dumps(values))

    def terraform(*argv: str) -> str:
        return subprocess.run(
            ["terraform", *argv], cwd=base, env=lab.environment, capture_output=True, text=True, check=True
        ).stdout

    terraform("init", "-input=false")
    terraform("apply", "-auto-approve")
    told = json.loads(terraform("output", "-json"))["login"]["value"]
    server = lab.cloud.node("lab-login")
    assert told == {key: server[key] for key in ("id", "address", "host_key")}
    assert "No changes" in terraform("plan", "-no-color")
    lab.cloud("network", "delete", rc=1)  # in use
    terraform("destroy", "-auto-approve")
    assert lab.cloud("list") == []
    assert not Path("/sys/class/net", lab.cloud.bridge).exists()
    lab.cloud.network()


def test_a_node_lives_through_rebuild_resize_import_and_replacement(lab: Lab, shard: Shard) -> None:
    asked = int(time.time())
    shard.want({"n1": "1.1"})
    assert shard.actions() == {"n1": ["create"]}
    shard.apply()
    first = lab.cloud.node("n1")
    assert set(first["tags"]) == {
        "slurm-powersave", "cluster=lab", "pool=c", "node=n1", "shard=nodes-001", "operation=op1",
    }  # fmt: skip
    assert lab.ssh(first, "hostname; mountpoint -q /mnt/ohpc && touch /root/mark && echo ok") == "n1\nok"
    # As slurmd and slurmctld compute it: whole seconds, the uptime rounded up.
    boot = "import math, time; print(int(time.time()) - math.ceil(time.clock_gettime(time.CLOCK_BOOTTIME)))"
    assert asked <= int(lab.ssh(first, f"python3 -c '{boot}'")) <= asked + 10
    shard.assert_no_changes()

    shard.want({"n1": "1.1"}, operation="op2", shard="nodes-002")
    assert shard.actions() == {}

    shard.want({"n1": "1.1"}, flavor="medium")
    assert shard.actions() == {"n1": ["update"]}
    shard.apply()
    resized = lab.cloud.node("n1")
    assert (resized["id"], resized["flavor"], resized["host_key"]) == (
        first["id"],
        "medium",
        first["host_key"],
    )
    assert lab.ssh(resized, "ls /root/mark") == "/root/mark"
    shard.assert_no_changes()

    shard.want({"n1": "1.1"}, flavor="medium", image="other")
    assert shard.actions() == {"n1": ["update"]}
    shard.apply()
    rebuilt = lab.cloud.node("n1")
    assert (rebuilt["id"], rebuilt["address"]) == (first["id"], first["address"])
    assert rebuilt["host_key"] not in ("", first["host_key"])
    assert lab.ssh(rebuilt, "ls /root/mark 2>/dev/null || echo fresh") == "fresh"
    shard.assert_no_changes()

    shard.run("state", "rm", 'localcloud_server.node["n1"]')
    shard.run("import", 'localcloud_server.node["n1"]', "00000000-no-such-server", rc=1)
    shard.run("import", 'localcloud_server.node["n1"]', first["id"])
    shard.assert_no_changes()

    shard.want({"n1": "1.9"}, flavor="medium", image="other")
    assert shard.actions() == {"n1": ["delete", "create"]}
    shard.apply()
    replaced = lab.cloud.node("n1")
    assert replaced["id"] != first["id"]
    assert replaced["address"] == "10.88.1.9"


def test_drift_is_seen(lab: Lab, shard: Shard) -> None:
    shard.want({"n1": "1.1", "n2": "1.2"})
    shard.apply()
    lab.cloud("stop", lab.cloud.node("n1")["id"])
    lab.cloud("delete", lab.cloud.node("n2")["id"])
    assert shard.actions() == {"n1": ["update"], "n2": ["create"]}
    shard.apply()
    assert {server["name"]: server["status"] for server in lab.cloud("list")} == {
        "n1": "ACTIVE",
        "n2": "ACTIVE",
    }
    shard.assert_no_changes()


def test_a_reboot_is_a_boot_after_the_request(lab: Lab, shard: Shard) -> None:
    shard.want({"n1": "1.1"})
    shard.apply()
    server = lab.cloud.node("n1")
    boot = "import math, time; print(int(time.time()) - math.ceil(time.clock_gettime(time.CLOCK_BOOTTIME)))"
    for _ in range(3):
        asked = int(time.time())
        lab.cloud("reboot", server["id"])
        assert int(lab.ssh(server, f"python3 -c '{boot}'")) >= asked
    asked = int(time.time())
    lab.ssh(server, "systemctl reboot; exit 0")
    until(lambda: lab.cloud.node("n1")["boots"] == 5)
    assert int(lab.ssh(server, f"python3 -c '{boot}'")) >= asked


def test_twelve_at_once(lab: Lab, shard: Shard) -> None:
    shard.want({f"n{i}": f"1.{i}" for i in range(1, 13)})
    shard.apply()
    servers = lab.cloud("list")
    assert {server["status"] for server in servers} == {"ACTIVE"}
    assert len({server["host_key"] for server in servers} - {""}) == 12
    shard.want({"n7": "1.7"})
    shard.apply()
    assert names(lab.cloud("list")) == ["n7"]
    shard.assert_no_changes()


def test_an_interrupted_apply_records_what_it_began(lab: Lab, shard: Shard) -> None:
    lab.cloud("fault", "add", "slow-create", "--seconds", "2", "--times", "0")
    shard.want({f"n{i}": f"1.{i}" for i in range(1, 5)})
    process = shard.start("apply", "-auto-approve", "-json", "-parallelism=20")
    until(lambda: len(lab.cloud("list")) == 4)
    os.killpg(process.pid, signal.SIGINT)  # the provider gets it too
    process.communicate(timeout=60)
    assert process.returncode == 1
    assert shard.ids() == {server["name"]: server["id"] for server in lab.cloud("list")}
    assert len(shard.ids()) == 4
    assert shard.actions() == {}  # only the outputs are not written yet


def test_after_a_killed_apply_the_next_one_adopts(lab: Lab, shard: Shard) -> None:
    lab.cloud("fault", "add", "slow-create", "--seconds", "1", "--times", "0")
    shard.want({f"n{i}": f"1.{i}" for i in range(1, 5)})
    process = shard.start("apply", "-auto-approve", "-json", "-parallelism=20")
    until(lambda: len(lab.cloud("list")) == 4)
    process.kill()
    process.wait()
    assert shard.ids() == {}
    shard.apply()  # while the orphaned provider is still at it
    servers = lab.cloud("list")
    assert shard.ids() == {server["name"]: server["id"] for server in servers}
    assert len(servers) == 4
    assert {server["status"] for server in servers} == {"ACTIVE"}
    shard.assert_no_changes()


def test_a_creator_that_was_killed_leaves_a_server_that_can_be_finished(lab: Lab, shard: Shard) -> None:
    lab.cloud("fault", "add", "slow-create", "--seconds", "30")
    shard.want({"n1": "1.1"})
    process = shard.start("apply", "-auto-approve", "-json")
    until(lambda: len(lab.cloud("list")) == 1)
    for pid in processes(lab.directory / "mirror"):  # the provider and what stands for it
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.communicate(timeout=60)
    until(lambda: lab.cloud.node("n1")["status"] == "ERROR")
    shard.apply()
    assert shard.ids() == {"n1": lab.cloud.node("n1")["id"]}
    assert lab.cloud.node("n1")["status"] == "ACTIVE"


def test_a_name_and_an_address_have_one_server(lab: Lab, shard: Shard) -> None:
    shard.want({"n1": "1.1"})
    shard.apply()
    other = lab.shard()
    other.want({"n1": "1.5"})
    assert "name n1 belongs to server" in other.apply(rc=1)
    other.want({"n2": "1.1"})
    assert "address 10.88.1.1 belongs to server" in other.apply(rc=1)
    assert names(lab.cloud("list")) == ["n1"]
    assert other.ids() == {}


def test_faults_look_like_a_real_clouds(lab: Lab, shard: Shard) -> None:
    lab.cloud("fault", "add", "create-fails", "--match", "n1", "--class", "capacity")
    lab.cloud("fault", "add", "create-fails", "--match", "n2", "--class", "quota")
    lab.cloud("fault", "add", "boot-fails", "--match", "n3")
    lab.cloud("fault", "add", "vanish", "--match", "n4")
    shard.want({f"n{i}": f"1.{i}" for i in range(1, 6)})
    found = {error["address"]: error["detail"] for error in errors(shard.apply(rc=1))}
    assert "No valid host was found" in found['localcloud_server.node["n1"]']
    assert "Quota exceeded" in found['localcloud_server.node["n2"]']
    until(lambda: names(lab.cloud("list")) == ["n1", "n3", "n5"])
    assert lab.cloud.node("n1")["status"] == "ERROR"
    assert lab.cloud.node("n1")["fault"].startswith("capacity: ")
    assert {"n1", "n3", "n5"} <= set(shard.ids())
    dead = lab.cloud.node("n3")
    assert (dead["status"], dead["host_key"]) == ("ACTIVE", "")
    assert lab.cloud("fault", "list") == []
    assert shard.actions() == {"n1": ["delete", "create"], "n2": ["create"], "n4": ["create"]}
    shard.apply()
    assert names(lab.cloud("list")) == ["n1", "n2", "n3", "n4", "n5"]


def test_an_unknown_image_or_flavor_is_said_with_the_address(lab: Lab, shard: Shard) -> None:
    shard.want({"n1": "1.1"}, image="nonesuch")
    (error,) = errors(shard.apply(rc=1))
    assert error["address"] == 'localcloud_server.node["n1"]'
    assert "image nonesuch could not be found" in error["detail"]
    shard.want({"n1": "1.1"}, flavor="nonesuch")
    assert "there are: large, login, medium, small" in shard.apply(rc=1)
    assert lab.cloud("list") == []


def test_the_warm_process_ends_when_its_mirror_is_gone(tmp_path: Path) -> None:
    mirror = tmp_path / "mirror"
    subprocess.run([sys.executable, str(DEMO / "provider/mirror"), str(mirror)], check=True)
    for _ in range(2):  # the first by itself, the second most likely forked
        process = subprocess.Popen([mirror / "launch"], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert process.stdout.readline().startswith("1|6|unix|/")
        process.kill()
        process.communicate()
        until(lambda: any("warm.py" in Path(f"/proc/{pid}/cmdline").read_text() for pid in processes(mirror)))
    shutil.rmtree(mirror)
    until(lambda: processes(mirror) == [])


def test_clean_removes_everything_whatever_was_killed(lab: Lab) -> None:
    cloud = lab.second
    cloud.network()
    for name, address in (("m1", "10.88.129.1"), ("m2", "10.88.129.2"), ("m3", "10.88.129.3")):
        cloud("create", "--name", name, "--image", "default", "--flavor", "small", "--address", address)
    first, second, _ = cloud("list")
    pids = {server["id"]: json.loads((cloud.root / "servers" / server["id"] / "running").read_text())["pid"]
            for server in (first, second)}  # fmt: skip
    os.kill(pids[first["id"]], signal.SIGKILL)
    until(lambda: cloud.node("m1")["status"] == "SHUTOFF")
    shutil.rmtree(cloud.root / "servers" / second["id"])
    cloud("clean")
    assert not cloud.root.exists()
    assert processes(cloud.root) == []
    assert not Path("/sys/class/net", cloud.bridge).exists()
    assert f"{cloud.root}/" not in Path("/proc/mounts").read_text()
    assert cloud("clean") == []
