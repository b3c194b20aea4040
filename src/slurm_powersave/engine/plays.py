"""Ansible runs: a node is configured as soon as its sshd answers, with those that are ready with it."""

import logging
from dataclasses import dataclass, replace

from slurm_powersave.decide import host_keys
from slurm_powersave.decide.host_keys import Pin
from slurm_powersave.engine.operations import Operations
from slurm_powersave.engine.world import World
from slurm_powersave.model import phases
from slurm_powersave.model.errors import CloudError, FailureClass, PowersaveError
from slurm_powersave.model.nodes import Failure, NodeProgress, NodeRecord, Operation, Server, ShardRun
from slurm_powersave.ports import Run

log = logging.getLogger("slurm_powersave")

_GATHER = 0.3
"""Seconds that a ready node waits for others: a play for four costs twice one for one, not four times."""
_PROBING = 0.6
"""Seconds that a step may spend on nodes that do not answer; each may take 0.3 s."""
_ASKING = 0.5
"""Seconds between two questions for the host key of a server: it is on the console when sshd has made it."""
_PLAYS = 4
"""Plays at once at most that have something to tell: each is bound by the processor of the control host."""
_QUIET = 30.0
"""Seconds without news after which a play holds up no other: what its nodes do needs no processor of ours."""
_MOST_PLAYS = 16
"""Plays at once in all: each takes some 100 MB."""


@dataclass
class _Play:
    run: Run
    operations: tuple[str, ...]
    deadline: float
    heard: float
    """When it began or a node had news, on the monotonic clock."""


