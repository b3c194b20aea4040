"""The generated inventory, also as ansible-inventory understands it."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from slurm_powersave.config.settings import Cluster
from slurm_powersave.decide.slurm_files.addresses import assign
from slurm_powersave.decide.slurm_files.inventory import Inventory, inventory
from slurm_powersave.decide.slurm_files.slurm_conf import slurm_conf
from slurm_powersave.model.nodes import NodeFacts

Make = Callable[..., Cluster]
FACTS = {"compute": NodeFacts(2, 1800), "big-mem": NodeFacts(16, 60000)}
CHANGE = {
    "state_dir": "/srv/state",
    "login.user": "debian",
    "node_pools[1].name": "big-mem",
    "node_pools[1].image_user": "rocky",
    "node_pools[1].before_configure": "site.yml",
    "partitions[1].pools": ["big-mem"],
    "prolog": "prolog.sh",
    "site_ldap": "ldap://x",
}


@pytest.fixture
def cluster(make: Make) -> Cluster:
    """A cluster with two pools that differ."""
    return make(CHANGE)


@pytest.fixture
def made(cluster: Cluster) -> Inventory:
    """Its inventory."""
    return inventory(cluster, FACTS, assign(cluster, {}))


def test_ansible_sees_groups_hosts_and_variables(made: Inventory, tmp_path: Path) -> None:
    for name, text in made.files().items():
        file = tmp_path / "inventory" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    command = Path(sys.executable).with_name("ansible-inventory")
    run = subprocess.run(
        [command, "-i", tmp_path / "inventory", "--list"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env={"HOME": str(tmp_path), "LC_ALL": "C.UTF-8", "PATH": "/usr/bin:/bin"},
    )
    assert "WARN" not in run.stderr
    seen: dict[str, Any] = json.loads(run.stdout)
    hosts = seen["_meta"]["hostvars"]
    assert seen["login"]["hosts"] == ["demo-login"]
    assert set(seen["nodes"]["children"]) == {"pool_compute", "pool_big_mem"}
    assert seen["pool_compute"]["hosts"] == ["demo-1", "demo-2", "demo-3", "demo-4"]
    login, small, big = hosts["demo-login"], hosts["demo-2"], hosts["demo-big-mem-1"]
    assert (login["ansible_host"], login["ansible_user"], login["ansible_become"]) == (
        "10.79.0.10",
        "debian",
        True,
    )
    assert (small["ansible_host"], small["ansible_user"], small["ansible_become"]) == (
        "10.79.1.2",
        "root",
        False,
    )
    assert (big["ansible_host"], big["ansible_user"], big["ansible_become"]) == ("10.79.2.9", "rocky", True)
    assert small["slurm_pool"] == "compute"
    assert small["before_configure"] == ""
    assert big["before_configure"].endswith("/site.yml")
    for host in (login, small, big):
        assert host["ansible_ssh_private_key_file"] == "/srv/state/keys/id_ed25519"
        assert "-o UserKnownHostsFile=/srv/state/known_hosts" in host["ansible_ssh_common_args"]
        assert "-o StrictHostKeyChecking=yes" in host["ansible_ssh_common_args"]
        assert host["site_ldap"] == "ldap://x"
        assert host["cluster_name"] == "demo"
        assert host["slurm_powersave"] == made.variables["slurm_powersave"]


def test_computed_variables(made: Inventory, cluster: Cluster) -> None:
    computed = made.variables["slurm_powersave"]
    hosts = computed["etc_hosts"].splitlines()
    assert (hosts[0], hosts[-1], len(hosts)) == ("10.79.0.10 demo-login", "10.79.2.9 demo-big-mem-1", 7)
    assert computed["slurm_conf"] == slurm_conf(cluster, FACTS, assign(cluster, {}))
    assert computed["min_nodes"] == "demo-1"
    assert computed["spool"] == "/var/spool/slurm-powersave"
    assert computed["munge_key"] == "/srv/state/keys/munge.key"
    assert computed["fast_start"] is False
    assert computed["reconfigure_takes_nodes"] is False
    assert computed["scripts"]["prolog"]["source"] == str(cluster.prolog)
    assert computed["scripts"]["epilog"]["source"] == ""
    assert all(
        line in computed["slurm_conf"] for line in computed["node_lines"] + computed["partition_lines"]
    )


@pytest.mark.parametrize(("version", "takes"), [("22.05.8", False), ("23.02", False), ("23.11", True)])
def test_what_the_table_of_versions_says_goes_to_ansible(make: Make, version: str, takes: bool) -> None:
    cluster = make(CHANGE | {"slurm_version": version})
    computed = inventory(cluster, FACTS, assign(cluster, {})).variables["slurm_powersave"]
    assert computed["reconfigure_takes_nodes"] is takes


def test_the_cluster_file_is_there_under_its_own_keys(made: Inventory, cluster: Cluster) -> None:
    for key, field in type(cluster).model_fields.items():
        assert (key in made.variables) is (not field.exclude)
    assert made.variables["node_pools"][0]["nodes"] == "demo-[1-4]"
    assert made.variables["mounts"] == ["/mnt/ohpc"]


def test_the_same_cluster_gives_the_same_text(made: Inventory, cluster: Cluster) -> None:
    again = inventory(cluster, FACTS, assign(cluster, {}))
    assert again.files() == made.files()
    assert all(yaml.safe_load(text) for text in made.files().values())
    assert not any("!!" in text for text in made.files().values())
