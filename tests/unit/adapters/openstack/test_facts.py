"""What the pre-flight reads of an OpenStack cloud, and what becomes of a service that does not answer."""

import time
from typing import Any

import pytest

from slurm_powersave.adapters.openstack.cloud import OpenStackCloud
from slurm_powersave.model.cloud_facts import (
    AddressUse,
    Asked,
    CloudFacts,
    GroupFacts,
    ImageFacts,
    NetworkFacts,
    ServerGroupFacts,
    SubnetFacts,
)
from slurm_powersave.model.nodes import Flavor, Limit
from tests.openstack.http_cloud import public_key
from tests.unit.adapters.openstack.lab import SILENCE, World

OURS = frozenset({"slurm-powersave", "cluster=demo"})


def facts(world: World, **settings: Any) -> CloudFacts:
    """Read."""
    return OpenStackCloud("demo", world.settings(**settings)).facts()


def network(server: str) -> dict[str, list[dict[str, Any]]]:
    """What Neutron has; a port of the server in it."""
    lan = {"id": "net", "name": "lan", "router:external": False, "tags": ["cluster=demo"]}
    subnet = {
        "id": "sub",
        "name": "lan",
        "network_id": "net",
        "cidr": "10.0.0.0/16",
        "gateway_ip": "10.0.0.1",
    }
    subnet |= {"allocation_pools": [{"start": "10.0.192.0", "end": "10.0.255.254"}], "tags": ["cluster=demo"]}
    mine = {"id": "p1", "device_id": server, "device_owner": "compute:nova", "tags": []}
    dhcp = {"id": "p2", "device_id": "", "device_owner": "network:dhcp", "tags": ["x"]}
    return {
        "networks": [lan, {"id": "ext", "name": "public", "router:external": True}],
        "subnets": [
            subnet,
            {"id": "v6", "name": "", "network_id": "net", "cidr": "fd00::/64", "gateway_ip": None},
        ],
        "ports": [
            mine | {"fixed_ips": [{"subnet_id": "sub", "ip_address": "10.0.1.1"}]},
            dhcp | {"fixed_ips": [{"subnet_id": "sub", "ip_address": "10.0.192.0"}]},
            {"id": "p3", "device_id": "", "device_owner": "", "fixed_ips": []},
        ],
        "security-groups": [{"id": "g", "name": "default"}],
    }


def test_everything_is_read(openstack: World) -> None:
    cloud = openstack.cloud
    image = cloud.add_image("debian", min_disk=10, min_ram=512, size=7, virtual_size=9)
    flavor = cloud.add_flavor("m1", 4, 8192, 40)
    key = cloud.key_pairs["slurm-powersave-demo"] = public_key()
    server = cloud.add_server("n1", OURS)
    cloud.add_server("foreign", frozenset({"cluster=other"}))
    cloud.network |= network(server)
    cloud.server_groups.append({"id": "sg", "name": "slurm-powersave-demo"})
    found = facts(openstack)
    assert found.troubles == ()
    assert found.asked[0].endswith("/identity/v3 as demo in project demo") and len(found.asked) == 4
    assert found.roles == {"member"} and found.zones == {"nova"}
    assert found.images and ImageFacts(image, "debian", "active", 10, 512, 9) in found.images
    assert found.flavors and found.flavors["m1"] == Flavor("m1", 4, 8192, 40, flavor)
    assert found.networks == (
        NetworkFacts("net", "lan", False, frozenset({"cluster=demo"})),
        NetworkFacts("ext", "public", True),
    )
    pools = (("10.0.192.0", "10.0.255.254"),)
    uses = (
        AddressUse("10.0.1.1", "server n1", OURS),
        AddressUse("10.0.192.0", "port p2 (network:dhcp)", frozenset({"x"})),
    )
    assert found.subnets == (
        SubnetFacts("sub", "lan", "net", "10.0.0.0/16", pools, "10.0.0.1", uses, frozenset({"cluster=demo"})),
        SubnetFacts("v6", "", "net", "fd00::/64"),
    )
    assert found.limits["server_group_members"] == Limit(10, 0)
    assert found.server_groups == (ServerGroupFacts("sg", "slurm-powersave-demo"),)
    assert found.limits["instances"] == Limit(10, 2) and found.limits["ram"].limit is None
    assert found.limits["ports"] == Limit(50, 3) and found.limits["floating_ips"] == Limit(None, 0)
    assert found.key_pair == key
    assert found.security_groups == (GroupFacts("g", "default"),)
    assert found.servers and {one.name for one in found.servers} == {"n1", "foreign"}
    assert found.servers[0].image == "default"
    assert found.clock_skew is not None and abs(found.clock_skew) < 2


