"""What the pre-flight wants to know of an OpenStack cloud: each service as far as it answers."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from slurm_powersave.adapters import openstack_errors, openstack_limits, openstack_servers
from slurm_powersave.adapters.openstack_api import Account, Api
from slurm_powersave.adapters.openstack_names import Names, shown
from slurm_powersave.model.cloud_facts import (
    AddressUse,
    Asked,
    CloudFacts,
    GroupFacts,
    ImageFacts,
    NetworkFacts,
    SubnetFacts,
    Trouble,
)
from slurm_powersave.model.errors import CloudError
from slurm_powersave.model.nodes import Server

Part = tuple[str, Callable[[], Any]]


class _Reading:
    """One service's parts, one after the other; after one without an answer no more are asked."""

    def __init__(self, api: Api, service: str) -> None:
        self._service = service
        self.found: dict[str, Any] = {}
        self.troubles: list[Trouble] = []
        self.address = api.endpoint(service)

    def read(self, parts: Sequence[Part]) -> "_Reading":
        for name, part in parts:
            try:
                self.found[name] = part()
            except CloudError as error:
                asked = openstack_errors.asked(error)
                self.troubles.append(trouble(error, f"{self._service} {self.address}".strip()))
                if asked in (Asked.REACH, Asked.CREDENTIALS):
                    break
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                text = f"{name}: an answer that we do not understand ({type(error).__name__}: {error})"
                self.troubles.append(Trouble(Asked.SERVICE, text, f"{self._service} {self.address}".strip()))
        return self


def trouble(error: CloudError, where: str) -> Trouble:
    """Word an error for the report."""
    text = f"{error.what}: {error.why}" if error.why else error.what
    call = error.where.partition(", ")[2]
    return Trouble(openstack_errors.asked(error), f"{call}: {text}" if call else text, where)


def read(api: Api, cluster: str) -> CloudFacts:
    """Ask for all of it: the services at the same time, since each may let us wait until its time limit."""
    try:
        account = api.account()
    except CloudError as error:
        return CloudFacts(troubles=(trouble(error, "identity"),), clock_skew=api.clock_skew)
    key_pair = f"slurm-powersave-{cluster}"
    names = Names(api)
    parts: Mapping[str, Sequence[Part]] = {
        "compute": (
            ("servers", lambda: api.listed("compute", "/servers/detail")),
            ("flavors", names.flavors),
            ("limits", lambda: openstack_limits.compute(api)),
            ("zones", lambda: _zones(api)),
            ("key_pair", lambda: _key_pair(api, key_pair)),
        ),
        "image": (("images", names.images),),
        "network": (
            ("networks", lambda: api.listed("network", "/networks")),
            ("subnets", lambda: api.listed("network", "/subnets")),
            ("ports", lambda: api.listed("network", "/ports")),
            ("security_groups", lambda: api.listed("network", "/security-groups")),
            ("limits", lambda: openstack_limits.network(api, account.project_id)),
        ),
    }
    with ThreadPoolExecutor(max_workers=len(parts)) as pool:
        running = {service: pool.submit(_Reading(api, service).read, its) for service, its in parts.items()}
        readings = {service: one.result() for service, one in running.items()}
    return _facts(account, readings, api.clock_skew)


def _facts(account: Account, readings: Mapping[str, _Reading], skew: float | None) -> CloudFacts:
    compute, image, network = (readings[name].found for name in ("compute", "image", "network"))
    servers = _servers(compute, image)
    asked = [f"identity {account.auth_url} as {account.user} in project {account.project}"]
    asked += [f"{service} {one.address}".strip() for service, one in readings.items()]
    return CloudFacts(
        asked=tuple(asked),
        troubles=tuple(trouble for one in readings.values() for trouble in one.troubles),
        roles=account.roles,
        images=_some(_image, image.get("images")),
        flavors=compute.get("flavors"),
        zones=compute.get("zones"),
        networks=_some(_network, network.get("networks")),
        subnets=_subnets(network, servers),
        limits={**compute.get("limits", {}), **network.get("limits", {})},
        key_pair=compute.get("key_pair"),
        security_groups=_some(_group, network.get("security_groups")),
        servers=servers,
        clock_skew=skew,
    )


def _some(make: Callable[[Mapping[str, Any]], Any], found: Sequence[Mapping[str, Any]] | None) -> Any:
    return None if found is None else tuple(make(one) for one in found)


def _zones(api: Api) -> frozenset[str]:
    told = api.get("compute", "/os-availability-zone")["availabilityZoneInfo"]
    return frozenset(str(zone["zoneName"]) for zone in told if zone["zoneState"]["available"])


def _key_pair(api: Api, name: str) -> str:
    found = api.find("compute", f"/os-keypairs/{name}")
    return str(found["keypair"]["public_key"]).strip() if found else ""


def _servers(compute: Mapping[str, Any], image: Mapping[str, Any]) -> tuple[Server, ...] | None:
    if "servers" not in compute:
        return None
    names = shown(image.get("images", ()))
    return tuple(openstack_servers.told(one, names) for one in compute["servers"])


def _image(found: Mapping[str, Any]) -> ImageFacts:
    return ImageFacts(
        id=str(found["id"]),
        name=str(found.get("name") or ""),
        status=str(found.get("status") or ""),
        min_disk=int(found.get("min_disk") or 0),
        min_ram=int(found.get("min_ram") or 0),
        size=found.get("virtual_size") or found.get("size"),
    )


def _tags(found: Mapping[str, Any]) -> frozenset[str]:
    return frozenset(found.get("tags") or ())


def _network(found: Mapping[str, Any]) -> NetworkFacts:
    external = bool(found.get("router:external"))
    return NetworkFacts(str(found["id"]), str(found.get("name") or ""), external, _tags(found))


def _group(found: Mapping[str, Any]) -> GroupFacts:
    return GroupFacts(str(found["id"]), str(found.get("name") or ""), _tags(found))


def _subnets(
    network: Mapping[str, Any], servers: tuple[Server, ...] | None
) -> tuple[SubnetFacts, ...] | None:
    if "subnets" not in network:
        return None
    by_id = {server.id: server for server in servers or ()}
    in_use: dict[str, list[AddressUse]] = {}
    for port in network.get("ports", ()):
        server = by_id.get(str(port.get("device_id")))
        owner = port.get("device_owner") or "no device"
        by = f"server {server.name}" if server else f"port {port['id']} ({owner})"
        tags = _tags(port) | (server.tags if server else frozenset())
        for fixed in port.get("fixed_ips") or ():
            use = AddressUse(str(fixed["ip_address"]), by, tags)
            in_use.setdefault(str(fixed["subnet_id"]), []).append(use)
    return tuple(
        SubnetFacts(
            id=str(one["id"]),
            name=str(one.get("name") or ""),
            network_id=str(one["network_id"]),
            cidr=str(one["cidr"]),
            pools=tuple((str(pool["start"]), str(pool["end"])) for pool in one.get("allocation_pools") or ()),
            gateway=str(one.get("gateway_ip") or ""),
            in_use=tuple(in_use.get(str(one["id"]), ())),
            tags=_tags(one),
        )
        for one in network["subnets"]
    )
