"""Compares Slurm, the clouds and the journal every 30 s; confirmed differences become requests."""

import logging
import uuid
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from slurm_powersave.decide.node.admin_state import NO_REASON
from slurm_powersave.decide.node.guard import Refusal
from slurm_powersave.decide.node.reconcile import Finding, confirmed, differences, journal_differences
from slurm_powersave.engine import slurm_conf_in_use
from slurm_powersave.engine.faults import Faults
from slurm_powersave.engine.node.calls import set_by_others
from slurm_powersave.engine.node.guarding import Guarding
from slurm_powersave.engine.operations import Operations
from slurm_powersave.engine.pausing import Pausing
from slurm_powersave.engine.reconcile import server_records
from slurm_powersave.engine.reconcile.dead_servers import DeadServers
from slurm_powersave.engine.reconcile.own_account import OwnAccount
from slurm_powersave.engine.world import World, servers_of
from slurm_powersave.model.errors import SlurmError
from slurm_powersave.model.hostlist import fold
from slurm_powersave.model.modes import Mode
from slurm_powersave.model.nodes import AdminState, Request, Server, SlurmSnapshot

log = logging.getLogger("slurm_powersave")


class Reconciler:
    """Turns differences that were seen twice into requests, or says them once."""

    def __init__(
        self,
        world: World,
        operations: Operations,
        guard: Guarding,
        own: OwnAccount,
        pauses: Pausing,
        faults: Faults,
        interval: float | None = None,
    ) -> None:
        """Without an interval one is chosen: where slurmd runs RebootProgram only Slurm's state tells."""
        self._world, self._ops, self._guard, self._own = world, operations, guard, own
        self._pauses, self._faults = pauses, faults
        self._interval = interval or (30.0 if world.cluster.reboot_from_controller else 5.0)
        self._due = world.now() + world.timing.confirm
        self._before: set[tuple[str, str]] = set()
        self._said: set[tuple[str, str]] = set()
        self._told: set[tuple[str, str]] = set()
        """What Slurm was told to do about it."""
        self._dead = DeadServers(world, guard, own, pauses)

    @property
    def due(self) -> bool:
        """Whether both sides must be read now."""
        now = self._world.now()
        self._due = min(self._due, now + self._interval)  # the clock may have been put back
        return now >= self._due

    def step(self) -> None:
        """Compare, if it is time and both sides could be read; nothing is done on half a picture."""
        if not self.due:
            return
        now = self._world.now()
        snapshot = self._world.slurm_view.snapshot(since=self._due)
        servers: list[Server] = []
        read = set()
        for name, view in self._world.cloud_views.items():
            found = view.servers(since=self._due)
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
        self._own.take_in(snapshot)
        self._remember_admin_states(snapshot)
        nodes = [name for name in self._world.names if self._world.recorded_spec(name).cloud in read]
        busy = {op.node for op in self._ops}
        recorded = {name: self._world.record(name).server_id for name in nodes}
        findings = [
            *differences(
                nodes,
                snapshot,
                servers,
                busy,
                self._world.journal.node_backoffs(),
                slurm_conf_in_use.persistent(self._world.cluster, self._world.store),
            ),
            *journal_differences(nodes, recorded, servers, busy),
        ]
        # A cloud or a node that can't be read agrees with nothing.
        unread = (set(self._world.cluster.clouds) - read) | snapshot.unreadable
        self._own.agree([*unread, *(finding.node for finding in findings)])
        self._own.agree([finding.node for finding in findings])
        look = partial(self._dead.step, snapshot, nodes, servers, busy)
        self._faults.tried("looking at nodes that are DOWN", look)
        sure = self._allowed(confirmed(self._before, findings), servers)
        for finding in sure:
            if (finding.kind, finding.node) not in self._said:
                log.warning("reconcile %s node=%s %s", finding.kind, finding.node, finding.text)
        # Told once: what has not helped is not done again and again.
        new = [f for f in sure if (f.state or f.blank) and (f.kind, f.node) not in self._told]
        stuck = [f.node for f in new if f.state == "POWER_DOWN"]
        missing = [f.node for f in new if f.state == "POWER_UP"]
        freed = [f.node for f in new if f.state == "RESUME"]
        stale = [f.node for f in new if f.blank]
        self._said = {(finding.kind, finding.node) for finding in sure}
        self._told = (self._told & self._said) | {(f.kind, f.node) for f in new}
        server_records.settle(self._world, sure, servers)
        if stuck:
            self._world.seen.note(stuck, "pushed")
        for names, state, reason in (
            (stuck, "POWER_DOWN", ""),
            (freed, "RESUME", ""),
            (missing, "POWER_UP", ""),
            (stale, "", " "),
        ):
            self._tell(names, state, reason)
        for mode in (Mode.RESUME, Mode.SUSPEND, Mode.REBOOT):
            self._request(mode, [f.node for f in sure if f.request is mode])
        self._before = {(f.kind, f.node) for f in findings if not _asked(f, sure)}
        self._due = now + (self._world.timing.confirm if self._before and not sure else self._interval)

    def _tell(self, nodes: Sequence[str], state: str, reason: str) -> None:
        """Tell Slurm; what it refuses is said, and the difference stays one that is named."""
        try:
            if nodes:
                self._world.slurm.update_nodes(nodes, state=state, reason=reason)
        except SlurmError as error:
            log.warning("reconcile nodes=%s %s: %s", fold(nodes), state or "reason", error)

    def _allowed(self, findings: list[Finding], servers: list[Server]) -> list[Finding]:
        """Ask the guard whether a server that nobody wants may go; until then it is only named, and why."""
        found = []
        for finding in findings:
            if why := self._pauses.why(finding.node) if finding.node in self._world.records else "":
                finding = replace(finding, request=None, state="", blank=False, text=f"{finding.text}; {why}")
            if finding.request is Mode.SUSPEND:
                finding = self._judged(finding, servers_of(finding.node, servers))
            found.append(finding)
        return found

    def _judged(self, finding: Finding, servers: Sequence[Server]) -> Finding:
        for server in servers:
            look = self._guard.look(finding.node, server, self._due)
            answer = self._own.deletion(look) if look else Refusal("it can't be read")
            if isinstance(answer, Refusal):
                by_hand = f"slurm-powersave suspend {finding.node}"
                text = f"{finding.text}; it is kept: {answer.why}. To delete it by hand: {by_hand}"
                return replace(finding, request=None, text=text)
        return finding

    def _remember_admin_states(self, snapshot: SlurmSnapshot) -> None:
        """Keep what others have set: a reboot with ASAP nextstate=RESUME takes it away (22.05.8)."""
        known = self._world.journal.admin_states()
        found, gone = [], []
        for name in self._world.names:
            node = snapshot.nodes.get(name)
            if node is None or node.has("REBOOT_REQUESTED", "REBOOT_ISSUED"):
                continue
            if self._ops.queue(name):
                continue  # it may have taken away what it puts back
            state = set_by_others(self._world, node)
            old = known.get(name)
            if state and (old is None or (old.state, old.reason) != (state, node.reason or old.reason)):
                found.append(AdminState(name, state, node.reason or NO_REASON))
            elif old and not state:
                gone.append(name)  # where only the reason is lost, what was seen before counts
        if found or gone:
            self._world.journal.save_admin_states(found, gone)

    def _request(self, mode: Mode, nodes: list[str]) -> None:
        if nodes:
            date = self._world.wall()
            request = Request(str(uuid.uuid4()), mode, fold(nodes), date, source="reconcile")
            self._world.journal.add_request(request, date)


def _asked(finding: Finding, sure: list[Finding]) -> bool:
    return finding.request is not None and finding in sure
