"""What became of a node's registration with Slurm. Pure.

It is a success when a job could start on the node now (`SlurmNode.ready`), or when only a person's or the
engine's own command keeps jobs away. In any other state the engine waits; at the time limit it reports the
state that Slurm shows.
"""

import re
from dataclasses import dataclass
from enum import StrEnum

from slurm_powersave.decide.node import failure_policy
from slurm_powersave.decide.node.admin_state import set_by, state_by_admin
from slurm_powersave.model.nodes import SlurmNode

_REFUSALS = re.compile(r"reported lower than configured|^Low |, Low ")
"""Slurm's reasons for a registration that it refuses (validate_node_specs in src/slurmctld/node_mgr.c)."""
_OF_A_JOB = re.compile(
    r"^(Kill task failed|Prolog error|Epilog error|Job env setup error|batch job complete failure)"
)
"""Reasons of Slurm's for draining a node after a job has started there: the node had registered."""
_REBOOTED = re.compile(r"(^| ): reboot (issued|complete)$")
"""Slurm adds this to the reason of a node that has booted for a requested reboot."""


class Stage(StrEnum):
    """How far a registration has come."""

    WAITS = "waits"
    READY = "ready"
    REFUSED = "refused"
    GIVEN_UP = "given up"
    TIMED_OUT = "timed out"
    """Given up by Slurm, because the node has not registered within ResumeTimeout."""


@dataclass(frozen=True)
class Registration:
    """A stage, and the text that explains it."""

    stage: Stage
    text: str = ""
    """With READY: what still keeps jobs away; empty if nothing does."""


def registration(node: SlurmNode) -> Registration:
    """Judge what Slurm shows of a node whose slurmd was started."""
    flags = node.state
    shown = f"{flags}: {node.reason}" if node.reason else flags
    if node.going_down and node.has("DOWN") and "ResumeTimeout" in node.reason:
        return Registration(Stage.TIMED_OUT, f"Slurm gave the node up: {shown}")
    if node.going_down:
        return Registration(Stage.GIVEN_UP, f"Slurm has given it up: {flags}")
    if node.has("POWERING_UP", "NOT_RESPONDING"):
        # A refused registration also ends POWERING_UP, so INVALID_REG beside it comes from an earlier server.
        return Registration(Stage.WAITS, f"Slurm shows {flags}")
    if refused := _refused(node):
        return Registration(Stage.REFUSED, f"Slurm refuses the node's registration: {refused}")
    if node.ready:
        return Registration(Stage.READY)
    if why := _wished(node):
        return Registration(Stage.READY, f"registered; {why}")
    return Registration(Stage.WAITS, f"Slurm shows {shown}")


def _refused(node: SlurmNode) -> str:
    """Return Slurm's reason; empty if it does not refuse the registration.

    Slurm gives no reason if the node was already DRAIN or DOWN.
    """
    refusal = node.has("DRAIN") and _REFUSALS.search(node.reason) and not state_by_admin(node)
    if refusal and not failure_policy.is_ours(node.reason):
        return node.reason
    if not node.has("INVALID_REG"):
        return ""
    if _REFUSALS.search(node.reason):
        return node.reason
    older = f"; the node's reason is an older one: {node.reason}" if node.reason else ""
    return f"INVALID_REG; the cause is in slurmctld's log{older}"


def _wished(node: SlurmNode) -> str:
    """Say who or what keeps jobs away from a node that has registered."""
    if node.has("REBOOT_REQUESTED", "REBOOT_ISSUED"):
        return f"a reboot was asked for: {node.reason}"
    if not node.has("DRAIN", "DOWN", "FAIL"):
        return ""
    if admin_state := state_by_admin(node):
        return f"{set_by(node, admin_state)}: {node.reason or 'no reason'}"
    if failure_policy.is_ours(node.reason):
        return f"drained by us: {node.reason}"
    if _REBOOTED.search(node.reason):
        return f"it was rebooted: {node.reason}"
    if node.has("DRAIN") and _OF_A_JOB.search(node.reason):
        return f"Slurm has drained it: {node.reason}"
    return ""
