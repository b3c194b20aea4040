"""The root modules for OpenStack on a real control plane: a cluster made, changed and removed again."""

import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.openstack.harness import CHECKOUT, Lab, Project, Ssh, Terraform, until

MODULES = CHECKOUT / "terraform_ohpc"
TAGS = {"slurm-powersave", "cluster=c"}


class Times:
    """Says how long each step took."""

    def __init__(self) -> None:
        self.taken: dict[str, float] = {}

    def step(self, name: str, began: float) -> None:
        """Note a step that began at `time.monotonic()`."""
        self.taken[name] = time.monotonic() - began


@pytest.fixture(scope="module")
def times() -> Iterator[Times]:
    """Printed at the end (pytest -s)."""
    made = Times()
    yield made
    print("\n" + "".join(f"{name:40} {seconds:6.1f} s\n" for name, seconds in made.taken.items()))


def settings(lab: Lab, **more: Any) -> dict[str, Any]:
    """Return a cloud's settings with everything that the lab can do."""
    return {
        "cloud": "test",
        "external_network": "public",
        "cidr": lab.subnet,
        "dns": ["192.0.2.53"],
        "floating_ip": True,
        "ssh_from": [f"{lab.network}.0.1/32"],
        "server_group": "soft-anti-affinity",
        "timeouts": {"create": "3m", "update": "3m", "delete": "3m"},
        **more,
    }


def base_module(project: Project, ssh: Ssh, cloud: dict[str, Any], name: str = "base") -> Terraform:
    """Lay the base module out."""
    login = {
        "name": "c-login",
        "address": f"{project.lab.network}.0.10",
        "image": "lab-base",
        "flavor": "lab.tiny",
    }
    return Terraform(
        project,
        MODULES / "base",
        name,
        {"cluster": "c", "cloud": cloud, "key_pair": ssh.public, "login": login},
    )


def entry(project: Project, number: int) -> dict[str, str]:
    """Return a node's entry."""
    return {
        "pool": "compute",
        "image": "lab-base",
        "image_id": project.image("lab-base"),
        "flavor": "lab.tiny",
        "flavor_id": project.flavor("lab.tiny"),
        "zone": "nova",
        "address": f"{project.lab.network}.1.{number}",
        "operation": "o1",
        "shard": "001",
    }


