"""A node's state flags in words."""

from collections.abc import Collection


def flags_text(flags: Collection[str]) -> str:
    """Join state flags as Slurm does, for example CLOUD+IDLE+POWERED_DOWN."""
    return "+".join(sorted(flags))
