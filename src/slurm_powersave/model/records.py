"""What the journal keeps for people and for the brake: destroying acts, and pauses."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Done:
    """A destroying act, recorded before it was begun."""

    at: float
    """Seconds since the epoch."""
    operation: str
    """Empty if a command, or the engine by itself, did it."""
    node: str
    act: str
    subject: str
    row: str
    evidence: str


@dataclass(frozen=True)
class Pause:
    """Nothing new is changed in this pool; an empty pool means the whole cluster."""

    pool: str
    why: str
    by: str
    at: float
    """Seconds since the epoch."""
