"""Every half minute: are Slurm, the clouds and the journal of one mind?"""

import logging
import uuid

from slurm_powersave.decide.reboot import set_aside
from slurm_powersave.decide.reconcile import Finding, confirmed, differences, unlike_recorded
from slurm_powersave.engine import adoption
from slurm_powersave.engine.operations import Operations
from slurm_powersave.engine.world import World
from slurm_powersave.model.hostlist import fold
from slurm_powersave.model.modes import Mode
from slurm_powersave.model.nodes import Aside, Request, Server, SlurmSnapshot

log = logging.getLogger("slurm_powersave")

_CONFIRM = 5.0
"""Seconds after which a difference is looked at again."""


class Reconciler:
    """Turns differences that were seen twice into requests, or says them once."""

    def __init__(self, world: World, operations: Operations, interval: float | None = None) -> None:
        """Without an interval one is chosen: where slurmd runs RebootProgram only Slurm's state tells."""
        self._world, self._ops = world, operations
        self._interval = interval or (30.0 if world.cluster.reboot_from_controller else 5.0)
        self._due = world.now() + _CONFIRM
        self._before: dict[tuple[str, str], float] = {}
        self._said: set[tuple[str, str]] = set()

    @property
    def due(self) -> bool:
        """Whether both sides must be read now."""
        return self._world.now() >= self._due

    def step(self) -> None:
        """Compare, if it is time and both sides could be read; nothing is done on half a picture."""
        if not self.due:
            return
        now = self._world.now()
        snapshot = self._world.slurm_view.snapshot(self._due)
        servers: list[Server] = []
        read = set()
        for name, view in self._world.cloud_views.items():
            found = view.servers(self._due)
            if found is not None:
                read.add(name)
                servers += found
        for name in set(self._world.cluster.clouds) - set(self._world.cloud_views):
            # No adapter, so nobody but the journal tells which servers there are.
            read.add(name)
            servers += [
                Server(record.server_id, node, "ACTIVE", tags=frozenset({f"node={node}"}))
                for node, record in self._world.records.items()
                if record.server_id and record.node.cloud == name
            ]
        if snapshot is None or not read:
            return
        self._remember_asides(snapshot)
        nodes = [name for name in self._world.names if self._world.desired(name).cloud in read]
        busy = {op.node for op in self._ops}
        recorded = {name: self._world.record(name).server_id for name in nodes}
        findings = [
            *differences(nodes, snapshot, servers, busy, self._world.journal.holds()),
            *unlike_recorded(nodes, recorded, servers, busy),
        ]
        sure = confirmed(self._before, findings)
        for finding in sure:
            if (finding.kind, finding.node) not in self._said:
                log.warning("reconcile %s node=%s %s", finding.kind, finding.node, finding.text)
        # Told once: what has not helped is not done again and again.
        new = [f for f in sure if (f.kind, f.node) not in self._said]
        stuck = [f.node for f in new if f.state]
        stale = [f.node for f in new if f.blank]
        self._said = {(finding.kind, finding.node) for finding in sure}
        adoption.settle(self._world, sure, servers)
        if stuck:
            self._world.slurm.update_nodes(stuck, state="POWER_DOWN")
        if stale:
            self._world.slurm.update_nodes(stale, reason=" ")
        for mode in (Mode.RESUME, Mode.SUSPEND, Mode.REBOOT):
            self._request(mode, [f.node for f in sure if f.request is mode], now)
        self._before = {(f.kind, f.node): now for f in findings if not _asked(f, sure)}
        self._due = now + (_CONFIRM if self._before and not sure else self._interval)

    def _remember_asides(self, snapshot: SlurmSnapshot) -> None:
        """Keep what others have set: a reboot with ASAP nextstate=RESUME takes it away (22.05.8)."""
        known = self._world.journal.asides()
        found, gone = [], []
        for name in self._world.names:
            node = snapshot.nodes.get(name)
            if node is None or node.has("REBOOT_REQUESTED", "REBOOT_ISSUED"):
                continue
            if any(op.mode is Mode.REBOOT for op in self._ops.queue(name)):
                continue
            state = set_aside(node)
            old = known.get(name)
            if state and (old is None or (old.state, old.reason) != (state, node.reason or old.reason)):
                found.append(Aside(name, state, node.reason or "unknown", snapshot.taken))
            elif old and not state:
                gone.append(name)
        if found or gone:
            self._world.journal.save_asides(found, gone)

    def _request(self, mode: Mode, nodes: list[str], now: float) -> None:
        if nodes:
            request = Request(str(uuid.uuid4()), mode, fold(nodes), now, source="reconcile")
            self._world.journal.add_request(request, now)


def _asked(finding: Finding, sure: list[Finding]) -> bool:
    return finding.request is not None and finding in sure
