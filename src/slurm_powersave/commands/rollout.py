"""Reimaging what is outdated, some nodes of a pool at a time.

Nothing of it is stored: what is left to do is read anew from the journal and from Slurm each time, so
that a run that was interrupted goes on where it was, and what others ask for meanwhile counts.
"""

import uuid
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from slurm_powersave.config.settings import Cluster
from slurm_powersave.decide.flavor.lost_flavor import advice, lost
from slurm_powersave.decide.node import reboot
from slurm_powersave.decide.node.drift import Drift, drift
from slurm_powersave.decide.node.rollout import Member, Standing, choose, standing, unavailable_limit
from slurm_powersave.model import hostlist, phases
from slurm_powersave.model.errors import SlurmError
from slurm_powersave.model.modes import Kind, Mode
from slurm_powersave.model.nodes import Flavor, NodeRecord, Operation, Request, Server, SlurmSnapshot
from slurm_powersave.ports.clock import Clock
from slurm_powersave.ports.journal import Journal
from slurm_powersave.ports.slurm import Slurm

LOOK = 2.0
"""Seconds between two readings of Slurm while nothing has ended."""


@dataclass(frozen=True)
class Progress:
    """How far it is; numbers of nodes."""

    total: int
    done: int
    under_way: int
    waiting: int
    """Drained, and waiting for their jobs."""
    failed: int

    def text(self) -> str:
        """Say it in a line."""
        waits = "wait for their jobs" if self.waiting != 1 else "waits for its jobs"
        parts = [f"{self.done} of {self.total} done", f"{self.under_way} under way"]
        parts += [f"{self.waiting} {waits}"] if self.waiting else []
        parts += [f"{self.failed} failed"] if self.failed else []
        return ", ".join(parts)


