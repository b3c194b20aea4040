"""How far a node is on its way out of service: drained by us, empty, powered down. Pure.

Read anew from Slurm each time, so whoever was interrupted goes on where it was. On 22.05.8 POWER_DOWN
wipes a DRAIN that was set before POWERING_DOWN; it is set again then, or the node would get jobs.
"""

from enum import StrEnum

from slurm_powersave.decide.node import failure_policy
from slurm_powersave.decide.node.admin_state import state_by_admin
from slurm_powersave.model.nodes import SlurmNode
from slurm_powersave.model.records import Drain


class Stage(StrEnum):
    """What has to happen next, or what is waited for."""

    LEFT_ALONE = "left alone"
    """Somebody else has drained it or set it down: not ours to end, or to build upon."""
    COMING = "coming up"
    """A DRAIN would be wiped (POWERING_UP, a reboot) and requeue its job: wait until it is up."""
    OPEN = "open"
    """Without our DRAIN: it may get a job at any moment."""
    BUSY = "busy"
    """Drained by us; a job, COMPLETING or a reservation is waited for."""
    DRAINED = "drained"
    """Nothing runs there any more: it may be powered down."""
    GOING = "going"
    """Slurm powers it down, or its server is still there."""
    OFF = "off"
    """Drained, powered down, and without a server."""
    UNREADABLE = "unreadable"
    """What Slurm says of it can't be read: nothing is done, and it may be anything."""


def reason(kind: str, by: str) -> str:
    """Word the reason of a DRAIN of ours."""
    return f"{failure_policy.REASON_PREFIX} {kind} [{by}]"


def is_ours(node: SlurmNode, drain: Drain | None) -> bool:
    """Tell whether the node's DRAIN is the one that we have recorded, word for word."""
    return drain is not None and node.has("DRAIN") and node.reason == drain.reason


def stage(node: SlurmNode, drain: Drain | None, *, served: bool) -> Stage:
    """Tell how far a node is.

    Args:
        node: as Slurm shows it.
        drain: what we have recorded.
        served: whether it has a server, or an operation that has not ended.
    """
    ours = is_ours(node, drain)
    if not ours and state_by_admin(node):
        return Stage.LEFT_ALONE
    if node.has("POWERING_UP", "REBOOT_REQUESTED", "REBOOT_ISSUED"):
        return Stage.COMING
    if node.has("POWER_DOWN"):
        return Stage.GOING
    if not ours:
        return Stage.OPEN
    if node.in_use or node.has("RESERVED", "MAINTENANCE"):
        return Stage.BUSY
    if not node.going_down:
        return Stage.DRAINED
    return Stage.GOING if served else Stage.OFF
