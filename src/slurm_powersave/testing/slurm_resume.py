"""What `scontrol update State=RESUME` does to a node of the Slurm in memory."""

from dataclasses import replace

from slurm_powersave.model.nodes import SlurmNode
from slurm_powersave.model.slurm_version import Version
from slurm_powersave.model.slurm_versions import Difference, has
from slurm_powersave.testing.slurm_reboot import REBOOT


def resumed(node: SlurmNode, version: Version) -> SlurmNode | None:
    """Return the node as the command leaves it; None if Slurm refuses it."""
    if node.has("POWERING_UP", "POWER_DOWN"):
        return None
    if node.has("POWERING_DOWN"):
        extra = {"NOT_RESPONDING"} if node.has("DRAIN") else set()
        flags = (node.flags - {"POWERING_DOWN", "DRAIN"}) | {"POWERED_DOWN", *extra}
    elif node.has("DOWN", "DRAIN", *REBOOT):
        base = {"ALLOCATED", "MIXED"} & node.flags or {"IDLE"}
        clean = node.has("POWERED_DOWN") and has(version, Difference.RESUME_OF_NODE_THAT_IS_OFF_IS_CLEAN)
        silent = set() if clean else {"NOT_RESPONDING"}
        flags = (node.flags - {"DOWN", "DRAIN", *REBOOT}) | base | silent
    else:
        return None
    return replace(node, flags=frozenset(flags), reason="", reason_by="")
