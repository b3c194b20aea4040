"""What of ours an OpenStack project holds: all of it, and nothing of anybody else."""

import pytest

from slurm_powersave.adapters.openstack.cloud import OpenStackCloud
from slurm_powersave.commands import unrecorded
from slurm_powersave.model.errors import CloudError, RefusedError
from slurm_powersave.model.images import CLUSTER
from slurm_powersave.model.leftovers import INTERFACE, KEPT, RULE, Leftover
from tests.permits import permit
from tests.unit.adapters.openstack.lab import World

OURS, OTHERS = ["slurm-powersave", "cluster=demo"], ["slurm-powersave", "cluster=other"]


def test_every_kind_is_named_and_only_ours(openstack: World) -> None:
    cloud = openstack.cloud
    for tags, name in ((OURS, "demo"), (OTHERS, "other"), ([], "none")):
        cloud.add_server(f"{name}-1", frozenset(tags))
        for kind in ("networks", "subnets", "routers", "security-groups"):
            cloud.network[kind].append({"id": f"{kind}-{name}", "name": name, "tags": tags})
        cloud.network["floatingips"].append(
            {"id": f"fip-{name}", "floating_ip_address": f"192.0.2.{len(name)}", "tags": tags}
        )
        cloud.network["ports"] += [
            {"id": f"port-{name}", "name": "", "tags": tags, "network_id": "elsewhere"},
            {"id": f"nova-{name}", "device_owner": "compute:nova", "network_id": f"networks-{name}"},
            {"id": f"dhcp-{name}", "device_owner": "network:dhcp", "network_id": f"networks-{name}"},
        ]
        cloud.key_pairs[f"slurm-powersave-{name}"] = "ssh-ed25519 AAAA"
        cloud.server_groups.append({"id": f"group-{name}", "name": f"slurm-powersave-{name}"})
        cloud.add_image(f"{name}-image", **({CLUSTER: name} if tags else {}))
    (server,) = [one["id"] for one in cloud.servers.values() if one["name"] == "demo-1"]
    (image,) = [one["id"] for one in cloud.images.values() if one["name"] == "demo-image"]
    found = OpenStackCloud("demo", openstack.settings()).leftovers()
    assert {(left.kind, left.id, left.name) for left in found} == {
        ("server", server, "demo-1"),
        ("network", "networks-demo", "demo"),
        ("subnet", "subnets-demo", "demo"),
        ("router", "routers-demo", "demo"),
        ("security group", "security-groups-demo", "demo"),
        ("floating IP", "fip-demo", "192.0.2.4"),
        ("port", "port-demo", ""),
        ("port", "nova-demo", ""),
        ("key pair", "slurm-powersave-demo", "slurm-powersave-demo"),
        ("server group", "group-demo", "slurm-powersave-demo"),
        ("image", image, "demo-image"),
    }


def test_an_empty_project(openstack: World) -> None:
    assert OpenStackCloud("demo", openstack.settings()).leftovers() == []


def test_half_a_list_proves_nothing(openstack: World) -> None:
    openstack.proxy.order(path="/routers", status=503, times=10)
    with pytest.raises(CloudError):
        OpenStackCloud("demo", openstack.settings()).leftovers()


def test_a_deleted_server_that_the_cloud_keeps_is_found_by_its_port(openstack: World) -> None:
    cloud = openstack.cloud
    cloud.network["networks"].append({"id": "net", "name": "demo", "tags": OURS})
    kept = cloud.add_server("n1", frozenset(OURS), "SOFT_DELETED")
    foreign = cloud.add_server("x1", frozenset(OTHERS), "SOFT_DELETED")
    alive = cloud.add_server("n2", frozenset(OURS))
    for device in (kept, foreign, alive, "gone"):
        port = {"id": f"p-{device}", "device_id": device, "device_owner": "compute:nova", "network_id": "net"}
        cloud.network["ports"].append(port)
    found = OpenStackCloud("demo", openstack.settings()).leftovers()
    assert [left.id for left in found if left.kind == KEPT] == [kept]


def test_what_has_no_tag_yet_is_found_by_its_name_or_by_what_it_is_tied_to(
    openstack: World,
) -> None:
    """Terraform was killed between a creation and the call that sets the tags."""
    cloud = openstack.cloud
    for name in ("slurm-powersave-demo", "slurm-powersave-demo2", "demo"):
        for kind in ("networks", "subnets", "routers", "security-groups"):
            cloud.network[kind].append({"id": f"{kind}-{name}", "name": name, "tags": []})
    control = {"id": "control", "name": "slurm-powersave-demo", "tags": ["slurm-powersave"]}
    cloud.network["networks"].append(control)
    ours = "networks-slurm-powersave-demo"
    cloud.network["ports"].append({"id": "p-1", "name": "login", "device_owner": "", "network_id": ours})
    cloud.network["floatingips"] += [
        {"id": "fip-1", "floating_ip_address": "192.0.2.9", "port_id": "p-1"},
        {"id": "fip-2", "floating_ip_address": "192.0.2.8", "port_id": "p-2"},
    ]
    found = OpenStackCloud("demo", openstack.settings()).leftovers()
    kinds = ("networks", "subnets", "routers", "security-groups")
    assert {left.id for left in found} == {
        *(f"{kind}-slurm-powersave-demo" for kind in kinds),
        "p-1",
        "fip-1",
    }


