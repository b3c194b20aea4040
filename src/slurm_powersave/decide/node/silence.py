"""What is the matter with a server whose node Slurm has set DOWN, and is it perhaps the network? Pure.

The looks are the engine's (engine/reconcile/silent_servers.py); what may be done is in guard_dead.py.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from slurm_powersave.decide.node.admin_state import Who, who
from slurm_powersave.model.nodes import SlurmNode
from slurm_powersave.model.server_status import GONE, OFF, PUT_AWAY, RESCUED, RUNNING

TOGETHER = 600.0
"""Seconds within which servers fall silent together."""
ONCE = 86400.0
"""Seconds in which a server is started again once."""


class Standing(StrEnum):
    """What one look has found."""

    UNKNOWN = "not looked at yet"
    ANSWERS = "answers SSH"
    SILENT = "does not answer SSH"
    OFF = "is off"
    PUT_AWAY = "was stopped by people of the cloud"
    RESCUED = "is in rescue mode"
    ERROR = "is in ERROR"
    GONE = "is gone"
    CHANGING = "is being changed"


DEAD = frozenset({Standing.SILENT, Standing.OFF, Standing.PUT_AWAY})
"""What is started again, and given up in the end. What is gone or in ERROR is given up at once."""


@dataclass(frozen=True)
class Silence:
    """What is known of a server from all looks."""

    standing: Standing = Standing.UNKNOWN
    """What the last look has found."""
    seconds: float = 0.0
    """For how long every look has found it dead."""
    network: bool = False
    """So many servers of its pool fell silent together that it is the network."""
    restarted: bool = False
    """We have started it again within ONCE."""
    given_up: bool = False
    """We have powered its node down because it was dead."""


def is_down(node: SlurmNode) -> bool:
    """Tell whether Slurm itself has set the node DOWN, and nothing is under way with it."""
    going = node.has("POWERING_UP", "POWERING_DOWN", "POWERED_DOWN")
    return node.has("DOWN") and not going and who(node) is Who.SLURM


def standing(status: str, answers: bool | None, *, heard: bool = False) -> Standing:
    """Judge one look.

    Args:
        status: the server's in the cloud; empty if it is gone.
        answers: whether its sshd does; None: it was not asked yet, or could not be.
        heard: Slurm hears its slurmd, although the node is DOWN.
    """
    if not status or status in GONE:
        return Standing.GONE
    if status in RESCUED:
        return Standing.RESCUED
    if status == "ERROR":
        return Standing.ERROR
    if answers or (heard and status in RUNNING):
        return Standing.ANSWERS
    if status in OFF:
        return Standing.PUT_AWAY if status in PUT_AWAY else Standing.OFF
    if status not in RUNNING:
        return Standing.CHANGING
    return Standing.UNKNOWN if answers is None else Standing.SILENT


def most(servers: int) -> int:
    """Return how many of a pool's servers may be silent, of those that fell silent within TOGETHER."""
    return max(3, servers // 10)


def is_network(fell: Sequence[float], servers: int) -> bool:
    """Tell whether so many servers of a pool fell silent together that it is the network.

    Args:
        fell: when each server fell silent that still is, in seconds.
        servers: how many the pool has.
    """
    times, limit = sorted(fell), most(servers)
    return any(last - first <= TOGETHER for first, last in zip(times, times[limit:], strict=False))
