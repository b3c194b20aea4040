"""From the cluster file and what is there to the steps of a resize. Pure.

What a step does is in the mode table (model/modes.py, rows ENLARGE and SHRINK); here they get their
nodes and their order: first no new job starts on what is to go, then what is new comes, and only then
the jobs of the old are waited for, which may take a day.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum

from slurm_powersave.config.cluster import Cluster
from slurm_powersave.decide.node import drain
from slurm_powersave.decide.node.admin_state import set_by, state_by_admin
from slurm_powersave.model.hostlist import fold, natural
from slurm_powersave.model.modes import TABLE, Kind
from slurm_powersave.model.nodes import SlurmNode
from slurm_powersave.model.records import Drain
from slurm_powersave.model.slurm_versions import Difference

Nodes = tuple[str, ...]


class Act(StrEnum):
    """What a step does."""

    DRAIN = "drain"
    SLURM_CONF = "slurm.conf"
    POWER_UP = "power up"
    WAIT = "wait"
    POWER_DOWN = "power down"
    RELEASE = "release"


@dataclass(frozen=True)
class Step:
    """One step, for the nodes that it concerns."""

    kind: Kind
    act: Act
    nodes: Nodes
    text: str = ""

    @property
    def words(self) -> str:
        """Name it; a change of files that is for no node in particular is no growth."""
        if self.act is Act.SLURM_CONF and not self.nodes:
            return "change files"
        return f"{self.kind.value} {self.act.value}"


@dataclass(frozen=True)
class Change:
    """How the cluster file differs from what is there. Surplus nodes have the highest number first."""

    added: Nodes = ()
    """Slurm does not know them yet."""
    protect: Nodes = ()
    """Are to stay up from now on."""
    wake: Nodes = ()
    """Are to stay up, and are not."""
    removed: Nodes = ()
    """Slurm knows them, the cluster file does not any more."""
    unprotect: Nodes = ()
    """Need not stay up any more."""
    asleep: Nodes = ()
    """Those of the unprotected ones that are off or go: nothing is to be waited for."""
    release: Nodes = ()
    """Drained by an earlier resize, and not surplus."""
    gone: Nodes = ()
    """Have left Slurm; only the journal knows them."""
    set_by_admin: Mapping[str, str] | None = None
    """Surplus nodes that somebody else has drained or set down: why they are left alone."""
    unread: Nodes = ()
    """Surplus nodes about which Slurm's answer can't be read: they are left alone, too."""
    restart: bool = False
    """slurmctld must be restarted: it would die of `reconfigure` when the node count changes."""
    rewrite: bool = False
    """A file differs in something else."""
    slurmctld: str | None = None
    """What slurmctld does for that: restarts, reconfigures, or nothing; None: not known."""

    @property
    def drained(self) -> Nodes:
        """What is drained and powered down."""
        left = {*self.asleep, *self.alone}
        return tuple(name for name in (*self.removed, *self.unprotect) if name not in left)

    @property
    def alone(self) -> Mapping[str, str]:
        """Surplus nodes that are left as they are, and why."""
        return dict(self.set_by_admin or {}) | dict.fromkeys(
            self.unread, "what Slurm says of it can't be read"
        )

    @property
    def nothing(self) -> bool:
        """Whether the cluster is as the file says."""
        return not (
            self.added or self.protect or self.wake or self.removed or self.unprotect or self.release
            or self.rewrite
        )  # fmt: skip


def change(
    cluster: Cluster,
    *,
    slurm: Mapping[str, SlurmNode],
    unread: Collection[str] = (),
    protected: Collection[str],
    wanted_protected: Collection[str],
    recorded: Collection[str],
    drains: Mapping[str, Drain],
    rewrite: bool = False,
) -> Change:
    """Compare.

    Args:
        cluster: the cluster file.
        slurm: Slurm's nodes.
        unread: nodes that Slurm may know, but its answer about them can't be read.
        protected: SuspendExcNodes as slurmctld has loaded it.
        wanted_protected: SuspendExcNodes as it is to be.
        recorded: the names that the journal knows as ours; others are the site's own.
        drains: what we have drained.
        rewrite: whether slurm.conf differs from the one of the last deploy.
    """
    wanted = frozenset(cluster.nodes())
    there = slurm.keys() | frozenset(unread)
    ours = frozenset(recorded) & there
    removed = _highest(ours - wanted)
    unprotect = _highest((frozenset(protected) & ours & wanted) - frozenset(wanted_protected))
    surplus = {*removed, *unprotect}
    added = tuple(name for name in cluster.nodes() if name not in there)
    return Change(
        added=added,
        protect=tuple(name for name in cluster.persistent() if name not in protected),
        wake=tuple(n for n in cluster.persistent() if n in added or (n in slurm and slurm[n].going_down)),
        removed=removed,
        unprotect=unprotect,
        asleep=tuple(n for n in unprotect if n in slurm and slurm[n].going_down and n not in drains),
        release=tuple(name for name in drains if name in slurm and name not in surplus),
        gone=tuple(sorted(frozenset(recorded) - wanted - there, key=natural)),
        set_by_admin={
            name: f"{set_by(slurm[name], state)} ({slurm[name].reason})"
            for name in (*removed, *unprotect)
            if name in slurm
            and not drain.is_ours(slurm[name], drains.get(name))
            and (state := state_by_admin(slurm[name]))
        },
        unread=tuple(name for name in (*removed, *unprotect) if name not in slurm),
        restart=bool(added or removed) and not cluster.slurm_has(Difference.RECONFIGURE_TAKES_NODES),
        rewrite=rewrite,
    )


def steps(change: Change) -> list[Step]:
    """Put what the mode table says of both kinds in order."""
    grow, shrink = TABLE[Kind.ENLARGE], TABLE[Kind.SHRINK]
    found: list[Step] = []
    go = change.drained
    left = set(change.alone)
    after = tuple(name for name in (*change.removed, *change.unprotect) if name not in left)
    up = tuple(dict.fromkeys((*change.added, *change.protect)))
    if change.release:
        found.append(Step(Kind.SHRINK, Act.RELEASE, change.release, "drained by an earlier resize"))
    if shrink.drain and go:
        found.append(Step(Kind.SHRINK, Act.DRAIN, go))
    if grow.slurm_conf and (up or change.rewrite or (change.wake and not after)):
        text = _how(change) if change.added or not after else "slurmctld reconfigures"
        if change.slurmctld is not None and not change.added:
            text = f"slurmctld {change.slurmctld or 'goes on as it is'}"
        found.append(Step(Kind.ENLARGE, Act.SLURM_CONF, up, text))
    if grow.create and change.wake:
        found.append(Step(Kind.ENLARGE, Act.POWER_UP, change.wake))
    if shrink.wait and go:
        found.append(Step(Kind.SHRINK, Act.WAIT, go, "until their jobs have ended"))
    if shrink.delete and go:
        elastic = tuple(name for name in change.unprotect if name in go)
        text = f"{fold(elastic)}: elastic from then on" if elastic else ""
        found.append(Step(Kind.SHRINK, Act.POWER_DOWN, go, text))
    if shrink.slurm_conf and after:
        text = _how(change) if change.removed else "slurmctld reconfigures"
        found.append(Step(Kind.SHRINK, Act.SLURM_CONF, after, text))
    return found


def _how(change: Change) -> str:
    return "slurmctld restarts; running jobs are kept" if change.restart else "slurmctld reconfigures"


def _highest(names: Collection[str]) -> Nodes:
    return tuple(sorted(names, key=natural, reverse=True))