def test_where_servers_can_not_be_listed_their_ports_are_in_use_by_nobody_known(openstack: World) -> None:
    """The port of a server whose name nobody knows may be our node's; one of DHCP is not."""
    openstack.cloud.network |= network(openstack.cloud.add_server("n1", OURS))
    openstack.proxy.order(path="/servers/detail", status=503)
    found = facts(openstack)
    openstack.proxy.calm()
    assert found.subnets and [use.address for use in found.subnets[0].in_use] == ["10.0.192.0"]
    assert [trouble.asked for trouble in found.troubles] == [Asked.SERVICE]


def test_a_network_without_port_security(openstack: World) -> None:
    openstack.cloud.network["networks"].append({"id": "net", "name": "lan", "port_security_enabled": False})
    found = facts(openstack)
    assert found.networks and [one.port_security for one in found.networks] == [False]


@pytest.mark.parametrize("hidden", [{"visibility": "community"}, {"os_hidden": True}])
def test_an_image_that_no_list_has_is_found_by_its_id(openstack: World, hidden: dict[str, Any]) -> None:
    image = openstack.cloud.add_image("shared", min_disk=3, **hidden)
    cloud = OpenStackCloud("demo", openstack.settings())
    assert image not in {one.id for one in cloud.facts().images or ()}
    found = cloud.facts({image, "default", "00000000-0000-4000-8000-000000000000"}).images or ()
    assert [(one.name, one.min_disk) for one in found if one.id == image] == [("shared", 3)]
    assert cloud.image_id(image) == image


def test_a_clock_that_is_ahead(openstack: World) -> None:
    openstack.cloud.clock_skew = 90
    skew = facts(openstack).clock_skew
    assert skew is not None and 88 < skew < 92


def test_without_quota_details_ports_are_counted(openstack: World) -> None:
    openstack.cloud.quota_details = False
    openstack.cloud.network["ports"] = [{"id": f"p{number}"} for number in range(3)]
    assert facts(openstack).limits["ports"] == Limit(50, 3)


def test_no_key_pair_is_an_empty_one(openstack: World) -> None:
    assert facts(openstack).key_pair == ""


@pytest.mark.parametrize(
    ("order", "asked", "unread"),
    [
        ({"path": "/os-keypairs", "status": 403}, Asked.ROLE, {"key_pair"}),
        ({"path": "/network/.*/networks", "status": 500}, Asked.SERVICE, {"networks"}),
        ({"path": "/servers/detail", "status": 200, "body": {"servers": [{}]}}, Asked.SERVICE, {"servers"}),
        ({"path": "/image", "hang": True}, Asked.REACH, {"images"}),
        (
            {"path": "/network", "hang": True},
            Asked.REACH,
            {"networks", "subnets", "security_groups"},
        ),
    ],
)
def test_one_trouble_does_not_hide_the_rest(
    openstack: World, order: dict[str, Any], asked: Asked, unread: set[str]
) -> None:
    openstack.proxy.order(**order)
    before = time.monotonic()
    found = facts(openstack)
    took = time.monotonic() - before
    openstack.proxy.calm()
    parts = ("images", "flavors", "zones", "networks", "subnets", "key_pair", "security_groups", "servers")
    assert {part for part in parts if getattr(found, part) is None} == unread
    (trouble,) = found.troubles
    assert trouble.asked is asked and trouble.text and trouble.where
    # The versions of the service, and one call: then no more of it is asked.
    assert took < 2 * SILENCE + 4


@pytest.mark.parametrize(
    ("order", "asked"),
    [
        ({"path": "/auth/tokens", "status": 401}, Asked.CREDENTIALS),
        ({"path": "/auth/tokens", "status": 503}, Asked.SERVICE),
        ({"path": "/auth/tokens", "hang": True}, Asked.REACH),
    ],
)
def test_without_a_login_nothing_else_is_tried(openstack: World, order: dict[str, Any], asked: Asked) -> None:
    openstack.proxy.order(**order)
    found = facts(openstack)
    openstack.proxy.calm()
    (trouble,) = found.troubles
    assert trouble.asked is asked and found.servers is None
    assert not openstack.asked(containing="/compute/v2.1/")


def test_a_cloud_that_is_not_there(openstack: World) -> None:
    with openstack.proxy.refused("all"):
        (trouble,) = facts(openstack).troubles
    assert trouble.asked is Asked.REACH and "refused" in trouble.text


def test_credentials_that_are_not_there(openstack: World) -> None:
    (trouble,) = facts(openstack, cloud="nonesuch").troubles
    assert trouble.asked is Asked.CREDENTIALS and "nonesuch" in trouble.text
