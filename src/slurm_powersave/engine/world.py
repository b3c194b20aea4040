"""What the engine's parts share: the outside systems, and readings of them that are not older than needed."""

import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from slurm_powersave.config.settings import Cluster
from slurm_powersave.engine.cloud_offers import CloudOffers
from slurm_powersave.engine.flavors import Flavors
from slurm_powersave.engine.node_records import NodeRecords
from slurm_powersave.engine.sightings import Sightings
from slurm_powersave.engine.state_views import StateViews
from slurm_powersave.engine.times import Times
from slurm_powersave.model.errors import CloudError, SlurmError
from slurm_powersave.model.nodes import (
    NodeBackoff,
    NodeFacts,
    NodeRecord,
    NodeSpec,
    Server,
    SlurmNode,
    SlurmSnapshot,
)
from slurm_powersave.model.slurm_version import Version
from slurm_powersave.model.slurm_versions import Difference, has
from slurm_powersave.model.timing import USUAL, Timing
from slurm_powersave.ports.clock import Clock
from slurm_powersave.ports.cloud import Cloud
from slurm_powersave.ports.journal import Journal
from slurm_powersave.ports.playbooks import Playbooks
from slurm_powersave.ports.slurm import Slurm
from slurm_powersave.ports.state_store import StateStore
from slurm_powersave.ports.terraform import Terraform

log = logging.getLogger("slurm_powersave")


@dataclass
class World:
    """The outside, and the journal."""

    cluster: Cluster
    journal: Journal
    slurm: Slurm
    terraform: Terraform
    playbooks: Playbooks
    clouds: Mapping[str, Cloud]
    clock: Clock
    store: StateStore
    timing: Timing = USUAL

    def __post_init__(self) -> None:
        self.times = Times(self.clock, self.journal, self.timing)
        self.seen = Sightings(self.journal)
        self.slurm_view = SlurmView(self.slurm, self.clock, self.seen, self.timing)
        self.cloud_views = {
            name: CloudView(name, cloud, self.clock, self.seen, self.timing)
            for name, cloud in self.clouds.items()
        }
        self.cloud_offers = CloudOffers(self.clouds, self.clock, self.timing)
        self.flavors = Flavors(
            self.cluster, self.clouds, self.journal, self.times, self.slurm_view.configured, self.timing
        )
        self.states = StateViews(self.terraform)
        self.records = NodeRecords(self.journal.node_records())

    def now(self) -> float:
        """Return a moment of the monotonic clock: all durations are told by it."""
        return self.times.now()

    def wall(self) -> float:
        """Return seconds since the epoch: for people and for the journal. Nothing is judged by it."""
        return self.times.wall()

    def in_backoff(self, backoff: NodeBackoff) -> bool:
        """Tell whether a node's backoff has not ended yet."""
        return self.now() < self.times.moment(backoff.until)

    def nodes_in_backoff(self) -> dict[str, NodeBackoff]:
        """Return the nodes that are in backoff after a failure."""
        return {
            node: backoff
            for node, backoff in self.journal.node_backoffs().items()
            if self.in_backoff(backoff)
        }

    def slurm_has(self, difference: Difference) -> bool:
        """Tell whether the slurmctld that runs does it; before its version is known the file's counts."""
        return has(self.slurm_view.version.known or self.cluster.slurm_release, difference)

    def recorded_spec(self, name: str) -> NodeSpec:
        """Return what a node is to be: recorded once, or from the cluster file the first time."""
        return self.record(name).node

    def record(self, name: str) -> NodeRecord:
        """Return a node's record; a new one where nothing is recorded."""
        if name not in self.records and (found := self.journal.node_record(name)):
            self.records.put(found)  # a command has given it its address since we started
        return self.records.get(name) or NodeRecord(self.cluster.node_spec(name))

    def next_spec(self, name: str) -> NodeSpec:
        """Return what the cluster file wants of a node's next server; of one that leaves it, what it was.

        The flavor is the first of the pool's that is not in backoff; empty if the cloud has none of them.
        """
        if name not in self.cluster:
            return self.record(name).node
        node = self.cluster.node_spec(name)
        return replace(node, flavor=self.flavors.next(node))

    def spec_with_flavor(self, name: str, flavor: str) -> NodeSpec:
        """Return what the cluster file wants of a node that has a flavor: any of its pool's is right."""
        return self.flavors.spec_with_flavor(self.cluster.node_spec(name), flavor)

    @property
    def names(self) -> tuple[str, ...]:
        """The nodes of the cluster file, and those that have left it and not yet the cluster."""
        return (*self.cluster.nodes(), *(name for name in self.records if name not in self.cluster))

    def save(self, record: NodeRecord) -> None:
        """Write a node's record to the journal and keep it."""
        self.journal.save_node(record)
        self.records.put(record)


