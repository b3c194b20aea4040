"""Deletes a node's servers with the guard's permits, by Terraform or by their ids, until they are gone."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace

from slurm_powersave.decide.node.guard import Refusal
from slurm_powersave.decide.node.way import Way
from slurm_powersave.engine.durations import Looks
from slurm_powersave.engine.node.attempts import Attempts
from slurm_powersave.engine.node.blocked import Blocked
from slurm_powersave.engine.node.calls import NodeCalls
from slurm_powersave.engine.node.guarding import Guarding
from slurm_powersave.engine.node.ways import Ways
from slurm_powersave.engine.operations import Operations
from slurm_powersave.engine.runs.batches import Batches
from slurm_powersave.engine.world import World
from slurm_powersave.model import phases
from slurm_powersave.model.errors import CloudError
from slurm_powersave.model.modes import Mode
from slurm_powersave.model.nodes import AdminState, Operation, Server, SlurmNode
from slurm_powersave.model.permit import Permit

log = logging.getLogger("slurm_powersave")


class Deletions:
    """Handles the phases from DELETE_QUEUED to RELEASING, except those of the batches."""

    def __init__(
        self,
        world: World,
        operations: Operations,
        batches: Batches,
        calls: NodeCalls,
        guard: Guarding,
        ways: Ways,
    ) -> None:
        self._world, self._ops, self._batches, self._ways = world, operations, batches, ways
        self._timing = world.timing
        self._calls, self._guard = calls, guard
        self._asked = Attempts(operations, world.clock, world.timing)
        """Deletions by id."""
        self._said: dict[str, str] = operations.until_end({})
        """Operation -> what the cloud answered to the last one, if it refused."""
        self._blocked = Blocked(world, operations, calls, guard)
        self._unsure = operations.until_end(Looks())
        """Operation -> for how long evidence is missing for a deletion that has to be asked for again."""
        self._refused: dict[str, float] = operations.until_end({})
        """Operation -> when Slurm last refused to take its node back."""
        self.handlers: dict[str, Callable[[Operation], None]] = {
            phases.DELETE_QUEUED: self._delete_queued,
            phases.VERIFYING: self._verifying,
            phases.RELEASING: self._releasing,
        }

    def check(self, op: Operation, servers: tuple[Server, ...]) -> None:
        """Begin a deletion, or end it as refused by the guard, or wait a little for missing evidence."""
        found = self.permits(op, servers)
        if isinstance(found, Refusal):
            node = self._world.slurm_view.node(op.node, op.asked)
            patience = (
                self._timing.evidence_wait if node and node.has("COMPLETING") else self._timing.slurm_lag
            )
            if not found.waits or self._ops.waited(op, self._world.slurm_view.began) > patience:
                self._ops.finish(op, phases.REFUSED, found.why)
        elif found:
            self._ops.move(op, phases.DELETE_QUEUED)

    def permits(self, op: Operation, servers: tuple[Server, ...]) -> list[Permit] | Refusal | None:
        """Ask the guard for all of the node's servers; None while what it needs can't be read."""
        answers = self._guard.deletions(op, servers, op.asked, self._world.now() - self._timing.evidence_age)
        if answers is None:
            return None
        refused = next((answer for answer in answers if isinstance(answer, Refusal)), None)
        return refused or [answer for answer in answers if isinstance(answer, Permit)]

    def _delete_queued(self, op: Operation) -> None:
        """Choose between Terraform (the engine's loop batches these) and the server's id."""
        permits = self._allowed(op)
        if permits is None or self._ways.of(op, has_servers=bool(permits)) is not Way.SERVER_ID:
            return
        record = self._world.record(op.node)
        if shard := self._calls.shard_of(op):
            self._world.journal.set_dirty(shard, True)
        self._world.save(replace(record, shard=""))
        if not all(self._asked.due(op.id, permit.subject, self._timing.refused_again) for permit in permits):
            return
        if not all([self._delete_by_server_id(op, permit) for permit in permits]):
            return
        self._ops.move(op, phases.VERIFYING)

    def may_delete(self, op: Operation) -> bool:
        """Read the state again just before the act: it may have changed while the operation waited."""
        return bool(self._allowed(op))

    def _allowed(self, op: Operation) -> list[Permit] | None:
        """Return the permits for all of the node's servers, an empty list if there are none; None: not now.

        An operation that is refused for good is ended here, and its server is kept.
        """
        servers = self._calls.servers(op)
        found = self.permits(op, servers) if servers else [] if servers is not None else None
        if not isinstance(found, Refusal):
            return found
        if found.waits and self._ops.waited(op, self._world.slurm_view.began) <= self._timing.evidence_wait:
            return None
        if op.failure is None and op.mode is Mode.RESUME:
            self._ops.move(op, phases.CHECKING)
        else:
            self._keep(op, found.why)
        return None

    def _keep(self, op: Operation, why: str) -> None:
        """End an operation whose deletion lacks evidence, and keep the server."""
        outcome = phases.FAILED if op.failure else phases.REFUSED
        said = f"{op.text}; its server is kept: {why}" if op.text else why
        log.warning("op=%s node=%s its server is kept: %s", op.id, op.node, why)
        self._batches.results.by_server_id.discard(op.id)
        self._ops.finish(op, outcome, said)

    def _since(self, moments: Mapping[str, float], key: str) -> float:
        """Return how long ago something was; infinitely long, if it never was."""
        return self._world.now() - moments.get(key, float("-inf"))

    def _delete_by_server_id(self, op: Operation, permit: Permit) -> bool:
        self._asked.tried(op.id, permit.subject)
        self._guard.record(permit, op.id)
        try:
            self._world.clouds[self._world.recorded_spec(op.node).cloud].delete(permit.subject, permit)
        except CloudError as error:
            said = error.why or error.what
            if self._said.get(op.id) != said:
                log.warning("op=%s node=%s delete %s: %s", op.id, op.node, permit.subject, error)
            self._said[op.id] = said
            return False
        self._said.pop(op.id, None)
        return True

    def look(self, op: Operation, *, held: bool) -> None:
        """See whether a deletion does not end; `held` tells whether a person has paused it."""
        self._blocked.look(op, held=held, said=self._said.get(op.id, ""))

    def _verifying(self, op: Operation) -> None:
        servers = self._calls.servers(op) if self._calls.cloud(op) else ()
        if servers is None:
            return
        if servers:
            waited = self._ops.waited(op, self._calls.listed_at(op))
            late = [
                s
                for s in servers
                if waited > self._timing.deletion_again
                and self._asked.due(op.id, s.id, self._timing.deletion_again)
            ]
            found = self.permits(op, tuple(late)) if late else None
            for permit in found if isinstance(found, list) else ():
                if not self._asked.count(op.id, permit.subject):
                    log.warning("op=%s node=%s server %s is still there", op.id, op.node, permit.subject)
                self._delete_by_server_id(op, permit)
            if isinstance(found, Refusal):
                seconds = self._unsure.look(op.id, self._world.now())
                if not found.waits or seconds > self._timing.evidence_wait:
                    self._keep(op, found.why)
            elif found:
                self._unsure.forget(op.id)
            return
        self._batches.results.by_server_id.discard(op.id)
        self._calls.forget_server(op)
        op = self._blocked.over(op)
        if op.failure is not None:
            self._ops.finish(op, phases.FAILED)
        elif op.row.create:
            self._ops.move(op, phases.QUEUED)
        else:
            self._ops.move(op, phases.RELEASING)

    def _releasing(self, op: Operation) -> None:
        """Give the node back before Slurm's own timer does, unless an administrator has set DRAIN or DOWN."""
        node = self._world.slurm_view.node(op.node, op.asked)
        if node is None:
            return
        if op.mode is Mode.RESUME_FAIL:
            self._give_back(
                op, node.has("DOWN") and "ResumeTimeout" in node.reason and not node.has("DRAIN", "FAIL")
            )
        elif (admin_state := self._lifted(op)) and not (
            node.has(admin_state.state) and node.reason == admin_state.reason
        ):
            self._put_back(op, node, admin_state)
        else:
            # RESUME on POWERING_DOWN gives POWERED_DOWN at once, but clears DRAIN and FAIL with it.
            # One that we have drained is not to get a job now; who drained it releases it.
            held = node.has("DRAIN", "DOWN", "FAIL", "MAINTENANCE") or op.node in self._world.journal.drains()
            self._give_back(op, node.has("POWERING_DOWN") and not held)

    def _lifted(self, op: Operation) -> AdminState | None:
        """Return the state that a person had set and that a suspend --force has cleared: it is put back."""
        return self._world.journal.admin_states().get(op.node) if self._guard.forced(op) else None

    def _put_back(self, op: Operation, node: SlurmNode, admin_state: AdminState) -> None:
        if self._since(self._refused, op.id) < self._timing.refused_again:
            return
        if not self._calls.set_again(op, node, admin_state):
            self._refused[op.id] = self._world.now()

    def _give_back(self, op: Operation, wanted: bool) -> None:
        if wanted and self._since(self._refused, op.id) < self._timing.refused_again:
            return
        if wanted and not self._calls.tell(op, "RESUME"):
            self._refused[op.id] = self._world.now()
            return
        self._refused.pop(op.id, None)
        self._ops.finish(op, phases.DONE)
