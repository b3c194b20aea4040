"""What the journal keeps beside the nodes: acts that destroyed, pauses, and flavors that rest."""

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


@dataclass(frozen=True)
class FlavorRest:
    """A flavor that a cloud had no room for."""

    cloud: str
    zone: str
    flavor: str
    until: float
    """Seconds since the epoch; until then others of the pool come first."""
    text: str
    """What the cloud said."""