class _Backoff:
    """Doubles the time to the next try after each failure, up to ten seconds."""

    def __init__(self, pause: float, longest: float) -> None:
        """Seconds between two tries that go well, and at most after failures."""
        self._pause, self._longest, self._wait = pause, longest, 0.0
        self._next_try = 0.0

    def lasts(self, now: float) -> bool:
        """Tell whether it is too early to try, at a moment of the monotonic clock."""
        return now < self._next_try

    def ok(self, now: float) -> None:
        self._wait, self._next_try = 0.0, now + self._pause

    def failed(self, now: float) -> None:
        self._wait = min(max(self._wait * 2, 0.5), self._longest)
        self._next_try = now + self._wait


class SlurmVersion:
    """The version of the slurmctld that runs: asked for once, and anew after Slurm could not be read."""

    def __init__(self, slurm: Slurm, clock: Clock, timing: Timing) -> None:
        self._slurm, self._clock = slurm, clock
        self._backoff = _Backoff(timing.slurm_poll, timing.reading_backoff)
        self._fresh, self._error = False, ""
        self.known: Version | None = None
        """None until slurmctld has told it."""

    def may_change(self) -> None:
        """Slurm can't be read: it may come back as another version."""
        self._fresh = False

    def refresh(self) -> None:
        """Ask, unless it is known or asking failed a moment ago."""
        if self._fresh or self._backoff.lasts(self._clock.monotonic()):
            return
        try:
            found = self._slurm.running_version()
        except SlurmError as error:
            if not self._error:
                log.warning("the version of slurmctld could not be read: %s", error)
            self._error = str(error)
            self._backoff.failed(self._clock.monotonic())
        else:
            if found != self.known:
                log.info("slurmctld runs Slurm %s", found.text or found)
            self.known, self._fresh, self._error = found, True, ""
            self._backoff.ok(self._clock.monotonic())


