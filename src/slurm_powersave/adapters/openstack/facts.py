"""What the pre-flight wants to know of an OpenStack cloud: each service as far as it answers."""

from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from slurm_powersave.adapters.openstack import errors, limits, server_json
from slurm_powersave.adapters.openstack.api import Account, Api
from slurm_powersave.adapters.openstack.names import Names, shown
from slurm_powersave.model.cloud_facts import (
    AddressUse,
    Asked,
    CloudFacts,
    GroupFacts,
    ImageFacts,
    NetworkFacts,
    ServerGroupFacts,
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
                asked = errors.asked(error)
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
    return Trouble(errors.asked(error), f"{call}: {text}" if call else text, where)


def read(api: Api, cluster: str, wanted: Collection[str] = ()) -> CloudFacts:
    """Ask for all of it: the services at the same time, since each may let us wait until its time limit.

    Args:
        api: the cloud.
        cluster: its name.
        wanted: names or ids of images that the cluster file names; an id need not be in the cloud's list.
    """
    try:
        account = api.account()
    except CloudError as error:
        return CloudFacts(troubles=(trouble(error, "identity"),), clock_skew=api.clock_skew)
    key_pair = f"slurm-powersave-{cluster}"
    names = Names(api)
    parts: Mapping[str, Sequence[Part]] = {
        "compute": (
            ("servers", lambda: _servers(api)),
            ("flavors", names.flavors),
            ("limits", lambda: limits.compute(api)),
            ("zones", lambda: _zones(api)),
            ("key_pair", lambda: _key_pair(api, key_pair)),
            ("server_groups", lambda: _server_groups(api)),
        ),
        "image": (("images", lambda: _images(names, wanted)),),
        "network": (
            ("networks", lambda: tuple(map(_network, api.listed("network", "/networks")))),
            ("subnets", lambda: tuple(map(_subnet, api.listed("network", "/subnets")))),
            ("ports", lambda: _addresses(api.listed("network", "/ports"))),
            ("security_groups", lambda: tuple(map(_group, api.listed("network", "/security-groups")))),
            ("limits", lambda: limits.network(api, account.project_id)),
        ),
    }
    with ThreadPoolExecutor(max_workers=len(parts)) as pool:
        running = {service: pool.submit(_Reading(api, service).read, its) for service, its in parts.items()}
        readings = {service: one.result() for service, one in running.items()}
    return _facts(account, readings, api.clock_skew)


def _facts(account: Account, readings: Mapping[str, _Reading], skew: float | None) -> CloudFacts:
    compute, image, network = (readings[name].found for name in ("compute", "image", "network"))
    images, names = image.get("images", (None, {}))
    servers = compute.get("servers")
    if servers is not None:
        servers = tuple(replace(one, image=names.get(one.image, one.image)) for one in servers)
    asked = [f"identity {account.auth_url} as {account.user} in project {account.project}"]
    asked += [f"{service} {one.address}".strip() for service, one in readings.items()]
    return CloudFacts(
        asked=tuple(asked),
        troubles=tuple(trouble for one in readings.values() for trouble in one.troubles),
        roles=account.roles,
        images=images,
        flavors=compute.get("flavors"),
        zones=compute.get("zones"),
        networks=network.get("networks"),
        subnets=_in_use(network.get("subnets"), network.get("ports", ()), servers),
        limits={**compute.get("limits", {}), **network.get("limits", {})},
        key_pair=compute.get("key_pair"),
        security_groups=network.get("security_groups"),
        server_groups=compute.get("server_groups"),
        servers=servers,
        clock_skew=skew,
    )


def _servers(api: Api) -> tuple[Server, ...]:
    """Read all servers of the project; their images are ids still."""
    listed = api.listed("compute", "/servers/detail")
    try:
        return tuple(server_json.to_server(one, {}) for one in listed)
    except CloudError as error:
        # It answers: what else it is asked for may be right.
        raise ValueError(f"{error.what}: {error.why}") from error


def _images(names: Names, wanted: Collection[str]) -> tuple[tuple[ImageFacts, ...], Mapping[str, str]]:
    """Read all images, and what they are called by id."""
    found = names.images()
    found += names.unlisted(wanted, found)
    return tuple(map(_image, found)), shown(found)


def _zones(api: Api) -> frozenset[str]:
    answer = api.get("compute", "/os-availability-zone")["availabilityZoneInfo"]
    return frozenset(str(zone["zoneName"]) for zone in answer if zone["zoneState"]["available"])


def _key_pair(api: Api, name: str) -> str:
    found = api.find("compute", f"/os-keypairs/{name}")
    return str(found["keypair"]["public_key"]).strip() if found else ""


def _server_groups(api: Api) -> tuple[ServerGroupFacts, ...]:
    answer = api.get("compute", "/os-server-groups")["server_groups"]
    return tuple(ServerGroupFacts(str(one["id"]), str(one.get("name") or "")) for one in answer)


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
    return NetworkFacts(
        str(found["id"]),
        str(found.get("name") or ""),
        bool(found.get("router:external")),
        _tags(found),
        port_security=found.get("port_security_enabled") is not False,
    )


def _group(found: Mapping[str, Any]) -> GroupFacts:
    return GroupFacts(str(found["id"]), str(found.get("name") or ""), _tags(found))


def _subnet(found: Mapping[str, Any]) -> SubnetFacts:
    pools = found.get("allocation_pools") or ()
    return SubnetFacts(
        id=str(found["id"]),
        name=str(found.get("name") or ""),
        network_id=str(found["network_id"]),
        cidr=str(found["cidr"]),
        pools=tuple((str(pool["start"]), str(pool["end"])) for pool in pools),
        gateway=str(found.get("gateway_ip") or ""),
        tags=_tags(found),
    )


def _addresses(ports: Sequence[Mapping[str, Any]]) -> tuple[tuple[str, str, bool, AddressUse], ...]:
    """List what has an address: (subnet, the port's device, whether that is a server, use)."""
    return tuple(
        (
            str(fixed["subnet_id"]),
            str(port.get("device_id") or ""),
            str(port.get("device_owner") or "").startswith("compute:"),
            AddressUse(
                str(fixed["ip_address"]),
                f"port {port['id']} ({port.get('device_owner') or 'no device'})",
                _tags(port),
            ),
        )
        for port in ports
        for fixed in port.get("fixed_ips") or ()
    )


def _in_use(
    subnets: tuple[SubnetFacts, ...] | None,
    ports: Sequence[tuple[str, str, bool, AddressUse]],
    servers: Sequence[Server] | None,
) -> tuple[SubnetFacts, ...] | None:
    """Put the addresses into their subnets; a port of a server is that server's.

    Where the servers could not be read nobody knows whose it is: it may be our own node's.
    """
    if subnets is None:
        return None
    by_id = {server.id: server for server in servers or ()}
    uses: dict[str, list[AddressUse]] = {}
    for subnet, device, of_server, use in ports:
        if of_server and servers is None:
            continue
        if server := by_id.get(device):
            use = replace(use, by=f"server {server.name}", tags=use.tags | server.tags)
        uses.setdefault(subnet, []).append(use)
    return tuple(replace(one, in_use=tuple(uses.get(one.id, ()))) for one in subnets)
