"""`check` against an OpenStack that speaks HTTP: what the adapter reads is what the pre-flight judges."""

from pathlib import Path

import pytest

from slurm_powersave.adapters import tools
from slurm_powersave.decide.settings import Cluster
from slurm_powersave.engine.preflight import look
from slurm_powersave.model.cloud_facts import Tools
from tests.unit.adapters.openstack.lab import World


@pytest.fixture
def cluster(openstack: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """A cluster that this cloud can have."""
    monkeypatch.setattr(tools, "read", lambda command, states: Tools("1.11.4"))
    openstack.cloud.network["networks"].append({"id": "n-ext", "name": "public", "router:external": True})
    settings = openstack.settings(external_network="public", ssh_from=["192.0.2.7/32"])
    return Cluster.model_validate(
        {
            "cluster_name": "demo",
            "state_dir": tmp_path / "state",
            "clouds": {"os": {"adapter": "openstack", "nodes_module": "/n", "settings": settings}},
            "login": {"name": "login", "address": "10.0.0.5", "image": "default", "flavor": "small"},
            "node_pools": [
                {
                    "name": "compute",
                    "nodes": "n[1-4]",
                    "image": "default",
                    "flavors": [{"cores": 1, "ram": 512}],
                    "addresses": "10.0.1.1-10.0.1.4",
                }
            ],
            "partitions": [{"name": "main", "pools": ["compute"]}],
            "mounts": [],
            "file": tmp_path / "all.yml",
        }
    )


def told(cluster: Cluster) -> list[tuple[str, str]]:
    """Severity and text of each finding."""
    return [(str(one.severity), f"{one.where}: {one.wrong}") for one in look(cluster).findings]


def test_all_is_well(cluster: Cluster, openstack: World) -> None:
    report = look(cluster)
    assert [one for one in report.findings if "role" not in one.wrong] == []
    assert report.flavors == {"compute": ("small", "large")}
    assert any(line.startswith("cloud os: identity http") for line in report.asked)


def test_the_key_pair_of_another_key_and_too_small_a_quota(cluster: Cluster, openstack: World) -> None:
    openstack.cloud.key_pairs["slurm-powersave-demo"] = "ssh-ed25519 BBBB somebody"
    openstack.cloud.limits["instances"] = 4
    found = told(cluster)
    assert any(
        kind == "error" and "key pair slurm-powersave-demo: it is there already" in text
        for kind, text in found
    )
    assert (
        "warning",
        "clouds.os: quota: the largest size needs 5 instances, 4 of 4 are left beside what others use (0)",
    ) in found


def test_401(cluster: Cluster, openstack: World) -> None:
    openstack.proxy.order(path="/auth/tokens", status=401)
    found = look(cluster).findings
    assert [str(one.severity) for one in found] == ["error"]
    assert "authentication" in found[0].wrong and "clouds.yaml" in found[0].right


def test_nobody_answers(cluster: Cluster, openstack: World) -> None:
    with openstack.proxy.refused("all"):
        found = look(cluster).findings
    assert [str(one.severity) for one in found] == ["error"]
    assert "route, firewall" in found[0].right