class Plays:
    """Starts plays for nodes that answer, and takes each node on when its own part is done."""

    def __init__(self, world: World, operations: Operations) -> None:
        self._world, self._ops = world, operations
        self._plays: list[_Play] = []
        self._ready: dict[str, float] = {}
        """Operation -> when its node answered."""
        self._probed: dict[str, float] = {}
        """Operation -> when its node was last asked: who waited longest comes first."""
        self._first_seen: dict[str, float] = operations.until_end({})
        """Operation -> when its node was found in its old boot for the first time."""
        self._keys: dict[tuple[str, float], str] = {}
        """Operation and when its boot began -> the host key that the cloud told since."""
        self._asked: dict[str, float] = operations.until_end({})
        """Operation -> when the cloud was last asked for its server's host key."""

    @property
    def running(self) -> bool:
        """Whether an Ansible process of ours runs."""
        return bool(self._plays)

    def adopt(self, saved: ShardRun) -> None:
        """Take up a play that an earlier engine started."""
        run = self._world.playbooks.adopt(saved.record)
        self._add(run, saved.operations, saved.deadline)

    def _add(self, run: Run, operations: tuple[str, ...], deadline: float) -> _Play:
        play = _Play(run, operations, deadline, self._world.clock.monotonic())
        self._plays.append(play)
        return play

    @property
    def _full(self) -> bool:
        """Whether a further play has to wait: for the processor, or for memory."""
        since = self._world.clock.monotonic() - _QUIET
        return len(self._plays) >= _MOST_PLAYS or sum(one.heard >= since for one in self._plays) >= _PLAYS

    def waited(self, op: Operation) -> float | None:
        """Return for how many seconds a node that answers has waited for a play; None: it does not answer."""
        at = self._ready.get(op.id)
        return None if at is None else self._world.now() - at

    def start(self) -> None:
        """Start a play for the nodes that are ready, if it is time."""
        now = self._world.now()
        keys: dict[str, str] = {}
        booting = self._ops.in_phase(phases.BOOTING)
        self._probed = {op.id: self._probed.get(op.id, 0.0) for op in booting}
        self._keys = {(op.id, op.since): key for op in booting if (key := self._keys.get((op.id, op.since)))}
        for op in sorted(booting, key=lambda op: self._probed[op.id]):
            key = self._host_key(op, patient=self._world.now() - now < _PROBING)
            if key is None:
                continue
            keys[op.id] = key
            if op.id not in self._ready and self._world.now() - now < _PROBING:
                self._probed[op.id] = now
                if self._world.playbooks.reachable(self._world.desired(op.node)):
                    self._ready[op.id] = self._world.now()
        self._ready = {op_id: at for op_id, at in self._ready.items() if op_id in keys}
        if not self._ready or self._full:
            return
        coming = len(keys) - len(self._ready)
        if coming and now - min(self._ready.values()) < _GATHER:
            return
        ops = self._ops.of(self._ready)
        nodes = [self._world.desired(op.node) for op in ops]
        try:
            boots = {op.node: self._world.record(op.node).boot_id for op in ops}
            disks = {op.node: self._world.record(op.node).disk for op in ops}
            run = self._world.playbooks.configure(nodes, {op.node: keys[op.id] for op in ops}, boots, disks)
        except PowersaveError as error:
            for op in ops:
                self._ops.fail(op, Failure(FailureClass.CONFIG, error.line))
            return
        deadline = now + self._world.cluster.failure.configure_timeout
        play = self._add(run, tuple(op.id for op in ops), deadline)
        self._world.journal.save_run(ShardRun(run.record, "", play.operations, play.deadline))
        for op in ops:
            self._ops.move(op, phases.CONFIGURING)
        self._ready.clear()

    def _host_key(self, op: Operation, *, patient: bool) -> str | None:
        """Return the server's host key; None while it is not known.

        Empty if the one that is recorded is this disk's: nothing that the console shows now takes its place.
        Also where the cloud has no adapter.

        A listing may leave it out: then the cloud is asked for the one server, unless we are not `patient`.
        """
        cloud = self._world.desired(op.node).cloud
        view, record = self._world.cloud_views.get(cloud), self._world.record(op.node)
        if view is None:
            return ""
        if key := self._keys.get((op.id, op.since)):
            return key
        servers = view.of_node(op.node, op.since) or ()
        active = next((s for s in servers if s.id == op.server_id and s.status == "ACTIVE"), None)
        if active is None:
            return None
        pin = self._world.playbooks.pin(record.node)
        if host_keys.believed(pin, record.disk, kept=not (op.row.create or op.row.update == "image")):
            return ""
        if active.host_key:
            return self._taken(op, pin, active)
        now = self._world.now()
        if patient and now - self._asked.get(op.id, 0.0) >= _ASKING:
            self._asked[op.id] = now
            try:
                found = self._world.clouds[cloud].server(op.server_id)
            except CloudError as error:
                log.warning("op=%s node=%s host key: %s", op.id, op.node, error)
                return None
            return self._taken(op, pin, found) if found else None
        return None

    def _taken(self, op: Operation, pin: Pin | None, server: Server) -> str | None:
        """Take the key that the server's console shows for this disk, if it is plain which one that is."""
        blocks = (server.host_key, *server.later_keys) if server.host_key else ()
        offered = host_keys.offered(pin, blocks, renewed=op.row.update == "image")
        if len(offered) == 1:
            self._keys[op.id, op.since] = offered[0]
            return offered[0]
        why = f"its console shows {len(offered)} different SSH host keys since its disk was made anew"
        if why := why if offered else "" if server.host_key else server.fault:
            self._ops.fail(
                op, Failure(FailureClass.NODE_LOCAL, f"no SSH host key that can be believed: {why}")
            )
        return None

    def _old_boot(self, news: NodeProgress, record: NodeRecord) -> bool:
        """Tell whether the node was found as it was before; or its console still showed the key of then."""
        if news.boot_id:
            return news.boot_id == record.boot_id
        return bool(news.failure and "host key verification failed" in news.failure.text.lower())

    def _may_still_boot(self, op: Operation) -> bool:
        """A node that reboots itself (slurmd's RebootProgram), or a slow cloud: the old boot may answer."""
        first = self._first_seen.setdefault(op.id, self._world.now())
        return self._world.now() - first < self._world.cluster.failure.boot_timeout

    def poll(self) -> None:
        """Take the news of each play."""
        for play in list(self._plays):
            result = play.run.poll()
            for news in play.run.progress():
                play.heard = self._world.clock.monotonic()
                op = next((op for op in self._ops.of(play.operations) if op.node == news.node), None)
                if op is None or op.phase != phases.CONFIGURING:
                    continue
                record = self._world.record(op.node)
                if news.ok:
                    self._world.save(replace(record, boot_id=news.boot_id))
                    self._ops.move(op, phases.REGISTERING)
                elif self._old_boot(news, record) and self._may_still_boot(op):
                    self._ops.move(op, phases.BOOTING)
                else:
                    self._ops.fail(op, news.failure or Failure(FailureClass.NODE_LOCAL, "Ansible failed"))
            if result is None:
                if self._world.now() > play.deadline:
                    play.run.kill()
                continue
            self._plays.remove(play)
            self._world.journal.drop_run(play.run.record.id)
            self._world.playbooks.forget(play.run.record)
            for op in self._ops.of(play.operations):
                if op.phase == phases.CONFIGURING:
                    text = result.text or "Ansible ended without a word on this node"
                    self._ops.fail(op, Failure(result.failure, text))
