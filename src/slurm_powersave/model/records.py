"""What the journal keeps beside the nodes: acts, commands, pauses, drains, warnings, flavors that rest."""

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
class Command:
    """A command that changes something, or a cluster file that the engine has taken."""

    id: str
    at: float
    """When it began, in seconds since the epoch."""
    text: str
    """What was typed, without the cluster file."""
    by: str
    """Who, on which host, and from where."""
    diff: str = ""
    """What has changed in the cluster file since it was last used; without passwords and the like."""
    outcome: str = ""
    """Empty as long as it runs, and of one that was killed."""


@dataclass(frozen=True)
class Pause:
    """Nothing new is changed in this pool; an empty pool means the whole cluster."""

    pool: str
    why: str
    by: str
    at: float
    """Seconds since the epoch."""


@dataclass(frozen=True)
class Drain:
    """A DRAIN that we have set, or are about to set."""

    node: str
    by: str
    """What drained it, for example `resize 1a2b`."""
    reason: str
    """The reason in Slurm, whole: it must be ours, word for word, before we release the node."""


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


@dataclass(frozen=True)
class FlavorBackoff:
    """A flavor that a cloud had no room for."""

    cloud: str
    zone: str
    flavor: str
    until: float
    """Seconds since the epoch; until then others of the pool come first."""
    text: str
    """What the cloud said."""
