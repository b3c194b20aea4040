"""Which flavor a node's next server gets, and which are in backoff because a cloud has no room for them."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace

from slurm_powersave.config.settings import Cluster, Pool
from slurm_powersave.decide.flavor import flavor_choice
from slurm_powersave.decide.flavor.flavor_choice import Choice
from slurm_powersave.decide.flavor.node_memory import fits, too_small
from slurm_powersave.engine.times import Times
from slurm_powersave.model.errors import CloudError, FailureClass
from slurm_powersave.model.nodes import Flavor, NodeFacts, NodeSpec
from slurm_powersave.model.records import FlavorBackoff
from slurm_powersave.model.timing import USUAL, Timing
from slurm_powersave.ports.cloud import Cloud
from slurm_powersave.ports.journal import NodeRecords

log = logging.getLogger("slurm_powersave")


class Flavors:
    """Chooses flavors; the backoffs are journalled, so that a new engine knows them."""

    def __init__(
        self,
        cluster: Cluster,
        clouds: Mapping[str, Cloud],
        journal: NodeRecords,
        times: Times,
        configured: Callable[[str], NodeFacts | None],
        timing: Timing = USUAL,
    ) -> None:
        """`promised` tells what slurm.conf says of a node."""
        self._timing = timing
        self._configured = configured
        self._cluster, self._clouds, self._journal, self._times = cluster, clouds, journal, times
        self._lists: dict[str, tuple[float, Mapping[str, Flavor]]] = {}
        self._backoffs: dict[tuple[str, str, str], FlavorBackoff] = {}
        self.load()

    def load(self) -> None:
        """Read the backoffs: at the beginning, and when their dates have moved."""
        self._backoffs = {
            (backoff.cloud, backoff.zone, backoff.flavor): backoff
            for backoff in self._journal.flavor_backoffs()
        }

    def sizes(self, cloud: str) -> Mapping[str, Flavor] | None:
        """Return a cloud's flavors by name; an old listing while it can't be read, None if there is none."""
        taken, known = self._lists.get(cloud, (None, None))
        now = self._times.now()
        if taken is not None and now - taken < self._timing.flavors_age:
            return known
        adapter = self._clouds.get(cloud)
        if adapter is None:
            return None
        try:
            known = adapter.flavors()
        except CloudError as error:
            log.warning("cloud %s: flavors unreadable: %s", cloud, error)
            return known
        self._lists[cloud] = (now, known)
        return known

    def of_pool(self, pool: Pool, node: str) -> tuple[str, ...]:
        """Return the flavors that a node of the pool may have, the preferred one first.

        Empty if the cloud has none that is as large as slurm.conf says of the node, or can't tell. Names
        alone are not looked up: they change with the cluster file, and deploy writes slurm.conf with it.
        """
        if not flavor_choice.needs_the_cloud(pool.flavors):
            return flavor_choice.names(pool.flavors) or ()
        cloud = self._cluster.cloud_of(pool)
        known = self.sizes(cloud)
        if known is None:
            return flavor_choice.names(pool.flavors) or () if cloud not in self._clouds else ()
        found, configured = flavor_choice.choose(pool.flavors, known).flavors, self._configured(node)
        fit = [one for one in found if fits(one, configured) and not too_small(pool, Choice((one,)))]
        return tuple(one.name for one in fit)

    def next(self, node: NodeSpec) -> str:
        """Return the flavor for the node's next server; empty if no flavor is what its pool asks for."""
        return flavor_choice.best_flavor(self._of(node), self._until(node), self._times.now())

    def spec_with_flavor(self, node: NodeSpec, flavor: str) -> NodeSpec:
        """Return what the cluster file wants of a node that has a flavor: any of its pool's is right."""
        return replace(node, flavor=flavor) if flavor in self._of(node) else node

    def free_at(self, node: NodeSpec) -> float | None:
        """Return when one of several flavors of the node's pool is tried again; None if it has but one.

        A moment of the monotonic clock.
        """
        flavors, until = self._of(node), self._until(node)
        return min(until.get(name, float("-inf")) for name in flavors) if len(flavors) > 1 else None

    def failed(self, node: NodeSpec, text: str) -> str:
        """Let the flavor of a node rest, for which the cloud had no room; return one that does not rest."""
        now = self._times.now()
        until = now + self._cluster.failure.rest[FailureClass.CAPACITY]
        backoff = FlavorBackoff(node.cloud, node.zone, node.flavor, self._times.date(until), text)
        self._journal.save_flavor_backoff(backoff)
        self._backoffs[(node.cloud, node.zone, node.flavor)] = backoff
        log.warning("cloud=%s zone=%s flavor=%s rests: %s", node.cloud, node.zone, node.flavor, text)
        found = self.next(node)
        return found if self._until(node).get(found, now) <= now else ""

    def worked(self, node: NodeSpec) -> None:
        """A server was made: there is room for its flavor again."""
        if self._backoffs.pop((node.cloud, node.zone, node.flavor), None):
            self._journal.drop_flavor_backoff(node.cloud, node.zone, node.flavor)

    def _of(self, node: NodeSpec) -> tuple[str, ...]:
        """A node that leaves the cluster may be of a pool that has left already."""
        pool = next((pool for pool in self._cluster.node_pools if pool.name == node.pool), None)
        return self.of_pool(pool, node.name) if pool else (node.flavor,)

    def _until(self, node: NodeSpec) -> dict[str, float]:
        return {
            flavor: self._times.moment(backoff.until)
            for (cloud, zone, flavor), backoff in self._backoffs.items()
            if (cloud, zone) == (node.cloud, node.zone)
        }
