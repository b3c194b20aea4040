"""Which of the queued creates may begin: those with a flavor, and with room in the project's quota.

What can't fit is refused before the cloud is asked, and the rest goes on. The cloud has the last word all the
same: others use the quota, too.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from slurm_powersave.decide.node import quota
from slurm_powersave.decide.node.quota import Verdict
from slurm_powersave.engine.operations import Operations
from slurm_powersave.engine.world import World
from slurm_powersave.model import phases
from slurm_powersave.model.errors import CloudError, FailureClass
from slurm_powersave.model.nodes import Failure, Flavor, Limit, Operation

log = logging.getLogger("slurm_powersave")


@dataclass(frozen=True)
class _Reading:
    number: int
    """As of the readings of Slurm and the clouds: what the cloud counts from then on need not be in it."""
    began: float
    """When it began, on the monotonic clock."""
    limits: Mapping[str, Limit]


class Admission:
    """Looks at the quota at the time of a request: once or twice for each batch of creates."""

    def __init__(self, world: World, operations: Operations) -> None:
        self._world, self._ops = world, operations
        self._timing = world.timing
        self._readings: dict[str, _Reading] = {}
        self._unreadable: set[str] = set()
        self._deletions: dict[str, set[str]] = {}
        """Cloud -> nodes whose servers were being deleted at the last look."""
        self._freed: dict[str, int] = {}
        """Cloud -> the number of the moment at which one of them was seen to be gone."""

    def admit(self, cloud: str, ops: Sequence[Operation]) -> list[Operation]:
        """Return the operations that may begin now; fail those that can't, and leave the others queued."""
        ops = [op for op in ops if self._has_flavor(cloud, op)]
        reading = self._read(cloud, since=self._world.now() - self._timing.quota_age)
        if reading is None or all(limit.limit is None for limit in reading.limits.values()):
            return ops
        known = self._world.flavors.sizes(cloud) or {}
        flavors = {op.node: known.get(self._world.next_spec(op.node).flavor) for op in ops}
        # What has a flavor of unknown size is for the cloud to judge.
        wanted = {node: flavor for node, flavor in flavors.items() if flavor}
        verdict = self._decide(cloud, wanted, reading, known)
        if verdict.refused:
            newest = max(op.asked for op in ops if op.node in verdict.refused)
            reading = self._read(cloud, newer_than=max(newest, self._freed.get(cloud, 0)))
            if reading is None:
                return ops
            verdict = self._decide(cloud, wanted, reading, known)
        self._end(ops, verdict)
        return [op for op in ops if op.node in verdict.admitted or op.node not in wanted]

    def _has_flavor(self, cloud: str, op: Operation) -> bool:
        node = self._world.next_spec(op.node)
        if not node.flavor and self._world.flavors.sizes(cloud) is not None:
            configured = self._world.slurm_view.configured(op.node)
            text = f"no flavor of the cloud {cloud} is what the pool {node.pool} asks for"
            if configured:
                text += f" and has the {configured.cpus} CPUs and {configured.real_memory} MiB of slurm.conf"
            self._ops.fail(op, Failure(FailureClass.CONFIG, text))
        return bool(node.flavor)

    def _end(self, ops: Sequence[Operation], verdict: Verdict) -> None:
        patience = self._timing.quota_wait
        for op in ops:
            why = verdict.refused.get(op.node)
            if op.node in verdict.waiting and self._ops.waited(op) > patience:
                why = f"no room before servers of ours are gone; that takes more than {patience:.0f} s"
            if why:
                self._ops.fail(op, Failure(FailureClass.QUOTA, why))

    def _read(self, cloud: str, newer_than: int = 0, since: float = float("-inf")) -> _Reading | None:
        """Read the quota, if that was not done since; None if it can't be read: then the cloud decides."""
        adapter = self._world.clouds.get(cloud)
        held = self._readings.get(cloud)
        if adapter is None or (held and held.number > newer_than and held.began >= since):
            return held
        number, began = self._world.seen.next(), self._world.now()
        try:
            limits = adapter.quota()
        except CloudError as error:
            if cloud not in self._unreadable:
                log.warning("cloud %s: quota unreadable: %s", cloud, error)
            self._unreadable.add(cloud)
            return None
        self._unreadable.discard(cloud)
        self._readings[cloud] = _Reading(number, began, limits)
        return self._readings[cloud]

    def _decide(
        self, cloud: str, wanted: Mapping[str, Flavor], reading: _Reading, known: Mapping[str, Flavor]
    ) -> Verdict:
        coming, unsure = self._coming(cloud, reading, known)
        going = self._going(cloud, known)
        verdict = quota.admit(wanted, reading.limits, coming=[*coming, *unsure], going=going)
        if not unsure or not (verdict.refused or verdict.waiting):
            return verdict
        # The next listing tells whether the reading counts them. Till then only what fits beside them begins,
        # and only what would not fit without them is refused.
        without = quota.admit(wanted, reading.limits, coming=coming, going=going)
        return Verdict(verdict.admitted, (), without.refused)

    def _going(self, cloud: str, known: Mapping[str, Flavor]) -> list[Flavor]:
        """Servers that are being deleted."""
        records = [self._world.record(op.node) for op in self._ops.in_phase(*phases.GOING)]
        going = {
            record.node.name: known[record.node.flavor]
            for record in records
            if record.server_id and record.node.cloud == cloud and record.node.flavor in known
        }
        if self._deletions.get(cloud, set()) - going.keys():
            self._freed[cloud] = self._world.seen.next()
        self._deletions[cloud] = set(going)
        return list(going.values())

    def _coming(
        self, cloud: str, reading: _Reading, known: Mapping[str, Flavor]
    ) -> tuple[list[Flavor], list[Flavor]]:
        """Servers that are being made: those that the reading does not count, and those that it may count."""
        surely: list[Flavor] = []
        unsure: list[Flavor] = []
        for op in self._ops.in_phase(*phases.CREATING):
            node = self._world.recorded_spec(op.node)
            if node.cloud != cloud or node.flavor not in known:
                continue
            listed = self._world.cloud_views[cloud].of_node(op.node, reading.number)
            if op.phase == phases.PLANNING or op.asked > reading.number or listed == ():
                surely.append(known[node.flavor])
            elif listed is None:
                unsure.append(known[node.flavor])
        return surely, unsure
