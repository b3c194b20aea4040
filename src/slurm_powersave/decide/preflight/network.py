"""The network, and whether the fixed addresses of the cluster file are free in it. Pure."""

from collections.abc import Callable, Mapping
from ipaddress import IPv4Address, IPv4Network

from slurm_powersave.decide.preflight.findings import Ask, Finding, Found, error, nearest, warning
from slurm_powersave.model.cloud_facts import SubnetFacts
from slurm_powersave.model.hostlist import fold

_CIDR = "10.0.0.0/16"
"""Of the base module, where the cluster file says nothing."""
_SHOWN = 4
Pools = tuple[tuple[str, str], ...]


def findings(ask: Ask) -> Found:
    """Look at the existing network that the cluster file names, or at the one that is to be made."""
    if ask.facts.networks is None or ask.facts.subnets is None:
        return
    if ask.home and not ask.settings.get("ssh_from"):
        yield warning(
            f"{ask.key}.settings.ssh_from",
            "not given: SSH to the cluster is let in from its own network only",
            "The address that this host has there, like [192.0.2.7/32], unless it is in that network itself.",
        )
    if ask.settings.get("network_id"):
        yield from _existing(ask)
    elif ask.home:
        yield from _own(ask)


def _existing(ask: Ask) -> Found:
    wanted, key = str(ask.settings["network_id"]), f"{ask.key}.settings"
    network = next((one for one in ask.facts.networks or () if one.id == wanted), None)
    if network is None:
        known = [one.id for one in ask.facts.networks or ()]
        yield error(f"{key}.network_id", f"there is no network {wanted}", nearest(wanted, known))
        return
    if not network.port_security:
        yield error(
            f"{key}.network_id",
            f"{network.name or network.id} has no port security: security groups can't be set there, "
            "so every server would be refused",
            f"openstack network set --enable-port-security {network.id}, or another network.",
        )
    subnet = next((s for s in ask.facts.subnets or () if s.id == str(ask.settings.get("subnet_id"))), None)
    if subnet is None or subnet.network_id != network.id:
        known = [one.id for one in ask.facts.subnets or () if one.network_id == network.id]
        yield error(
            f"{key}.subnet_id",
            f"{ask.settings.get('subnet_id')} is no subnet of {network.name or network.id}",
            nearest(str(ask.settings.get("subnet_id")), known),
        )
        return
    if ":" in subnet.cidr:
        yield error(
            f"{key}.subnet_id", f"{subnet.cidr} is an IPv6 subnet", "Nodes have fixed IPv4 addresses."
        )
        return
    yield from _addresses(ask, subnet, f"the subnet {subnet.name or subnet.id}", warning)


def _own(ask: Ask) -> Found:
    external = str(ask.settings.get("external_network") or "")
    outside = {one.name: one for one in ask.facts.networks or () if one.external}
    outside |= {one.id: one for one in outside.values()}
    if external and external not in outside:
        yield error(
            f"{ask.key}.settings.external_network",
            f"there is no external network {external}",
            nearest(external, outside),
        )
    elif not external:
        yield warning(
            f"{ask.key}.settings.external_network",
            "not given: the cluster's network gets no router, its nodes reach nothing outside",
            nearest("", outside),
        )
    made = [one for one in ask.facts.networks or () if one.name == ask.ours]
    if [one for one in made if ask.is_ours(one.tags)] and not ask.here.deployed:
        yield warning(
            f"{ask.key}: network {ask.ours}",
            "left from an earlier deploy; deploy names it, asks, and removes it first",
            f"Or by hand: openstack network delete {made[0].id}",
        )
    network = IPv4Network(str(ask.settings.get("cidr") or _CIDR), strict=False)
    held = next((s for s in ask.facts.subnets or () if s.name == ask.ours and ask.is_ours(s.tags)), None)
    in_use = held.in_use if held and ask.here.deployed else ()
    # As terraform_ohpc/base makes it: what the cloud gives out by itself comes from the last quarter.
    pool = (str(network[network.num_addresses * 3 // 4]), str(network[-2]))
    subnet = SubnetFacts("", ask.ours, "", str(network), (pool,), str(network[1]), in_use)
    yield from _addresses(ask, subnet, f"the cluster's network {network}", error)


def _addresses(
    ask: Ask, subnet: SubnetFacts, words: str, in_pool: Callable[[str, str, str], Finding]
) -> Found:
    network = IPv4Network(subnet.cidr, strict=False)
    uses = {use.address: use for use in subnet.in_use}
    for part in ask.parts:
        key = f"{part.key}.{'addresses' if part.pool else 'address'}"
        yield from _of_part(key, part.addresses, subnet, network, words)
        inside = {name: one for name, one in part.addresses.items() if _given_out(one, subnet.pools)}
        if inside:
            yield in_pool(
                key,
                f"{_listed(inside)} is in an allocation pool of {words}: the cloud may give it away",
                f"Addresses outside of {', '.join('-'.join(pool) for pool in subnet.pools)}.",
            )
        for name, address in part.addresses.items():
            use = uses.get(address)
            if use and not ask.is_ours(use.tags):
                yield error(key, f"{address} ({name}) is in use by {use.by}", "An address that nobody has.")


def _of_part(
    key: str,
    addresses: Mapping[str, str],
    subnet: SubnetFacts,
    network: IPv4Network,
    words: str,
) -> Found:
    outside = {name: one for name, one in addresses.items() if IPv4Address(one) not in network}
    if outside:
        yield error(key, f"{_listed(outside)} is not in {words} ({network})", "Addresses of that network.")
    ends = {str(network.network_address), str(network.broadcast_address), subnet.gateway}
    for name, address in addresses.items():
        if address in ends:
            what = "the gateway" if address == subnet.gateway else "no host's address"
            yield error(key, f"{address} ({name}) is {what} of {words}", "An address that nobody has.")


def _given_out(address: str, pools: Pools) -> bool:
    number = IPv4Address(address)
    return any(IPv4Address(low) <= number <= IPv4Address(high) for low, high in pools)


def _listed(addresses: Mapping[str, str]) -> str:
    """Say some addresses and whose they are."""
    names = list(addresses)
    shown = ", ".join(addresses[name] for name in names[:_SHOWN])
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{shown}{more} ({fold(names)})"
