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
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.cloud_lab import DEMO, Lab, Shard, errors, names, processes, until
from tests.e2e.guests import guest_image
from tests.place import own_place

PLACE = Path("/var/tmp/slurm-powersave-tests")


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    own_place(PLACE)
    with (PLACE / "local-cloud.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # a second run on this machine waits for its bridge
        made = Lab(PLACE / "local-cloud", guest_image())
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


def test_a_snapshot_is_the_servers_disk_with_what_it_deleted(lab: Lab) -> None:
    def make(name: str, image: str, address: str) -> dict[str, Any]:
        options = ["--flavor", "small", "--key-pair", lab.public_key, "--wait", "20"]
        made = lab.cloud("create", "--name", name, "--image", image, "--address", address, *options)
        return dict(made)

    first = make("s1", "default", "10.88.1.1")
    lab.ssh(
        first,
        "echo one > /root/mark && rm /usr/bin/mpicc && rm -r /usr/share/base-files"
        " && mkdir /usr/share/base-files && touch /usr/share/base-files/new && rm /etc/ssh/ssh_host_*",
    )
    lab.cloud("snapshot", first["id"], "--name", "gold", rc=1)  # it runs
    lab.cloud("stop", first["id"])
    made = lab.cloud("snapshot", first["id"], "--name", "gold", "--property", "role=node")
    assert lab.cloud("snapshots") == [made]
    assert lab.cloud("images")["gold"] == str(lab.cloud.root / "images/gold")

    second = make("s2", "gold", "10.88.1.2")
    seen = "hostname; cat /root/mark; ls /usr/share/base-files; ls /usr/bin/mpicc || true"
    assert lab.ssh(second, f"({seen}) 2>&1") == (
        "s2\none\nnew\nls: cannot access '/usr/bin/mpicc': No such file or directory"
    )
    assert second["host_key"] not in ("", first["host_key"])
    lab.ssh(second, "echo two > /root/second && rm /root/mark")
    lab.cloud("image-delete", "gold", rc=1)  # s2 uses it
    lab.cloud("snapshot", second["id"], "--name", "live", "--live")
    for server in (first, second):
        lab.cloud("delete", server["id"])
    lab.cloud("image-delete", "gold")

    third = make("s3", "live", "10.88.1.3")
    assert lab.ssh(third, "cat /root/second; ls /root/mark /usr/bin/mpicc || true") == "two"
    lab.cloud("rebuild", third["id"], "--image", "default")
    lab.cloud("image-delete", "live")
    assert lab.cloud("snapshots") == []
    lab.cloud("delete", third["id"])


def test_the_warm_process_ends_when_its_mirror_is_gone(tmp_path: Path) -> None:
    mirror = tmp_path / "mirror"
    subprocess.run([sys.executable, str(DEMO / "provider/mirror"), str(mirror)], check=True)
    for _ in range(2):  # the first by itself, the second most likely forked
        process = subprocess.Popen([mirror / "launch-localcloud_provider"], stdout=subprocess.PIPE, text=True)
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
