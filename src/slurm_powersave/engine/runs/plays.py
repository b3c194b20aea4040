"""Ansible runs: a node is configured as soon as its sshd answers, with those that are ready with it."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace

from slurm_powersave.decide.node import host_keys
from slurm_powersave.decide.node.host_keys import Pin
from slurm_powersave.engine.durations import Looks
from slurm_powersave.engine.faults import Faults
from slurm_powersave.engine.operations import Operations
from slurm_powersave.engine.runs import first_nodes
from slurm_powersave.engine.world import World
from slurm_powersave.model import machine, phases
from slurm_powersave.model.errors import CloudError, FailureClass, MachineError, PowersaveError
from slurm_powersave.model.nodes import (
    Failure,
    NodeProgress,
    NodeRecord,
    Operation,
    RunResult,
    Server,
    ShardRun,
)
from slurm_powersave.ports.run import Run

log = logging.getLogger("slurm_powersave")

_PLAYS = 4
"""Plays at once at most that have something to tell: each is bound by the processor of the control host."""
_MOST_PLAYS = 16
"""Plays at once in all: each takes some 100 MB."""


@dataclass
class _Play:
    run: Run
    operations: tuple[str, ...]
    heard: float
    """When it began or a node had news, on the monotonic clock."""
    late: bool = False
    """Whether it was ended because it took too long."""


class Plays:
    """Starts plays for nodes that answer, and takes each node on when its own part is done."""

    def __init__(self, world: World, operations: Operations, faults: Faults) -> None:
        self._world, self._ops, self._faults = world, operations, faults
        self._timing = world.timing
        self._plays: list[_Play] = []
        self._ready: dict[str, float] = {}
        """Operation -> when its node answered."""
        self._queued = operations.until_end(Looks())
        """Operation -> for how long its node has answered and waits for a play."""
        self._probed: dict[str, float] = {}
        """Operation -> when its node was last asked: who waited longest comes first."""
        self._old_boots = Looks()
        """Operation -> for how long its node was found in its old boot."""
        self._running = Looks()
        """For how long we have seen each play run."""
        self._keys: dict[tuple[str, int], str] = {}
        """Operation and the number of its boot's beginning -> the host key that the cloud told since."""
        self._asked: dict[str, float] = operations.until_end({})
        """Operation -> when the cloud was last asked for its server's host key."""

    @property
    def running(self) -> bool:
        """Whether an Ansible process of ours runs."""
        return bool(self._plays)

    def reattach(self, saved: ShardRun) -> None:
        """Take up a play that an earlier engine started; its time begins anew."""
        run = self._world.playbooks.reattach(saved.record)
        self._plays.append(_Play(run, saved.operations, self._world.now()))

    @property
    def _full(self) -> bool:
        """Whether a further play has to wait: for the processor, or for memory."""
        since = self._world.now() - self._timing.play_quiet
        return len(self._plays) >= _MOST_PLAYS or sum(one.heard >= since for one in self._plays) >= _PLAYS

    def start(self) -> None:
        """Start a play for the nodes that are ready, if it is time."""
        now = self._world.now()
        keys = self._ask_all(now)
        self._ready = {op_id: at for op_id, at in self._ready.items() if op_id in keys}
        if not self._ready or self._full:
            return
        coming = len(keys) - len(self._ready)
        if coming and now - min(self._ready.values()) < self._timing.play_gather:
            return
        ops = self._faults.groups(self._ops.of(self._ready))[0]
        with self._faults.during(*(op.id for op in ops)):
            self._configure(ops, keys)

    def _configure(self, ops: list[Operation], keys: Mapping[str, str]) -> None:
        nodes = [self._world.recorded_spec(op.node) for op in ops]
        try:
            boots = {op.node: self._world.record(op.node).boot_id for op in ops}
            disks = {op.node: self._world.record(op.node).disk for op in ops}
            run = self._world.playbooks.configure(nodes, {op.node: keys[op.id] for op in ops}, boots, disks)
        except PowersaveError as error:
            if machine.is_at_fault(error):
                raise
            for op in ops:
                self._ops.fail(op, Failure(FailureClass.CONFIG, error.line))
            return
        play = _Play(run, tuple(op.id for op in ops), self._world.now())
        try:
            self._world.journal.save_run(ShardRun(run.record, "", play.operations))
        except Exception:
            run.kill()  # nobody would know of it, and the next engine starts another one
            raise
        for op in ops:
            self._ops.move(op, phases.CONFIGURING)
            del self._ready[op.id]
        self._plays.append(play)

    def _ask_all(self, now: float) -> dict[str, str]:
        """Ask the nodes that boot whether they answer; return the host keys of those whose key is known."""
        keys: dict[str, str] = {}
        booting = self._ops.in_phase(phases.BOOTING)
        self._old_boots.keep({op.id for op in (*booting, *self._ops.in_phase(phases.CONFIGURING))})
        self._probed = {op.id: self._probed.get(op.id, float("-inf")) for op in booting}
        self._keys = {(op.id, op.asked): key for op in booting if (key := self._keys.get((op.id, op.asked)))}
        for op in sorted(booting, key=lambda op: self._probed[op.id]):
            with self._faults.during(op.id):
                key = self._ask(op, now)
            if key is not None:
                keys[op.id] = key
        return keys

    def _ask(self, op: Operation, now: float) -> str | None:
        """Ask one node, if there is time for it; return its host key if that is known."""
        patient = self._world.now() - now < self._timing.probing
        key = self._host_key(op, patient=patient)
        if op.id in self._ready:
            return None if key is None or self._unserved(op) else key
        if not patient:
            return key
        self._probed[op.id] = now
        if key is not None and self._world.playbooks.reachable(self._world.recorded_spec(op.node)):
            self._ready[op.id] = self._world.now()
            self._queued.begin(op.id, self._world.now())
        else:
            self._silent(op)
        return key

    def _unserved(self, op: Operation) -> bool:
        """Fail a node that answers and has waited too long for a play: it has booted, and is not at fault."""
        limit = self._world.cluster.failure.configure_timeout
        if self._queued.look(op.id, self._world.now()) <= limit:
            return False
        text = f"it answers, and no play could begin for it within {limit:g} s"
        self._ops.fail(op, Failure(FailureClass.UNKNOWN, text))
        return True

    @property
    def _limit(self) -> float:
        """Seconds after which a play is ended from here; it ends itself before, and says by which task."""
        return self._world.cluster.failure.configure_timeout + self._timing.play_end

    def _silent(self, op: Operation) -> None:
        """Judge a node that was asked just now and did not answer. What can't be asked is not judged."""
        view = self._world.cloud_views.get(self._world.recorded_spec(op.node).cloud)
        if view and view.servers(op.asked) is None:
            return
        limit, waited = self._world.cluster.failure.boot_timeout, self._ops.waited(op)
        if waited > limit and self._ops.get(op.id) is op:
            self._ops.fail(op, Failure(FailureClass.NODE_LOCAL, f"did not boot: no SSH within {limit:g} s"))

    def _host_key(self, op: Operation, *, patient: bool) -> str | None:
        """Return the server's host key; None while it is not known.

        Empty if the one that is recorded is this disk's: nothing that the console shows now takes its place.
        Also where the cloud has no adapter.

        A listing may leave it out: then the cloud is asked for the one server, unless we are not `patient`.
        """
        cloud = self._world.recorded_spec(op.node).cloud
        view, record = self._world.cloud_views.get(cloud), self._world.record(op.node)
        if view is None:
            return ""
        if key := self._keys.get((op.id, op.asked)):
            return key
        servers = view.of_node(op.node, op.asked) or ()
        active = next((s for s in servers if s.id == op.server_id and s.status == "ACTIVE"), None)
        if active is None:
            return None
        pin = self._world.playbooks.pin(record.node)
        if host_keys.believed(pin, record.disk, kept=not (op.row.create or op.row.update == "image")):
            return ""
        if active.host_key:
            return self._taken(op, pin, active)
        now = self._world.now()
        if patient and now - self._asked.get(op.id, float("-inf")) >= self._timing.host_key_again:
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
            self._keys[op.id, op.asked] = offered[0]
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
        limit = self._world.cluster.failure.boot_timeout
        return self._old_boots.look(op.id, self._world.now()) < limit

    def poll(self) -> None:
        """Take the news of each play."""
        for play in list(self._plays):
            with self._faults.during(play.run.record.id, *play.operations):
                self._poll(play)

    def _poll(self, play: _Play) -> None:
        result = play.run.poll()
        for news in play.run.progress():
            play.heard = self._world.now()
            op = next((op for op in self._ops.of(play.operations) if op.node == news.node), None)
            if op is not None and op.phase == phases.CONFIGURING:
                self._news(op, news, play)
        if result is None:
            if self._running.look(play.run.record.id, self._world.now()) > self._limit:
                play.late = True
                play.run.kill()
            return
        if not result.machine:
            self._fail_silent(play, result)
        # Only now: an engine that is built anew before this reads the run's output once more.
        self._world.journal.drop_run(play.run.record.id)
        self._plays.remove(play)
        self._running.forget(play.run.record.id)
        self._world.playbooks.forget(play.run.record)
        if result.machine:
            raise MachineError("a play could not run", why=result.text)

    def _news(self, op: Operation, news: NodeProgress, play: _Play) -> None:
        record = self._world.record(op.node)
        if news.ok:
            self._world.save(replace(record, boot_id=news.boot_id))
            first_nodes.remember(self._world, op, news)
            self._ops.move(op, phases.REGISTERING)
        elif self._old_boot(news, record) and self._may_still_boot(op):
            self._ops.move(op, phases.BOOTING)
        else:
            told = news.failure or Failure(FailureClass.NODE_LOCAL, "Ansible failed")
            self._ops.fail(op, self._took_too_long() if play.late else told)

    def _fail_silent(self, play: _Play, result: RunResult) -> None:
        for op in self._ops.of(play.operations):
            if op.phase == phases.CONFIGURING:
                text = result.text or "Ansible ended without a word on this node"
                failure = Failure(result.failure, text)
                self._ops.fail(op, self._took_too_long() if play.late else failure)

    def _took_too_long(self) -> Failure:
        limit = self._world.cluster.failure.configure_timeout
        text = f"Ansible was ended: the node was not configured within {limit:g} s (configure_timeout)"
        return Failure(FailureClass.NODE_LOCAL, text)
