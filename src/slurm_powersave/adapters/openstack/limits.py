"""Quotas of a project and what is used of them."""

from typing import Any

from slurm_powersave.adapters.openstack.api import Api
from slurm_powersave.model.errors import CloudError
from slurm_powersave.model.nodes import Limit

_COMPUTE = {
    "instances": ("maxTotalInstances", "totalInstancesUsed"),
    "cores": ("maxTotalCores", "totalCoresUsed"),
    "ram": ("maxTotalRAMSize", "totalRAMUsed"),
    "server_groups": ("maxServerGroups", "totalServerGroupsUsed"),
}
_MEMBERS = "maxServerGroupMembers"
"""Of each group; how many one has stands with the group."""
_NETWORK = {
    "ports": ("port", "/ports"),
    "floating_ips": ("floatingip", "/floatingips"),
    "networks": ("network", "/networks"),
    "subnets": ("subnet", "/subnets"),
    "routers": ("router", "/routers"),
    "security_groups": ("security_group", "/security-groups"),
}


def compute(api: Api, group: str = "") -> dict[str, Limit]:
    """Read Nova's limits: instances, cores, ram (MiB), server_groups, server_group_members. One call.

    With the name of a server group one call more: `server_group` is how many servers it may have and has.
    Nova counts each group by itself, and leaves deleted servers out.
    """
    answer = api.get("compute", "/limits")["limits"]["absolute"]
    found = {
        ours: Limit(_limit(answer[most]), int(answer.get(used, 0)))
        for ours, (most, used) in _COMPUTE.items()
        if most in answer
    }
    if _MEMBERS in answer:
        found["server_group_members"] = Limit(_limit(answer[_MEMBERS]), 0)
        if group and (members := _members(api, group)):
            found["server_group"] = Limit(_limit(answer[_MEMBERS]), max(members))
    return found


def _members(api: Api, name: str) -> list[int]:
    groups = api.get("compute", "/os-server-groups")["server_groups"]
    return [len(group["members"]) for group in groups if group["name"] == name]


def network(api: Api, project_id: str) -> dict[str, Limit]:
    """Read Neutron's limits: ports, floating_ips, networks, subnets, routers, security_groups.

    What is used comes with them where Neutron has the extension quota_details, else it is counted.
    """
    try:
        answer = api.get("network", f"/quotas/{project_id}/details")["quota"]
    except CloudError as error:
        if error.status != 404:
            raise
        return _counted(api, project_id)
    return {
        ours: Limit(
            _limit(answer[name]["limit"]), int(answer[name]["used"]) + int(answer[name].get("reserved", 0))
        )
        for ours, (name, _) in _NETWORK.items()
        if name in answer
    }


def _counted(api: Api, project_id: str) -> dict[str, Limit]:
    answer = api.get("network", f"/quotas/{project_id}")["quota"]
    found = {}
    for ours, (name, path) in _NETWORK.items():
        if name in answer:
            used = len(api.listed("network", path, fields="id", project_id=project_id))
            found[ours] = Limit(_limit(answer[name]), used)
    return found


def _limit(answer: Any) -> int | None:
    """-1 means unlimited."""
    return None if int(answer) < 0 else int(answer)
