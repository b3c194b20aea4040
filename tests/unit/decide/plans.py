"""Terraform plans for tests of the plan guard: good ones, and each forbidden one with its one difference."""

from collections.abc import Callable
from typing import Any

from slurm_powersave.decide.node.plan_guard import Contract, PlanMode, tags
from slurm_powersave.model.nodes import NodeSpec, TerraformNode

CONTRACT = Contract(
    "cloud_server.node",
    {
        "name": "name",
        "image": "image_id",
        "flavor": "flavor_id",
        "zone": "availability_zone",
        "address": "network.0.fixed_ip_v4",
        "tags": "tags",
    },
)
SHARD = "mem/nodes-001"
Plan = dict[str, Any]


def entry(name: str, zone: str = "") -> TerraformNode:
    """What the journal holds of a node."""
    number = name[1:]
    return TerraformNode(
        NodeSpec(name, "compute", "mem", "img", "small", zone, f"10.0.1.{number}"), f"op{number}"
    )


def address(name: str) -> str:
    """A node's resource address."""
    return f'cloud_server.node["{name}"]'


def attributes(name: str) -> dict[str, Any]:
    """A node's attributes as the provider plans them."""
    return {
        "name": name,
        "image_id": "img",
        "flavor_id": "small",
        "availability_zone": "nova",
        "network": [{"fixed_ip_v4": f"10.0.1.{name[1:]}"}],
        "tags": sorted(tags("demo", SHARD, entry(name))),
    }


def created(name: str) -> dict[str, Any]:
    """A creation as Terraform plans it."""
    change = {
        "actions": ["create"],
        "before": None,
        "after": attributes(name),
        "after_unknown": {"id": True, "network": [{}]},
    }
    return {"address": address(name), "mode": "managed", "change": change}


def deleted(name: str) -> dict[str, Any]:
    """A deletion as Terraform plans it."""
    before = attributes(name) | {"id": f"id-{name}"}
    return {
        "address": address(name),
        "mode": "managed",
        "change": {"actions": ["delete"], "before": before, "after": None},
    }


def plan(*changes: dict[str, Any], **more: Any) -> Plan:
    """A plan with these changes."""
    return {"format_version": "1.2", "resource_changes": list(changes)} | more


def change_of(content: Plan) -> dict[str, Any]:
    """The first change of a plan."""
    found: dict[str, Any] = content["resource_changes"][0]["change"]
    return found


