"""A node's state as scontrol prints it: the base state, then its flags, in Slurm's order."""

from collections.abc import Iterable

_BASE_STATES = ("DOWN", "IDLE", "ALLOCATED", "ERROR", "MIXED", "FUTURE", "UNKNOWN")
_FLAGS = (
    "BLOCKED", "CLOUD", "COMPLETING", "DRAIN", "DYNAMIC_FUTURE", "DYNAMIC_NORM", "INVALID_REG", "FAIL",
    "MAINTENANCE", "POWER_DOWN", "POWER_UP", "PERFCTRS", "POWERED_DOWN", "REBOOT_REQUESTED", "REBOOT_ISSUED",
    "RESERVED", "RESUME", "NOT_RESPONDING", "PLANNED", "POWERING_UP", "POWERING_DOWN",
)  # fmt: skip
"""`node_states` and `node_state_flags` in src/common/slurm_protocol_defs.c of Slurm."""
_PLACE = {flag: place for place, flag in enumerate((*_BASE_STATES, *_FLAGS))}


def joined(flags: Iterable[str]) -> str:
    """Join them, for example IDLE+CLOUD+POWERED_DOWN; flags that are not known come last."""
    return "+".join(sorted(flags, key=lambda flag: (_PLACE.get(flag, len(_PLACE)), flag)))
