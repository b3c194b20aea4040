"""Whether the project's quota has room for the cluster, counting what is in use. Pure."""

from collections import Counter

from slurm_powersave.decide.node import quota
from slurm_powersave.decide.preflight.findings import Ask, Found, error, warning

_WORDS = {"ram": "MiB of RAM", "floating_ips": "floating IPs"}
_BASE = ("networks", "subnets", "routers", "security_groups")
"""Of each the base module makes one, in a network of our own."""


def findings(ask: Ask) -> Found:
    """Compare what is left with the largest size (a warning), and with what is always up (an error)."""
    flavors = ask.facts.flavors
    if flavors is None or ask.facts.servers is None:
        return  # what our own servers use is not known
    most: Counter[str] = Counter()
    least: Counter[str] = Counter()
    for part in ask.parts:
        if chosen := ask.choice(part).flavors:
            for name, count in quota.need(chosen[0]).items():
                most[name] += count * len(part.addresses)
                least[name] += count * part.always
    yield from _server_group(ask)
    ours = _ours(ask)
    if ask.home and not ask.here.deployed:
        own = not ask.settings.get("network_id")
        once = dict.fromkeys(_BASE if own else ("security_groups",), 1)
        once["floating_ips"] = int(bool(ask.settings.get("floating_ip")))
        most.update(once)
        least.update(once)
    for name, wanted in most.items():
        limit = ask.facts.limits.get(name)
        if limit is None or limit.limit is None or wanted <= 0:
            continue
        others = max(limit.used - ours[name], 0)
        left = limit.limit - others
        if wanted <= left:
            continue
        kind, size, number = warning, "the largest size", wanted
        if least[name] > left:
            kind, size, number = error, "what is always up", least[name]
        yield kind(
            f"{ask.key}: quota",
            f"{size} needs {number} {_WORDS.get(name, name.replace('_', ' '))}, "
            f"{max(left, 0)} of {limit.limit} are left beside what others use ({others})",
            "Ask for a larger quota, or for fewer nodes; a node without room is refused with the reason.",
        )


def _server_group(ask: Ask) -> Found:
    """All nodes go into one group, and a group has a quota of its own: 10 members by default."""
    limit = ask.facts.limits.get("server_group_members")
    if not ask.settings.get("server_group") or not ask.home or limit is None or limit.limit is None:
        return
    pools = [part for part in ask.parts if part.pool]
    most, least = sum(len(part.addresses) for part in pools), sum(part.always for part in pools)
    if most > limit.limit:
        kind, size, number = (
            (error, "what is always up", least)
            if least > limit.limit
            else (warning, "the largest size", most)
        )
        yield kind(
            f"{ask.key}.settings.server_group",
            f"{size} has {number} nodes in one server group, and a group may have {limit.limit} members",
            f"Ask for a quota of {most} server group members, or leave server_group out; more are refused.",
        )


def _ours(ask: Ask) -> Counter[str]:
    """What our servers use already."""
    used: Counter[str] = Counter()
    for server in ask.facts.servers or ():
        flavor = (ask.facts.flavors or {}).get(server.flavor)
        if flavor and ask.is_ours(server.tags):
            used.update(quota.need(flavor))
    return used