FORBIDDEN: dict[str, tuple[PlanMode, str, Callable[[Plan], object]]] = {
    # Nobody asked for it
    "another node is created": (
        PlanMode.CREATE,
        "not asked for",
        lambda p: p["resource_changes"].append(created("n2")),
    ),
    "another node is deleted (scenario 8)": (
        PlanMode.CREATE,
        "not asked for",
        lambda p: p["resource_changes"].append(deleted("n2")),
    ),
    "another node is replaced (scenario 7)": (
        PlanMode.DELETE,
        "delete/create of something",
        lambda p: p["resource_changes"].append(
            {"address": address("n2"), "mode": "managed", "change": {"actions": ["delete", "create"]}}
        ),
    ),
    "another node is changed in place (drift)": (
        PlanMode.CREATE,
        "update of something",
        lambda p: p["resource_changes"].append(
            {"address": address("n2"), "mode": "managed", "change": {"actions": ["update"]}}
        ),
    ),
    "a resource of another kind": (
        PlanMode.CREATE,
        "not asked for",
        lambda p: p["resource_changes"].append(
            {"address": "cloud_network.lan", "mode": "managed", "change": {"actions": ["create"]}}
        ),
    ),
    "a port of the same node": (
        PlanMode.CREATE,
        "not asked for",
        lambda p: p["resource_changes"].append(
            {"address": 'cloud_port.node["n1"]', "mode": "managed", "change": {"actions": ["create"]}}
        ),
    ),
    "the same name in a module": (
        PlanMode.CREATE,
        "not asked for",
        lambda p: p["resource_changes"].append(
            {
                "address": 'module.x.cloud_server.node["n1"]',
                "mode": "managed",
                "change": {"actions": ["create"]},
            }
        ),
    ),
    "the login node goes": (
        PlanMode.DELETE,
        "not asked for",
        lambda p: p["resource_changes"].append(
            {"address": "cloud_server.login", "mode": "managed", "change": {"actions": ["delete"]}}
        ),
    ),
    "a data source's file is written": (
        PlanMode.CREATE,
        "not asked for",
        lambda p: p["resource_changes"].append(
            {"address": "data.cloud_image.x", "mode": "data", "change": {"actions": ["update"]}}
        ),
    ),
    "a resource is forgotten": (
        PlanMode.DELETE,
        "forget of something",
        lambda p: p["resource_changes"].append(
            {"address": address("n2"), "mode": "managed", "change": {"actions": ["forget"]}}
        ),
    ),
    "a node is moved": (
        PlanMode.CREATE,
        "moved here",
        lambda p: p["resource_changes"].append(
            {
                "address": address("n2"),
                "previous_address": address("n3"),
                "mode": "managed",
                "change": {"actions": ["no-op"]},
            }
        ),
    ),
    # The wrong action on the right node
    "a delete where a create was asked for": (
        PlanMode.CREATE,
        "delete instead of create",
        lambda p: p["resource_changes"].__setitem__(0, deleted("n1")),
    ),
    "a create where a delete was asked for (scenario 9)": (
        PlanMode.DELETE,
        "create instead of delete",
        lambda p: p["resource_changes"].__setitem__(0, created("n1")),
    ),
    "a replacement": (
        PlanMode.CREATE,
        "delete/create instead",
        lambda p: change_of(p).update(actions=["delete", "create"]),
    ),
    "a replacement the other way round": (
        PlanMode.DELETE,
        "create/delete instead",
        lambda p: change_of(p).update(actions=["create", "delete"]),
    ),
    "a tainted entry": (
        PlanMode.CREATE,
        "replace_because_tainted",
        lambda p: (
            change_of(p).update(actions=["delete", "create"]),
            p["resource_changes"][0].update(action_reason="replace_because_tainted"),
        ),
    ),
    "an update": (PlanMode.CREATE, "update instead", lambda p: change_of(p).update(actions=["update"])),
    "an action of the future": (
        PlanMode.CREATE,
        "evaporate",
        lambda p: change_of(p).update(actions=["evaporate"]),
    ),
    "no action at all": (PlanMode.CREATE, "instead of create", lambda p: change_of(p).update(actions=[])),
    "a forgotten server where a delete was asked for": (
        PlanMode.DELETE,
        "forget instead",
        lambda p: change_of(p).update(actions=["forget"]),
    ),
    "an import": (PlanMode.CREATE, "imports", lambda p: change_of(p).update(importing={"id": "x"})),
    "a deposed object": (
        PlanMode.DELETE,
        "deposed",
        lambda p: p["resource_changes"][0].update(deposed="abcd1234"),
    ),
    # Once each
    "no changes": (PlanMode.CREATE, "0 times", lambda p: p["resource_changes"].clear()),
    "no changes for a delete": (PlanMode.DELETE, "0 times", lambda p: p["resource_changes"].clear()),
    "no-op for a node that was asked for": (
        PlanMode.CREATE,
        "0 times",
        lambda p: change_of(p).update(actions=["no-op"]),
    ),
    "the same node twice": (
        PlanMode.CREATE,
        "2 times",
        lambda p: p["resource_changes"].append(created("n1")),
    ),
    "another case of the name": (
        PlanMode.CREATE,
        "not asked for",
        lambda p: p["resource_changes"][0].update(address=address("N1")),
    ),
    # Other values than the journal's
    "another image": (
        PlanMode.CREATE,
        "image_id is 'new'",
        lambda p: change_of(p)["after"].update(image_id="new"),
    ),
    "another flavor": (
        PlanMode.CREATE,
        "flavor_id",
        lambda p: change_of(p)["after"].update(flavor_id="huge"),
    ),
    "another name": (PlanMode.CREATE, "name is 'n7'", lambda p: change_of(p)["after"].update(name="n7")),
    "another address": (
        PlanMode.CREATE,
        "fixed_ip_v4",
        lambda p: change_of(p)["after"]["network"][0].update(fixed_ip_v4="10.0.1.9"),
    ),
    "an address that is not known": (
        PlanMode.CREATE,
        "not known before the apply",
        lambda p: change_of(p)["after_unknown"].update(network=[{"fixed_ip_v4": True}]),
    ),
    "a network that is not known": (
        PlanMode.CREATE,
        "fixed_ip_v4",
        lambda p: (change_of(p)["after_unknown"].update(network=True), change_of(p)["after"].pop("network")),
    ),
    "no network": (PlanMode.CREATE, "fixed_ip_v4", lambda p: change_of(p)["after"].update(network=[])),
    "an image that is not known": (
        PlanMode.CREATE,
        "not known",
        lambda p: change_of(p)["after_unknown"].update(image_id=True),
    ),
    "no tags": (PlanMode.CREATE, "tags", lambda p: change_of(p)["after"].pop("tags")),
    "a tag less": (PlanMode.CREATE, "tags", lambda p: change_of(p)["after"]["tags"].pop()),
    "a tag more": (PlanMode.CREATE, "tags", lambda p: change_of(p)["after"]["tags"].append("x")),
    "no attributes": (PlanMode.CREATE, "image_id", lambda p: change_of(p).update(after=None)),
    # Other servers than the journal's
    "the delete of another server": (
        PlanMode.DELETE,
        "deletes the server id-x",
        lambda p: change_of(p)["before"].update(id="id-x"),
    ),
    "the delete of another cluster's server": (
        PlanMode.DELETE,
        "our cluster's tag",
        lambda p: change_of(p)["before"].update(tags=["cluster=other"]),
    ),
    "the delete of a server without tags": (
        PlanMode.DELETE,
        "our cluster's tag",
        lambda p: change_of(p)["before"].update(tags=[]),
    ),
    "the delete of a server of another name": (
        PlanMode.DELETE,
        "is called 'login'",
        lambda p: change_of(p)["before"].update(name="login"),
    ),
    "the delete of nothing": (
        PlanMode.DELETE,
        "deletes the server None",
        lambda p: change_of(p).update(before=None),
    ),
    # The plan as a whole
    "a format of the future": (PlanMode.CREATE, "format 2.0", lambda p: p.update(format_version="2.0")),
    "no format": (PlanMode.CREATE, "format none", lambda p: p.pop("format_version")),
    "a plan that failed": (PlanMode.CREATE, "planning failed", lambda p: p.update(errored=True)),
    "deferred changes": (PlanMode.CREATE, "deferred", lambda p: p.update(deferred_changes=[{}])),
    "actions of providers": (
        PlanMode.CREATE,
        "action_invocations",
        lambda p: p.update(action_invocations=[{}]),
    ),
    "null instead of changes": (PlanMode.CREATE, "0 times", lambda p: p.update(resource_changes=None)),
}
