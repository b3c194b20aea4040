"""What the journal keeps for people and for the brake: acts that destroyed, pauses, warnings."""

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
class Notice:
    """What `status` warns of, as long as it is so: a node that Slurm can't reach."""

    node: str
    server: str
    """The server's id; empty if it is gone."""
    text: str
    """The same for all nodes with which the same is the matter: it names none."""
    command: str
    """The command that replaces the server, without the node's name; empty if there is none."""
    at: float
    """When it began, in seconds since the epoch."""
    jobs: tuple[int, ...] = ()
    """The jobs that ran there when Slurm was last heard of it."""
