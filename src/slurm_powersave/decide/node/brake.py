"""The brake: how many servers the engine may destroy without a request of Slurm's or a person's. Pure."""

from collections.abc import Iterable, Mapping

from slurm_powersave.model.nodes import Server, SlurmNode

COUNTED_SECONDS = 600.0
"""Seconds over which the destroyed servers are counted."""
AGREED = 1800.0
"""Seconds for which Slurm and the clouds must agree until a new or restored journal is trusted."""
NEW = "the journal is new"
RESTORED = "the journal was restored from a backup"


def limit(servers: int) -> int:
    """Return how many servers may be destroyed within WINDOW, of so many that the cluster has."""
    return max(5, servers // 10)


def passed(done: int, servers: int) -> str:
    """Say why no more may be destroyed; empty if one more may be."""
    most = limit(servers)
    if done < most:
        return ""
    minutes = COUNTED_SECONDS / 60
    return f"{done} servers were destroyed on our own account in {minutes:.0f} minutes, {most} are the most"


def ends_by_itself(why: str) -> bool:
    """Tell whether the brake ends by itself after AGREED seconds; otherwise only a person releases it."""
    return why in (NEW, RESTORED)


def held(nodes: Mapping[str, SlurmNode], servers: Iterable[Server]) -> list[Server]:
    """Return the servers of nodes that Slurm shows POWERED_DOWN: what would go once the brake is released."""
    off = {name for name, node in nodes.items() if node.has("POWERED_DOWN")}
    return sorted((server for server in servers if server.name in off), key=lambda one: (one.name, one.id))