@dataclass
class Rollout:
    """One run. `step` does all that can be done now; the caller tells what is new and waits a little."""

    cluster: Cluster
    journal: Journal
    slurm: Slurm
    clock: Clock
    servers: Mapping[str, Sequence[Server]]
    """By cloud, as listed before the first step; a cloud that could not be read is not in it."""
    pools: Sequence[str]
    max_unavailable: int | None = None
    max_failures: int = 1
    replace: bool = False
    flavors: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Pool -> the flavors that its nodes may have, as far as the clouds could be read."""
    sizes: Mapping[str, Mapping[str, Flavor]] = field(default_factory=dict)
    """Cloud -> its flavors by name, as far as the clouds could be read."""
    members: tuple[Member, ...] = ()
    """All nodes of the pools as they were at the last look."""
    followed: dict[str, Operation] = field(default_factory=dict)
    """Operation -> how it stands: those asked for here, and other reboots of the same nodes."""
    refusals: dict[str, str] = field(default_factory=dict)
    """Nodes that the engine does not know, and what it says."""
    slurm_error: str = ""
    """Why Slurm could not be read at the last look: until it can be, nothing new is asked for."""

    def __post_init__(self) -> None:
        self._first: dict[str, tuple[NodeRecord | None, Drift]] = {}
        self._goal: set[str] = set()
        self._asked: set[str] = set()
        self._requests: list[str] = []
        """Ours that may still bring news."""
        self._due = 0.0
        records = self.journal.node_records()
        for pool in self.pools:
            listed = self.servers.get(self.cluster.cloud_of(self.cluster.pool(pool)))
            for name in self.cluster.nodes_of(pool):
                found = None if listed is None else [one for one in listed if one.name == name]
                self._first[name] = (
                    records.get(name),
                    drift(records.get(name), found, self.cluster.pool(pool), self.flavors.get(pool)),
                )

    def unavailable_limits(self) -> dict[str, int]:
        """Pool -> how many of its nodes may be out of service at a time."""
        return {
            pool: unavailable_limit(len(self.cluster.nodes_of(pool)), self.max_unavailable)
            for pool in self.pools
        }

    def of(self, *standings: Standing) -> list[Member]:
        """Return the nodes that stand so."""
        return [one for one in self.members if one.standing in standings]

    def drift(self, node: str) -> Drift:
        """What the node's server was when this began."""
        return self._first[node][1]

    # What has happened

    @property
    def failures(self) -> list[Operation]:
        """Operations that failed or were refused."""
        return [op for op in self.followed.values() if op.outcome in (phases.FAILED, phases.REFUSED)]

    @property
    def called_off(self) -> list[Operation]:
        """Operations that something else has ended."""
        return [op for op in self.followed.values() if op.outcome == phases.CANCELLED]

    @property
    def stopping(self) -> bool:
        """Whether there were too many failures: nothing new is asked for."""
        return len(self.failures) + len(self.refusals) >= self.max_failures

    @property
    def waiting(self) -> list[str]:
        """Nodes that Slurm drains."""
        return [op.node for op in self.followed.values() if not op.outcome and op.phase == phases.DRAINING]

    @property
    def unplanned(self) -> bool:
        """Whether the engine has not taken up what was asked for last."""
        return bool(self._requests)

    @property
    def left(self) -> list[str]:
        """Nodes that are still to be reimaged and were not asked for."""
        return [one.node for one in self.of(Standing.IDLE, Standing.BUSY) if one.node not in self._asked]

    @property
    def unchanged(self) -> list[str]:
        """Nodes whose reimage is done by the engine's account, and that still have another image."""
        ended = {op.node for op in (*self.failures, *self.called_off)} | set(self.refusals)
        found = [one.node for one in self.of(Standing.IDLE, Standing.BUSY)]
        return [node for node in found if node in self._asked and node not in ended]

    def progress(self) -> Progress:
        """Count."""
        now = {one.node: one.standing for one in self.members}
        failed = {op.node for op in self.failures}
        stand = [now[node] for node in self._goal - failed]
        waiting = len(set(self.waiting) & self._goal)
        return Progress(
            len(self._goal),
            stand.count(Standing.CURRENT),
            stand.count(Standing.UNDER_WAY) - waiting,
            waiting,
            len(failed & self._goal),
        )

    @property
    def ended(self) -> bool:
        """Whether nothing more is to come; after failures nodes that wait for their jobs are left waiting."""
        running = [op for op in self.followed.values() if not op.outcome]
        if self.stopping:
            return not self._requests and all(op.phase == phases.DRAINING for op in running)
        if self.slurm_error or self._requests or running:
            return False
        open_ = [one for one in self.of(Standing.UNDER_WAY, Standing.CHANGING) if one.node in self._goal]
        return not open_ and not self.left

    # What is done

    def look(self) -> None:
        """Read how every node stands."""
        # In this order: a request becomes an operation, an operation ends with its record moved.
        asked = self._waiting_requests()
        operations: dict[str, list[Operation]] = defaultdict(list)
        for op in self.journal.open_operations():
            operations[op.node].append(op)
        records = self.journal.node_records()
        try:
            slurm = self.slurm.snapshot(list(self._first))
        except SlurmError as error:
            self.slurm_error = error.line
            return
        self.slurm_error = ""
        self.members = tuple(
            self._member(name, slurm, records.get(name), operations[name], name in asked)
            for name in self._first
        )
        coming = (Standing.IDLE, Standing.BUSY, Standing.UNDER_WAY, Standing.CHANGING)
        self._goal |= {
            one.node for one in self.of(*coming) if self._outdated(one.node, records.get(one.node))
        }
        # A run before this one may have come so far that the server has the new image already.
        reimages = (Kind.REIMAGE, Kind.REPLACE)
        self._goal |= {name for name in self._first if any(op.kind in reimages for op in operations[name])}
        for node in self._goal:
            # Those of a run before this one, and what others ask for: they are waited for, too.
            self.followed |= {op.id: op for op in operations[node] if op.mode is Mode.REBOOT}
        self.news()

    def step(self) -> None:
        """Take what has ended; if there is room, ask for the next nodes."""
        ended = self.news()
        if not ended and self.clock.monotonic() < self._due:
            return
        self.look()
        self._due = self.clock.monotonic() + LOOK
        if self.slurm_error or self.stopping:
            return
        chosen = choose(self.members, self.unavailable_limits(), self._asked)
        for pool in dict.fromkeys(one.pool for one in chosen):
            self._ask(pool, [one.node for one in chosen if one.pool == pool])
        if chosen:
            self.look()

    def _ask(self, pool: str, nodes: Sequence[str]) -> None:
        image = self.cluster.pool(pool).image
        # Named, so that an engine with another cluster file in memory does this, or refuses.
        words = reboot.asked(
            Kind.REPLACE if self.replace else Kind.REIMAGE, image if reboot.can_be_named(image) else ""
        )
        now = self.clock.wall()
        request = Request(str(uuid.uuid4()), Mode.REBOOT, hostlist.fold(nodes), now, "operator", action=words)
        self.journal.add_request(request, now)
        self._asked |= set(nodes)
        self._requests.append(request.id)

    def news(self) -> bool:
        """Read the operations that are followed; tell whether one has ended."""
        ended = False
        for request in list(self._requests):
            operations = self.journal.operations_of(request)
            self.refusals |= dict(self.journal.refusals(request))
            self.followed |= {op.id: op for op in operations if op.id not in self.followed}
            if operations or self.journal.refusals(request):
                self._requests.remove(request)
        for op in [op for op in self.followed.values() if not op.outcome or not op.phases]:
            if read := self.journal.operation(op.id):
                self.followed[op.id] = read
                ended = ended or bool(read.outcome)
        return ended

    def _waiting_requests(self) -> set[str]:
        known = frozenset(self._first)
        return {
            name
            for request in self.journal.unplanned_requests()
            if request.mode is Mode.REBOOT
            for name in hostlist.split(request.hostlist, known).nodes
        }

    def _outdated(self, node: str, record: NodeRecord | None) -> bool:
        """By what the cloud told at the beginning, until the journal says something new."""
        first, seen = self._first[node]
        pool = self.cluster.pool_of(node)
        return (seen if record == first else drift(record, None, pool)).image.differs

    def _member(
        self,
        name: str,
        slurm: SlurmSnapshot,
        record: NodeRecord | None,
        operations: Sequence[Operation],
        asked: bool,
    ) -> Member:
        stands, why = standing(
            self._outdated(name, record),
            slurm.nodes.get(name),
            operations,
            asked=asked,
            unreadable=name in slurm.unreadable,
        )
        in_place = stands in (Standing.IDLE, Standing.BUSY) and not self.replace
        if in_place and record and (gone := lost(record.node, self.sizes.get(record.node.cloud))):
            stands, why = Standing.SKIPPED, f"{gone}; {advice(name)}"
        return Member(name, self.cluster.pool_of(name).name, stands, why)
