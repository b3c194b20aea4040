"""What the journal keeps for people and for the brake: acts that destroyed, and pauses."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Done:
    """A destroying act, recorded before it was begun."""

    at: float
    """Seconds since the epoch."""
    operation: str
    """Empty for one of a command or of the engine itself."""
    node: str
    act: str
    subject: str
    row: str
    evidence: str


@dataclass(frozen=True)
class Pause:
    """Nothing new is changed in a pool, or with an empty pool in the cluster."""

    pool: str
    why: str
    by: str
    at: float
    """Seconds since the epoch."""
