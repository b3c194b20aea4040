"""Which address each node has: what was once given to a name stays; only new names get one by place."""

from collections.abc import Mapping

from slurm_powersave.config.cluster import Cluster
from slurm_powersave.model.errors import ConfigError
from slurm_powersave.model.outside_text import address as is_address


def kept(cluster: Cluster, recorded: Mapping[str, str]) -> list[str]:
    """Name the nodes whose address is not the one at their place in the pool's range: it was given before."""
    return [
        name
        for name in cluster.nodes()
        if name in recorded and recorded[name] != cluster.address_by_position(name)
    ]


def assign(cluster: Cluster, recorded: Mapping[str, str]) -> dict[str, str]:
    """Give every configured node its address.

    Args:
        cluster: the cluster file; a node's place in its pool's expression gives it the address at
            the same place of the pool's range.
        recorded: addresses given before, by node name. Names that are configured no more count as
            well: pass them as long as they have a server, and leave them out after that.

    Raises:
        ConfigError: an address that a new node would get is the login node's or was given to another
            name. Lists all of them. Or what was recorded is none: a journal may come from a backup.
    """
    strange = [f"{name} has {given!r}" for name, given in recorded.items() if not is_address(given)]
    if strange:
        raise ConfigError(
            "the journal holds invalid addresses",
            why=", ".join(strange[:5]),
            todo="Restore it from a backup that you trust.",
        )
    holders = {address: name for name, address in recorded.items()}
    holders[cluster.login.address] = cluster.login.name
    given: dict[str, str] = {}
    clashes: list[str] = []
    for name in cluster.nodes():
        address = recorded.get(name) or cluster.address_by_position(name)
        holder = holders.setdefault(address, name)
        if holder != name:
            clashes.append(f"{address} of {name} was given to {holder}")
        given[name] = address
    if clashes:
        more = f" and {len(clashes) - 5} more" if len(clashes) > 5 else ""
        raise ConfigError(
            "addresses clash with those that were given before",
            where=str(cluster.file),
            why=", ".join(clashes[:5]) + more,
            todo="Put new nodes at the end of the pool's `nodes`, their addresses at the end of its range, "
            "or give the pool a range of its own.",
        )
    return given
