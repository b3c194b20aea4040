"""What a reboot request does to a node of the Slurm in memory, as measured on 22.05.8, 24.11.5 and
26.05.5.

The table is tests/cases/scontrol_reboot.yml.
"""

from dataclasses import dataclass, replace

from slurm_powersave.model.nodes import SlurmNode
from slurm_powersave.model.slurm_version import Version
from slurm_powersave.model.slurm_versions import Difference, has

ROOT, SLURM = "root", "slurm"
"""Who sets a reason: whoever runs scontrol, or slurmctld."""
REBOOT = frozenset({"REBOOT_REQUESTED", "REBOOT_ISSUED"})
BUSY = frozenset({"ALLOCATED", "MIXED", "COMPLETING"})
_PASSED_OVER = REBOOT | {"POWER_DOWN", "POWERING_DOWN", "POWERED_DOWN"}
"""`scontrol reboot` leaves such nodes alone, without a word."""
_NOT_YET = BUSY | {"POWERING_UP"}


@dataclass(frozen=True)
class Reboot:
    """What was asked for with `scontrol reboot [ASAP] [nextstate=...]`."""

    asap: bool = False
    nextstate: str = ""
    """RESUME or DOWN; empty if it was not given."""
    drained: bool = False
    """The node had a DRAIN before."""
    issued: float = 0.0
    """When RebootProgram was called, in seconds since the epoch."""

    def forgotten(self) -> "Reboot":
        """What is left of it after `scontrol reconfigure`."""
        return replace(self, asap=False, nextstate="")


def may_be_asked(node: SlurmNode) -> bool:
    """Tell whether Slurm takes the request at all."""
    return not node.has(*_PASSED_OVER)


def is_due(node: SlurmNode) -> bool:
    """Tell whether Slurm waits for nothing more; it does not mind a reservation."""
    return node.has("REBOOT_REQUESTED") and not node.has(*_NOT_YET)


def asked(node: SlurmNode, request: Reboot, reason: str) -> SlurmNode:
    """Return the node as the request leaves it."""
    flags = node.flags | {"REBOOT_REQUESTED"} | ({"DRAIN"} if request.asap else set())
    if reason or not node.reason:
        default = "Reboot ASAP" if request.asap else "reboot requested"
        node = replace(node, reason=reason or default, reason_by=ROOT)
    return replace(node, flags=flags)


def issued(node: SlurmNode) -> SlurmNode:
    """Return the node as it is when RebootProgram is called."""
    flags = (node.flags - {"REBOOT_REQUESTED", "IDLE"}) | {"DOWN", "REBOOT_ISSUED"}
    return replace(node, flags=flags, reason=f"{node.reason} : reboot issued", reason_by=SLURM)


def cancelled(node: SlurmNode, request: Reboot) -> SlurmNode:
    """Return the node after cancel_reboot: the DRAIN of ASAP goes, one that was there before stays."""
    node = replace(node, flags=node.flags - {"REBOOT_REQUESTED"})
    if not request.asap or request.drained:
        return node
    return replace(node, flags=node.flags - {"DRAIN"}, reason="", reason_by="")


def booted(node: SlurmNode, request: Reboot, version: Version) -> SlurmNode:
    """Return the node at its registration after a real boot.

    A plain reboot keeps a DRAIN; ASAP takes it away, up to 22.05 also one that was there before. A DOWN is
    kept by nextstate=DOWN alone.
    """
    keeps = not request.asap or (request.drained and has(version, Difference.ASAP_KEEPS_DRAIN))
    flags = node.flags - {"REBOOT_ISSUED", "DOWN"}
    if request.nextstate == "DOWN":
        reason = f"{node.reason} : reboot complete"
        return replace(node, flags=(flags - {"DRAIN"}) | {"DOWN"}, reason=reason, reason_by=SLURM)
    if "DRAIN" in flags and keeps and not request.nextstate:
        return replace(node, flags=flags | {"IDLE"})
    idle = replace(node, flags=(flags - {"DRAIN"}) | {"IDLE"})
    return idle if has(version, Difference.REASON_STAYS) else replace(idle, reason="", reason_by="")


def timed_out(node: SlurmNode) -> SlurmNode:
    """Return the node when Slurm has lost patience: DOWN, and a DRAIN of before is lost."""
    flags = node.flags - {"REBOOT_ISSUED", "DRAIN"}
    return replace(node, flags=flags, reason=f"{node.reason} : reboot timed out", reason_by=SLURM)
