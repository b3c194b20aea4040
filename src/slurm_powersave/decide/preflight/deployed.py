"""Whether what a deployed cluster rests on is there, and is seen by this credential. Pure.

Terraform looks at none of it when it makes a node: the cloud refuses each new server then.
"""

from slurm_powersave.decide.flavor.lost_flavor import advice, lost
from slurm_powersave.decide.preflight.findings import Ask, Found, error, warning
from slurm_powersave.model.hostlist import fold

_REFUSED = "every new server is refused"
_ELSEWHERE = "Use the credential and project that the cluster was deployed with; if it was deleted:"


def findings(ask: Ask) -> Found:
    """Look for key pair, network, subnet, security groups and server group, then at the nodes' servers."""
    if ask.home and ask.here.deployed:
        yield from _key_pair(ask)
        yield from _network(ask)
    yield from _flavors(ask)
    yield from _waiting(ask)


def _key_pair(ask: Ask) -> Found:
    name = str(ask.here.shared.get("key_pair") or "")
    if name and ask.facts.key_pair == "":
        yield error(
            f"{ask.key}: key pair {name}",
            f"this credential does not see it: {_REFUSED}",
            "A key pair belongs to a user, not to the project: use the credential that the cluster was "
            "deployed with, or run deploy, which makes the key pair for this one.",
        )


def _network(ask: Ask) -> Found:
    shared, facts = ask.here.shared, ask.facts
    networks = None if facts.networks is None else {one.id for one in facts.networks}
    subnets = None if facts.subnets is None else {one.id for one in facts.subnets}
    groups = None if facts.security_groups is None else {one.name for one in facts.security_groups}
    server_groups = None if facts.server_groups is None else {one.id for one in facts.server_groups}
    wanted = [
        ("network", [shared.get("network_id")], networks),
        ("subnet", [shared.get("subnet_id")], subnets),
        ("security group", shared.get("security_groups") or (), groups),
        ("server group", [shared.get("server_group_id")], server_groups),
    ]
    own = not ask.settings.get("network_id")
    for kind, names, known in wanted:
        for name in names:
            if not name or known is None or name in known or (kind in ("network", "subnet") and not own):
                continue  # preflight_network looks at an existing one
            yield error(
                f"{ask.key}: {kind} {name}",
                f"the cluster's {kind} is not there, or not for this credential: {_REFUSED}",
                f"{_ELSEWHERE} deploy makes another one.",
            )


def _flavors(ask: Ask) -> Found:
    gone: dict[str, list[str]] = {}
    for name, node in ask.here.servers.items():
        if node.cloud == ask.name and (why := lost(node, ask.facts.flavors)):
            gone.setdefault(why, []).append(name)
    for why, nodes in gone.items():
        names = fold(nodes)
        yield warning(
            f"{ask.key}: servers",
            f"{why}: {names} can't be reimaged or resized in place",
            f"{advice(names)}.",
        )


def _waiting(ask: Ask) -> Found:
    """Nova keeps the old disk of a resize or migration until somebody confirms it."""
    ours = [one for one in ask.facts.servers or () if ask.is_ours(one.tags)]
    if waiting := [one for one in ours if one.status == "RESIZE" and "VERIFY_RESIZE" in one.fault]:
        yield warning(
            f"{ask.key}: servers",
            f"a resize or a migration of {fold([one.name for one in waiting])} waits to be confirmed "
            "(VERIFY_RESIZE); until then Terraform can't plan there",
            "The engine confirms it within two minutes; by hand: openstack server migration confirm "
            f"{waiting[0].id}",
        )
