"""`check` against an OpenStack that speaks HTTP: what the adapter reads is what the pre-flight judges."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from slurm_powersave.adapters.journal.sqlite import SqliteJournal
from slurm_powersave.commands import unrecorded
from slurm_powersave.commands.messages import Dialog
from slurm_powersave.commands.preflight import look
from slurm_powersave.config.settings import Cluster
from slurm_powersave.model.nodes import NodeRecord, NodeSpec
from slurm_powersave.ports.site import Site
from slurm_powersave.testing.site import MemoryProgram, MemorySite, Parts
from tests.openstack.http_cloud import public_key
from tests.unit.adapters.openstack.lab import World


@pytest.fixture
def cluster(openstack: World, tmp_path: Path) -> Cluster:
    """A cluster that this cloud can have."""
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


def site_of(cluster: Cluster) -> MemorySite:
    """Its outside: Terraform is there, and the cloud is the real adapter's."""
    return MemorySite(cluster, Parts(terraform_program=MemoryProgram()))


def told(cluster: Cluster) -> list[tuple[str, str]]:
    """Severity and text of each finding."""
    return [(str(one.severity), f"{one.where}: {one.wrong}") for one in look(site_of(cluster)).findings]


def test_all_is_well(cluster: Cluster, openstack: World) -> None:
    report = look(site_of(cluster))
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
    found = look(site_of(cluster)).findings
    assert [str(one.severity) for one in found] == ["error"]
    assert "authentication" in found[0].wrong and "clouds.yaml" in found[0].right


def test_nobody_answers(cluster: Cluster, openstack: World) -> None:
    with openstack.proxy.refused("all"):
        found = look(site_of(cluster)).findings
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


def logins(openstack: World) -> int:
    return sum(path.endswith("/auth/tokens") for _, how, path in openstack.proxy.requests if how == "POST")


def as_deploy_does(ask: Callable[[], Site], cluster: Cluster) -> None:
    """Ask the clouds as often as a first deploy does; `ask` gives the site of each step."""
    look(ask())
    unrecorded.refuse_unknown(cluster, unrecorded.servers(ask()))
    for name in cluster.clouds:
        cloud = ask().cloud(name)
        assert cloud and cloud.image_id("default") and cloud.flavor_id("small")
    unrecorded.tell(ask(), ask().directory(cluster.layout.base), Dialog(print, print, lambda question: True))
    assert ask().image_cloud("os").list_images()
    assert [cloud.flavors() for cloud in ask().clouds().values()]


def test_a_whole_deploy_logs_in_once(cluster: Cluster, openstack: World) -> None:
    site = site_of(cluster)
    as_deploy_does(lambda: site, cluster)
    assert logins(openstack) == 1
    # With an adapter for each step, as it once was, it would be:
    as_deploy_does(lambda: site.anew(cluster), cluster)
    assert logins(openstack) == 1 + 6
