"""What of ours there is in an OpenStack project, of whatever kind."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from slurm_powersave.adapters.openstack.api import Api
from slurm_powersave.model.images import CLUSTER
from slurm_powersave.model.leftovers import IMAGE, INTERFACE, KEPT, RULE, Leftover

_TAGGED = {
    "router": "/routers",
    "floating IP": "/floatingips",
    "port": "/ports",
    "subnet": "/subnets",
    "network": "/networks",
    "security group": "/security-groups",
}
"""Neutron's kinds that have tags, in the order in which they can be deleted."""


def beside_servers(api: Api, cluster: str, images: Iterable[Mapping[str, Any]]) -> list[Leftover]:
    """List what carries our cluster's tag or its name, and what is tied to that.

    Terraform sets tags with a second call: what was made when it was killed in between has a name only, and a
    floating IP not even that.

    Raises:
        CloudError: a part of it can't be read; half a list proves nothing.
    """
    found: dict[str, Leftover] = {}
    name = f"slurm-powersave-{cluster}"
    for kind, path in _TAGGED.items():
        for one in _ours(api, cluster, kind, path):
            found[one["id"]] = _leftover(kind, one)
    for network in [one.id for one in found.values() if one.kind == "network"]:
        # Nova makes a server's port without a tag, and may leave it.
        for port in api.listed("network", "/ports", network_id=network):
            if not str(port.get("device_owner") or "").startswith("network:"):
                found.setdefault(port["id"], _leftover("port", port))
                found |= _kept(api, cluster, port)
    if ports := {one.id for one in found.values() if one.kind == "port"}:
        tied = [one for one in api.listed("network", "/floatingips") if one.get("port_id") in ports]
        found = {str(one["id"]): _leftover("floating IP", one) for one in tied} | found
    return [*found.values(), *_named(api, name), *_images(images, cluster)]


def parts(api: Api, cluster: str) -> list[Leftover]:
    """List the parts of our routers and security groups that have neither tag nor name: interfaces and rules.

    Rules for what goes out are Neutron's own: each new group has them.
    """
    found = []
    for router in _ours(api, cluster, "router", "/routers"):
        for port in api.listed("network", "/ports", device_id=router["id"]):
            if str(port.get("device_owner") or "").startswith("network:router_interface"):
                found.append(Leftover(INTERFACE, str(port["id"]), f"of {router['name']}", str(router["id"])))
    for group in _ours(api, cluster, "security group", "/security-groups"):
        for rule in api.listed("network", "/security-group-rules", security_group_id=group["id"]):
            if rule.get("direction") == "ingress":
                found.append(Leftover(RULE, str(rule["id"]), f"of {group['name']}", str(group["id"])))
    return found


def _ours(api: Api, cluster: str, kind: str, path: str) -> list[Mapping[str, Any]]:
    name = f"slurm-powersave-{cluster}"
    found: list[Mapping[str, Any]] = list(
        api.listed("network", path, tags=f"slurm-powersave,cluster={cluster}")
    )
    if kind != "floating IP":
        found += [one for one in api.listed("network", path, name=name) if _is_untagged(one, name)]
    return found


def volumes(api: Api, cluster: str) -> list[Leftover]:
    """List the volume of the server for shared storage: Cinder has no tags."""
    name = f"slurm-powersave-{cluster}-storage"
    listed = api.listed("block_storage", "/volumes/detail", name=name)
    return [Leftover("volume", str(one["id"]), name) for one in listed if one.get("name") == name]


def _is_untagged(one: Mapping[str, Any], name: str) -> bool:
    """Other tags say that it is somebody else's, such as the control host's of terraform_ctl."""
    return one.get("name") == name and not one.get("tags")


def _leftover(kind: str, one: Mapping[str, Any]) -> Leftover:
    return Leftover(kind, str(one["id"]), str(one.get("floating_ip_address") or one.get("name") or ""))


def _kept(api: Api, cluster: str, port: Mapping[str, Any]) -> dict[str, Leftover]:
    """Find the deleted server that a port belongs to, where the cloud keeps it for a while."""
    device = str(port.get("device_id") or "")
    if not device or not str(port.get("device_owner") or "").startswith("compute:"):
        return {}
    server = (api.find("compute", f"/servers/{quote(device, safe='')}") or {}).get("server") or {}
    if server.get("status") != "SOFT_DELETED" or f"cluster={cluster}" not in (server.get("tags") or ()):
        return {}
    return {device: Leftover(KEPT, device, str(server.get("name") or ""))}


def _named(api: Api, name: str) -> Iterable[Leftover]:
    if api.find("compute", f"/os-keypairs/{name}"):
        yield Leftover("key pair", name, name)
    for group in api.get("compute", "/os-server-groups")["server_groups"]:
        if group["name"] == name:
            yield Leftover("server group", str(group["id"]), name)


def _images(images: Iterable[Mapping[str, Any]], cluster: str) -> Sequence[Leftover]:
    return [
        Leftover(IMAGE, str(image["id"]), str(image.get("name") or image["id"]))
        for image in images
        if image.get(CLUSTER) == cluster
    ]