@pytest.mark.slow
def test_a_cluster_comes_and_goes(lab: Lab, project: Project, ssh: Ssh, times: Times) -> None:
    """Base and nodes; rebuild and resize in place; then nothing is left."""
    assert project.left() == {}
    base = base_module(project, ssh, settings(lab))
    began = time.monotonic()
    base.apply()
    times.step("base applied", began)
    assert base.changes() == {}
    login, shared = base.output("login"), base.output("shared")
    network = project.cloud.network
    tagged = [network.networks, network.subnets, network.routers, network.security_groups, network.ips]
    for listed in tagged:
        (found,) = [thing for thing in listed(project_id=project.project.id) if thing.name != "default"]
        assert set(found.tags) >= TAGS, found
    (ip,) = network.ips(project_id=project.project.id)
    assert login["public_address"] == ip.floating_ip_address and ip.fixed_ip_address == login["address"]

    # From outside there is SSH from the control host, and nothing else.
    rules = [
        (rule.protocol, rule.port_range_min, rule.remote_ip_prefix, bool(rule.remote_group_id))
        for rule in network.security_group_rules(project_id=project.project.id)
        if rule.direction == "ingress"
        and rule.security_group_id == network.find_security_group("slurm-powersave-c").id
    ]
    assert sorted(rules, key=str) == sorted(
        [(None, None, None, True), ("tcp", 22, f"{lab.network}.0.1/32", False)], key=str
    )

    nodes = Terraform(
        project,
        MODULES / "nodes",
        "nodes",
        {"cluster": "c", "cloud": settings(lab), "key_pair": ssh.public, "base": shared, "nodes": {}},
    )
    nodes.apply()  # an empty map is legal
    nodes.write(nodes={"n1": entry(project, 1)})
    began = time.monotonic()
    nodes.apply()
    times.step("1 node created", began)
    made = {name: entry(project, number) for number, name in enumerate(("n1", "n2", "n3", "n4"), 1)}
    nodes.write(nodes=made)
    began = time.monotonic()
    nodes.apply()
    times.step("3 more nodes created", began)
    assert nodes.changes() == {} and base.changes() == {}
    output = nodes.output("nodes")
    assert output["n3"]["address"] == f"{lab.network}.1.3"
    server = project.cloud.compute.get_server(output["n3"]["id"])
    want = TAGS | {"pool=compute", "node=n3", "shard=001", "operation=o1"}
    assert set(server.tags) == want and server.availability_zone == "nova"

    (group,) = project.cloud.compute.server_groups()
    assert group.name == "slurm-powersave-c" and group.policy == "soft-anti-affinity"
    assert set(group.member_ids) == {of["id"] for of in output.values()}

    # The trusted way to a host key: the console, through the cloud's API.
    keys = {
        name: until(lambda id=of["id"]: project.host_key(id), what=f"console of {name}")
        for name, of in output.items()
    }
    assert len(set(keys.values())) == 4
    for name, of in output.items():
        assert ssh.run(of["address"], keys[name], "hostname") == name
    key = until(lambda: project.host_key(login["id"]))
    assert ssh.run(login["address"], key, "hostname") == "c-login"

    # Another operation on the node is no change of it.
    made["n1"] |= {"operation": "o2", "shard": "002"}
    nodes.write(nodes=made)
    assert nodes.changes() == {}

    newer = project.image("lab-base-2")
    made["n2"] |= {"image": "lab-base-2", "image_id": newer}
    nodes.write(nodes=made)
    began = time.monotonic()
    nodes.apply()
    times.step("1 node rebuilt", began)
    assert nodes.changes() == {}
    assert nodes.output("nodes") == output
    fresh = until(lambda: (found := project.host_key(output["n2"]["id"])) != keys["n2"] and found)
    assert ssh.run(output["n2"]["address"], fresh, "cat /etc/openstack-image") == newer

    ssh.run(output["n3"]["address"], keys["n3"], "touch /kept")
    made["n3"] |= {"flavor": "lab.small", "flavor_id": project.flavor("lab.small")}
    nodes.write(nodes=made)
    began = time.monotonic()
    nodes.apply()
    times.step("1 node resized", began)
    assert nodes.changes() == {} and nodes.output("nodes") == output
    assert project.cloud.compute.get_server(output["n3"]["id"]).flavor["original_name"] == "lab.small"
    assert ssh.run(output["n3"]["address"], keys["n3"], "ls /kept") == "/kept"

    nodes.write(nodes={})
    began = time.monotonic()
    nodes.apply()
    times.step("4 nodes deleted", began)
    began = time.monotonic()
    base.run("destroy", "-auto-approve")
    times.step("base destroyed", began)
    assert project.left() == {}


def test_existing_network(lab: Lab, project: Project, ssh: Ssh) -> None:
    """With network_id nothing of the network is made, and nothing of it is removed."""
    network = project.cloud.network
    net = network.create_network(name="theirs")
    subnet = network.create_subnet(name="theirs", network_id=net.id, ip_version=4, cidr=lab.subnet)
    cloud = {"cloud": "test", "network_id": net.id, "subnet_id": subnet.id, "force_delete": True}
    base = base_module(project, ssh, cloud, "existing")
    base.apply()
    assert base.changes() == {}
    assert base.output("shared")["network_id"] == net.id and base.output("shared")["server_group_id"] == ""
    assert project.left()["networks"] == ["theirs"] and "routers" not in project.left()
    base.run("destroy", "-auto-approve")
    assert set(project.left()) == {"networks", "subnets"}
    network.delete_network(net)
    assert project.left() == {}


@pytest.mark.slow
def test_shared_storage_server(lab: Lab, project: Project, ssh: Ssh) -> None:
    """An own server at the address that was asked for; a volume is planned where a size is given."""
    storage = {"image": "lab-base", "flavor": "lab.tiny", "address": f"{lab.network}.0.11"}
    base = base_module(project, ssh, settings(lab, shared_storage=storage, floating_ip=False), "storage")
    base.apply()
    made = base.output("storage")
    assert made["address"] == f"{lab.network}.0.11"
    key = until(lambda: project.host_key(made["id"]))
    assert ssh.run(made["address"], key, "hostname") == "c-storage"
    base.write(cloud=settings(lab, shared_storage=storage | {"size": 100}, floating_ip=False))
    assert {address for address in base.changes()} == {
        "openstack_blockstorage_volume_v3.storage[0]",
        "openstack_compute_volume_attach_v2.storage[0]",
    }
    base.run("destroy", "-auto-approve")
    assert project.left() == {}
