"""What tests of several adapters share."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from slurm_powersave.adapters.ansible.playbooks import Site
from tests.openstack.http_cloud import HttpCloud
from tests.openstack.proxy import Proxy
from tests.unit.adapters.openstack.lab import World


@pytest.fixture
def openstack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """An OpenStack of one file, with credentials in clouds.yaml."""
    with HttpCloud() as cloud, Proxy({"all": cloud.address}) as proxy:
        yield World(cloud, proxy, tmp_path, monkeypatch)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A site with an inventory of five nodes, and nothing else."""
    (tmp_path / "inventory/group_vars/all").mkdir(parents=True)
    hosts = {f"n{number}": {"ansible_host": f"127.0.0.{number}"} for number in range(1, 6)}
    children = {
        "login": {"hosts": {"login": {"ansible_host": "127.0.0.10"}}},
        "nodes": {"children": {"pool_cpu": {"hosts": hosts, "vars": {"ansible_user": "root"}}}},
    }
    # JSON is YAML.
    (tmp_path / "inventory/hosts.yml").write_text(json.dumps({"all": {"children": children}}))
    (tmp_path / "inventory/group_vars/all/slurm_powersave.yml").write_text('{"mounts": ["/mnt/ohpc"]}')
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys/id_ed25519").write_text("key\n")
    return Site(
        tmp_path / "playbooks", tmp_path / "inventory", tmp_path / "known_hosts", tmp_path / "keys/id_ed25519"
    )
