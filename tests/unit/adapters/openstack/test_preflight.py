"""`check` against an OpenStack that speaks HTTP: what the adapter reads is what the pre-flight judges."""

import json
from pathlib import Path

import pytest

from slurm_powersave.adapters.journal.sqlite import SqliteJournal
from slurm_powersave.adapters.terraform import versions
from slurm_powersave.commands.preflight import look
from slurm_powersave.config.settings import Cluster
from slurm_powersave.model.cloud_facts import Tools
from slurm_powersave.model.nodes import NodeRecord, NodeSpec
from tests.openstack.http_cloud import public_key
from tests.unit.adapters.openstack.lab import World


@pytest.fixture
def cluster(openstack: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """A cluster that this cloud can have."""
    monkeypatch.setattr(versions, "read", lambda command, states: Tools("1.11.4"))
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


def deploy(cluster: Cluster, openstack: World) -> None:
    """What a deploy leaves here and in the cloud."""
    key, ours, cloud = public_key(), "slurm-powersave-demo", openstack.cloud
    shared = {"network_id": "net", "subnet_id": "sub", "key_pair": ours, "security_groups": [ours]}
    layout = cluster.layout
    layout.public_key.parent.mkdir(parents=True)
    layout.public_key.write_text(key)
    layout.base.mkdir(parents=True)
    state = {"outputs": {"shared": {"value": shared | {"server_group_id": "sg"}}}}
    (layout.base / "terraform.tfstate").write_text(json.dumps(state))
    cloud.key_pairs[ours] = key
    tags = ["slurm-powersave", "cluster=demo"]
    cloud.network["networks"].append({"id": "net", "name": ours, "tags": tags})
    subnet = {"id": "sub", "name": ours, "network_id": "net", "cidr": "10.0.0.0/16", "tags": tags}
    cloud.network["subnets"].append({**subnet, "gateway_ip": "10.0.0.1"})
    cloud.network["security-groups"].append({"id": "g", "name": ours, "tags": tags})
    cloud.server_groups.append({"id": "sg", "name": ours})
    small = next(one["id"] for one in cloud.flavors.values() if one["name"] == "small")
    journal = SqliteJournal(layout.journal)
    node = NodeSpec("n1", "compute", "os", "default", "small", "", "10.0.1.1", flavor_id=small)
    journal.save_node(NodeRecord(node, "os/nodes-001", "s-1"))
    journal.close()


def test_a_deployed_cluster_with_all_that_it_needs(cluster: Cluster, openstack: World) -> None:
    deploy(cluster, openstack)
    assert told(cluster) == []


def test_the_credential_of_another_user_and_a_flavor_that_was_made_anew(
    cluster: Cluster, openstack: World
) -> None:
    deploy(cluster, openstack)
    del openstack.cloud.key_pairs["slurm-powersave-demo"]
    openstack.cloud.server_groups.clear()
    old = next(key for key, one in openstack.cloud.flavors.items() if one["name"] == "small")
    openstack.cloud.flavors["f-new"] = openstack.cloud.flavors.pop(old) | {"id": "f-new"}
    found = told(cluster)
    assert [kind for kind, _ in found] == ["error", "error", "warning"]
    assert "key pair slurm-powersave-demo: this credential does not see it" in found[0][1]
    assert "server group sg" in found[1][1] and "n1 can't be reimaged" in found[2][1]


def test_a_list_of_servers_that_fails_is_the_only_finding(cluster: Cluster, openstack: World) -> None:
    deploy(cluster, openstack)
    fixed = [{"subnet_id": "sub", "ip_address": "10.0.1.1"}]
    port = {"id": "p", "device_id": "s-1", "device_owner": "compute:nova", "fixed_ips": fixed}
    openstack.cloud.network["ports"].append(port)
    openstack.cloud.limits["instances"] = 1
    openstack.proxy.order(path="/servers/detail", status=503)
    found = told(cluster)
    openstack.proxy.calm()
    assert [kind for kind, _ in found] == ["error"] and "503" in found[0][1]
