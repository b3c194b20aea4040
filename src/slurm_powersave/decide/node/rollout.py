"""Which nodes of a pool are reimaged next. Pure.

At most so many nodes of a pool (max_unavailable) are out of service at a time. Whatever reboots
a node counts, whoever asked. Idle nodes come before those with jobs, which Slurm drains first.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from slurm_powersave.decide.node.admin_state import state_by_admin
from slurm_powersave.model.modes import Mode
from slurm_powersave.model.nodes import Operation, SlurmNode

SHARE = 10
"""Percent of a pool's nodes at a time, if nothing else is said."""


class Standing(StrEnum):
    """How a node stands to the reimage of what is outdated."""

    CURRENT = "current"
    """Its server has the pool's image."""
    OFF = "off"
    """Powered down: the next resume takes the image."""
    IDLE = "idle"
    BUSY = "busy"
    """Slurm drains it and waits for its jobs."""
    UNDER_WAY = "under way"
    """Something reboots it."""
    CHANGING = "changing"
    """It is coming up, or something else is done to it: it is looked at again later."""
    SKIPPED = "skipped"
    """Not to be touched."""


@dataclass(frozen=True)
class Member:
    """A node of a pool."""

    node: str
    pool: str
    standing: Standing
    why: str = ""
    """Why it is skipped."""


def unavailable_limit(size: int, max_unavailable: int | None = None) -> int:
    """Return how many nodes of a pool of that size may be out of service at a time."""
    return max_unavailable or max(size * SHARE // 100, 1)


def standing(
    outdated: bool,
    node: SlurmNode | None,
    operations: Sequence[Operation],
    *,
    asked: bool,
    unreadable: bool = False,
) -> tuple[Standing, str]:
    """Say how a node stands, and why if it is skipped.

    Args:
        outdated: whether it has a server whose image is not the pool's.
        node: what Slurm shows; None if it does not know the node.
        operations: the node's without an outcome.
        asked: whether a reboot request for it waits for the engine.
        unreadable: whether what Slurm says of it can't be read; `node` is None then.
    """
    reboots = node is not None and node.has("REBOOT_REQUESTED", "REBOOT_ISSUED")
    if asked or reboots or any(op.mode is Mode.REBOOT for op in operations):
        return Standing.UNDER_WAY, ""
    if operations:
        return Standing.CHANGING, ""
    if node is None:
        why = "what Slurm says of it can't be read" if unreadable else "not in Slurm"
        return (Standing.SKIPPED, why) if outdated else (Standing.CURRENT, "")
    if node.going_down:
        return Standing.OFF, ""
    if not outdated:
        return Standing.CURRENT, ""
    if node.powering_up:
        return Standing.CHANGING, ""
    if why := _untouchable(node):
        return Standing.SKIPPED, why
    return (Standing.BUSY if node.in_use else Standing.IDLE), ""


def _untouchable(node: SlurmNode) -> str:
    if admin_state := state_by_admin(node):
        by = f" by {node.reason_by}" if node.reason_by else ""
        return f"{admin_state} was set{by}: {node.reason}"
    if node.has("RESERVED", "MAINTENANCE"):
        return "reserved"
    ill = [
        flag for flag in ("DOWN", "DRAIN", "FAIL", "NOT_RESPONDING", "UNKNOWN", "FUTURE") if node.has(flag)
    ]
    return f"{'+'.join(ill)}{': ' * bool(node.reason)}{node.reason}" if ill else ""


def choose(
    members: Sequence[Member], unavailable_limits: Mapping[str, int], already: Collection[str] = ()
) -> tuple[Member, ...]:
    """Return the nodes that are to be asked for now.

    Args:
        members: all nodes of the pools, in order.
        windows: pool -> how many of its nodes may be out of service at a time.
        already: nodes that were asked for once; they are not asked for again.
    """
    room = Counter(dict(unavailable_limits))
    room.subtract(one.pool for one in members if one.standing is Standing.UNDER_WAY)
    chosen: list[Member] = []
    for wanted in (Standing.IDLE, Standing.BUSY):
        for one in members:
            if one.standing is wanted and one.node not in already and room[one.pool] > 0:
                room[one.pool] -= 1
                chosen.append(one)
    return tuple(chosen)
