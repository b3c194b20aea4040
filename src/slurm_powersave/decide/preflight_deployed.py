"""Whether what a deployed cluster rests on is there, and is seen by this credential. Pure.

Terraform looks at none of it when it makes a node: the cloud refuses each new server then.
"""

from slurm_powersave.decide.findings import Ask, Found, error, warning
from slurm_powersave.model.hostlist import fold

_REFUSED = "every new server is refused"
_ELSEWHERE = "Use the credential and project that the cluster was deployed with; if it was deleted:"


def findings(ask: Ask) -> Found:
    """Look for key pair, network, subnet, security groups and server group, then for the nodes' flavors."""
    if ask.home and ask.here.deployed:
        yield from _key_pair(ask)
        yield from _network(ask)
    yield from _flavors(ask)


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
    """Terraform's provider reads a flavor that is gone as a change, and replaces the server for it."""
    flavors = ask.facts.flavors
    if not flavors or not all(one.id for one in flavors.values()):
        return
    ids = {one.id for one in flavors.values()}
    gone: dict[str, list[str]] = {}
    for name, node in ask.here.servers.items():
        if node.cloud == ask.name and node.flavor_id and node.flavor_id not in ids:
            gone.setdefault(node.flavor, []).append(name)
    for flavor, nodes in gone.items():
        yield warning(
            f"{ask.key}: flavor {flavor}",
            f"{lost_flavor(flavor, anew=flavor in flavors)}: {fold(nodes)} can't be reimaged or resized "
            "in place",
            f"slurm-powersave reimage {fold(nodes)} --replace: each gets a new server, after its job.",
        )


def lost_flavor(flavor: str, *, anew: bool) -> str:
    """Say what has become of a server's flavor in the cloud."""
    return f"the flavor {flavor} was {'made anew under another id' if anew else 'deleted in the cloud'}"