def test_what_an_interrupted_deploy_left_is_removed_in_order_and_nothing_else(openstack: World) -> None:
    cloud = openstack.cloud
    for tags, name in ((OURS, "demo"), (OTHERS, "other")):
        for kind in ("networks", "subnets", "routers", "security-groups"):
            one = {"id": f"{kind}-{name}", "name": name, "tags": tags}
            cloud.network[kind].append(one | {"network_id": f"networks-{name}"})
        interface = {"device_id": f"routers-{name}", "device_owner": "network:router_interface"}
        cloud.network["ports"] += [
            {"id": f"if-{name}", "network_id": f"networks-{name}", **interface},
            {"id": f"login-{name}", "network_id": f"networks-{name}", "tags": tags},
        ]
        floating = {"id": f"fip-{name}", "floating_ip_address": "192.0.2.9", "port_id": f"login-{name}"}
        cloud.network["floatingips"].append(floating)
    for name in ("demo", "other"):
        cloud.key_pairs[f"slurm-powersave-{name}"] = "ssh-ed25519 AAAA"
        cloud.server_groups.append({"id": f"group-{name}", "name": f"slurm-powersave-{name}", "members": []})
    before = {kind: len(found) for kind, found in cloud.network.items()}
    adapter = OpenStackCloud("demo", openstack.settings())
    found = sorted(adapter.leftovers(), key=lambda left: unrecorded._ORDER.index(left.kind))
    assert len(found) == 8
    for left in found:
        adapter.remove(left, permit("delete", left.id))
    assert adapter.leftovers() == []
    assert {kind: len(found) for kind, found in cloud.network.items()} == {
        kind: count // 2 for kind, count in before.items()
    }
    assert list(cloud.key_pairs) == ["slurm-powersave-other"]
    assert [group["id"] for group in cloud.server_groups] == ["group-other"]
    foreign = Leftover("network", "networks-other", "other")
    adapter.remove(foreign, permit("delete", foreign.id))
    assert cloud.network["networks"], "not ours: never touched"


def test_an_interface_and_a_rule_that_no_state_knows_are_removed_alone(openstack: World) -> None:
    """Their router and their group stay; Neutron's own rules, for what goes out, are not ours."""
    network = openstack.cloud.network
    network["routers"] += [
        {"id": "r", "name": "demo", "tags": OURS},
        {"id": "r2", "name": "x", "tags": OTHERS},
    ]
    network["security-groups"].append({"id": "g", "name": "demo", "tags": OURS})
    network["ports"] += [
        {"id": f"if-{router}", "device_id": router, "device_owner": "network:router_interface"}
        for router in ("r", "r2")
    ]
    network["security-group-rules"] = [
        {"id": "in", "security_group_id": "g", "direction": "ingress"},
        {"id": "out", "security_group_id": "g", "direction": "egress"},
        {"id": "other", "security_group_id": "g2", "direction": "ingress"},
    ]
    adapter = OpenStackCloud("demo", openstack.settings())
    found = adapter.parts()
    assert [(left.kind, left.id, left.part_of) for left in found] == [
        (INTERFACE, "if-r", "r"),
        (RULE, "in", "g"),
    ]
    for left in found:
        adapter.remove(left, permit("delete", left.id))
    adapter.remove(Leftover(RULE, "other", "", "g2"), permit("delete", "other"))
    assert [port["id"] for port in network["ports"]] == ["if-r2"]
    assert [rule["id"] for rule in network["security-group-rules"]] == ["out", "other"]
    assert len(network["routers"]) == 2 and adapter.parts() == []


def test_a_removal_without_a_permit_is_refused(openstack: World) -> None:
    with pytest.raises(RefusedError):
        OpenStackCloud("demo", openstack.settings()).remove(Leftover("network", "n"), permit("delete", "m"))


def test_the_volume_of_shared_storage_is_found_by_its_name(openstack: World) -> None:
    for number, name in enumerate(("slurm-powersave-demo-storage", "slurm-powersave-demo2-storage", "data")):
        openstack.cloud.volumes.append({"id": f"v-{number}", "name": name})
    shared = {"flavor": "small", "image": "default", "address": "10.0.0.6", "size": 20}
    settings = openstack.settings(shared_storage=shared)
    assert [(left.kind, left.id) for left in OpenStackCloud("demo", settings).leftovers()] == [
        ("volume", "v-0")
    ]
    # Without such a server nobody asks for volumes: a cloud may have no service for them.
    assert OpenStackCloud("demo", openstack.settings()).leftovers() == []