class SlurmView:
    """The last reading of Slurm. While Slurm can't be read there is none, and nothing is decided on it."""

    def __init__(self, slurm: Slurm, clock: Clock, seen: Sightings, timing: Timing) -> None:
        self._slurm, self._clock = slurm, clock
        self._backoff = _Backoff(timing.slurm_poll, timing.reading_backoff)
        self._seen, self.reading, self.began = seen, 0, float("-inf")
        """Number of the last reading that went well, and when it began, on the monotonic clock."""
        self._snapshot: SlurmSnapshot | None = None
        self._asked: frozenset[str] | None = frozenset()
        """The nodes that it was asked for; None: all."""
        self._configured: dict[str, NodeFacts | None] = {}
        self.version = SlurmVersion(slurm, clock, timing)
        self.error = ""

    def refresh(self, nodes: Sequence[str] = (), jobs: Sequence[int] = ()) -> None:
        """Read these nodes and jobs (all, if none are named), unless that was done or failed a moment ago."""
        now = self._clock.monotonic()
        if self._backoff.lasts(now):
            return
        number = self._seen.next()
        try:
            self._snapshot = self._slurm.snapshot(nodes, jobs)
        except SlurmError as error:
            if not self.error:
                log.warning("slurm unreadable: %s", error)
            self._snapshot, self.error = None, str(error)
            self.version.may_change()
            self._backoff.failed(self._clock.monotonic())
        else:
            if self.error:
                log.info("slurm readable again")
            self.error, self.reading, self.began = "", number, now
            self._asked = frozenset(nodes) if nodes or jobs else None
            self._seen.read(number, self._snapshot)
            self._configured.update((name, node.configured) for name, node in self._snapshot.nodes.items())
            self._backoff.ok(self._clock.monotonic())
            self.version.refresh()

    def skip(self, why: str) -> None:
        """Take in that it is not even tried now: nothing is known of Slurm."""
        self._snapshot, self.error = None, why

    def configured(self, name: str) -> NodeFacts | None:
        """Return what slurm.conf promised of a node when it was last read; None if that is not known."""
        return self._configured.get(name)

    def snapshot(self, newer_than: int = 0, since: float = float("-inf")) -> SlurmSnapshot | None:
        """Return the last reading if it is newer than one of that number, and began since that moment."""
        return self._snapshot if self.reading > newer_than and self.began >= since else None

    def node(self, name: str, newer_than: int = 0, since: float = float("-inf")) -> SlurmNode | None:
        """Return one node of such a reading."""
        snapshot = self.snapshot(newer_than, since)
        return snapshot.nodes.get(name) if snapshot else None

    def lacks(self, name: str, newer_than: int) -> bool:
        """Tell whether such a reading was of a node that Slurm does not know."""
        snapshot = self.snapshot(newer_than)
        if snapshot is None or name in snapshot.nodes or name in snapshot.unreadable:
            return False
        return self._asked is None or name in self._asked


class CloudView:
    """The last listing of our servers in one cloud."""

    def __init__(self, name: str, cloud: Cloud, clock: Clock, seen: Sightings, timing: Timing) -> None:
        self._name, self._cloud, self._clock = name, cloud, clock
        self._backoff = _Backoff(timing.cloud_poll, timing.reading_backoff)
        self._seen, self.reading, self.began = seen, 0, float("-inf")
        """Number of the last listing that went well, and when it began, on the monotonic clock."""
        self._servers: tuple[Server, ...] | None = None
        self.error = ""

    def refresh(self) -> None:
        """List the servers, unless that was done or failed a moment ago."""
        now = self._clock.monotonic()
        if self._backoff.lasts(now):
            return
        number = self._seen.next()
        try:
            self._servers = tuple(self._cloud.servers())
        except CloudError as error:
            if not self.error:
                log.warning("cloud %s unreadable: %s", self._name, error)
            self._servers, self.error = None, str(error)
            self._backoff.failed(self._clock.monotonic())
        else:
            if self.error:
                log.info("cloud %s readable again", self._name)
            self.error, self.reading, self.began = "", number, now
            self._backoff.ok(self._clock.monotonic())

    def skip(self, why: str) -> None:
        """Take in that it is not even tried now: nothing is known of this cloud."""
        self._servers, self.error = None, why

    def servers(self, newer_than: int = 0, since: float = float("-inf")) -> tuple[Server, ...] | None:
        """Return the last listing if it is newer than one of that number, and began since that moment."""
        return self._servers if self.reading > newer_than and self.began >= since else None

    def of_node(self, name: str, newer_than: int) -> tuple[Server, ...] | None:
        """Return the servers of one node name (more than one is a fault), or None if unread."""
        found = self.servers(newer_than)
        return None if found is None else servers_of(name, found)


def servers_of(name: str, servers: Iterable[Server]) -> tuple[Server, ...]:
    """Choose the servers that carry a node's tag."""
    return tuple(s for s in servers if f"node={name}" in s.tags)


def by_node(servers: Iterable[Server]) -> dict[str, list[Server]]:
    """Sort servers by the node whose tag they carry."""
    found: dict[str, list[Server]] = defaultdict(list)
    for server in servers:
        for tag in server.tags:
            if tag.startswith("node="):
                found[tag.removeprefix("node=")].append(server)
    return found
