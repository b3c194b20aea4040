"""Who has set a node's DRAIN, DOWN or FAIL: Slurm itself, we, or an administrator. Pure.

Slurm's own are known by their words *and* by SlurmUser. Any other reason is an administrator's, also one that
was given as SlurmUser: a health check, or a person who became slurm.
"""

import re
from enum import StrEnum

from slurm_powersave.decide.node import failure_policy
from slurm_powersave.model.nodes import SlurmNode

STATES = ("DRAIN", "DOWN", "FAIL")
_OWN = re.compile(
    r"^(Not responding|ResumeTimeout reached|Node unexpectedly rebooted|Low (RealMemory|CPUs|TmpDisk|socket)"
    r"|Duplicate jobid|Kill task failed|Prolog error|Epilog error|batch job complete failure"
    r"|Job env setup error|Powered down|NO NETWORK ADDRESS FOUND)"
    r"|\b(reported lower than configured|count too low) \("
)
"""Reasons that slurmctld and slurmd write (`strings` of 22.05.8, 24.11.5 and 26.05.5)."""
_ANYBODYS = re.compile(
    r"^(Not responding|ResumeTimeout reached|Node unexpectedly rebooted)"
    r"|(^| ): (reboot (issued|timed out|complete)|ResumeTimeout reached)$"
)
"""Slurm's own even if another user is shown: after `scontrol reconfigure` 22.05.8 shows root (measured)."""


NO_REASON = "no reason was given"
"""Replaces an empty reason that is put back: Slurm refuses a DRAIN or DOWN without one."""


class Who(StrEnum):
    """Who has set a DRAIN, DOWN or FAIL."""

    NOBODY = "nobody"
    """There is none, or a reboot or POWER_DOWN that is under way ends it."""
    SLURM = "Slurm"
    OURS = "slurm-powersave"
    ADMINISTRATOR = "an administrator"


def who(node: SlurmNode, slurm_user: str = "slurm") -> Who:
    """Tell who has set a node's DRAIN, DOWN or FAIL.

    One without a reason is an administrator's: a late registration of a node that is powered down loses the
    reason and keeps the DRAIN (22.05.8). But where Slurm refuses a registration (INVALID_REG) it is Slurm's:
    24.11.5 gives no reason of its own if an earlier one was cleared with a blank (measured), and it takes no
    DRAIN from a person without a reason.
    """
    if not node.has(*STATES) or node.has("REBOOT_REQUESTED", "REBOOT_ISSUED", "POWER_DOWN"):
        return Who.NOBODY
    if failure_policy.is_ours(node.reason):
        return Who.OURS
    own = node.reason_by == slurm_user and _OWN.search(node.reason)
    unsaid = node.has("INVALID_REG") and not node.reason
    return Who.SLURM if own or unsaid or _ANYBODYS.search(node.reason) else Who.ADMINISTRATOR


def by_whom(node: SlurmNode) -> str:
    """Name the user who has set a node's reason; Slurm does not always tell."""
    return node.reason_by or "somebody else"


def set_by(node: SlurmNode, state: str) -> str:
    """Say who has set a state, as the beginning of a sentence: the reason follows."""
    return f"{state} was set by {by_whom(node)}"


def state_by_admin(node: SlurmNode) -> str:
    """Return DRAIN, DOWN or FAIL if an administrator has set it, otherwise nothing."""
    if who(node) is not Who.ADMINISTRATOR:
        return ""
    return next(state for state in STATES if node.has(state))
