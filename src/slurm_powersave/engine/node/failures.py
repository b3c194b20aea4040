"""Telling Slurm of a failure, the time until the next try (backoff), and giving the node back.

The order is Slurm's (measured on 22.05.8, 24.11.5 and 26.05.5): POWER_DOWN_FORCE requeues the job; a DRAIN
set before the node is POWERING_DOWN is wiped at that moment; one set then stays, and without it Slurm would
ask for the same node again at once. Where it keeps jobs away until then a DRAIN comes first, too; alone it
would not do: it calls no SuspendProgram.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from slurm_powersave.decide.node import failure_policy
from slurm_powersave.decide.node.guard import is_registered
from slurm_powersave.engine.faults import Faults
from slurm_powersave.engine.node import dead_jobs
from slurm_powersave.engine.node.calls import NodeCalls, set_by_others
from slurm_powersave.engine.node.guarding import Guarding
from slurm_powersave.engine.operations import Operations
from slurm_powersave.engine.world import World
from slurm_powersave.model import phases
from slurm_powersave.model.errors import FailureClass, SlurmError
from slurm_powersave.model.nodes import NodeBackoff, Operation, SlurmJob, SlurmNode, SlurmSnapshot
from slurm_powersave.model.permit import Act, Permit
from slurm_powersave.model.slurm_versions import Difference

log = logging.getLogger("slurm_powersave")

_LET_GO = 3
"""Times that a requeued job's two minutes' wait is ended by us."""
_TRIES = 8
"""Times that Slurm is asked for what it refuses (POWER_DOWN_FORCE, DRAIN)."""


@dataclass
class _Requeued:
    job: int
    end: float


class Failures:
    """The FAILING phase, the backoff, and the jobs that waited for a failed node."""

    def __init__(self, world: World, operations: Operations, guard: Guarding, faults: Faults) -> None:
        self._world, self._ops, self._guard, self._faults = world, operations, guard, faults
        self._timing = world.timing
        self._calls = NodeCalls(world)
        self._told_at: dict[str, float] = operations.until_end({})
        self._tries: dict[str, tuple[int, float]] = operations.until_end({})
        """Operation -> how often Slurm has refused, and when it is asked again."""
        self._refusal = ""
        self._requeued: dict[int, _Requeued] = {}
        self._let_go: dict[int, tuple[int, float]] = {}
        """Job -> how often its wait was ended by us, and when it was last."""

    @property
    def requeued(self) -> list[int]:
        """The jobs that are expected back in the queue."""
        return list(self._requeued)

    def step(self) -> None:
        """Go on with all failing operations, requeued jobs and backoffs."""
        for op in self._ops.in_phase(phases.FAILING):
            snapshot = self._world.slurm_view.snapshot(op.asked)
            node = snapshot.nodes.get(op.node) if snapshot else None
            if snapshot and node:
                with self._faults.during(op.id):
                    self._failing(op, node, snapshot)
            elif snapshot and op.node in snapshot.unreadable:
                continue  # Slurm may know it
            elif snapshot and self._ops.waited(op, self._world.slurm_view.began) > self._timing.requeue_wait:
                # Slurm does not know the node any more: nobody is to be told, but its server is to go.
                self._clean_up(op)
        self._release_jobs()
        self._end_backoffs()

    def _failing(self, op: Operation, node: SlurmNode, snapshot: SlurmSnapshot) -> None:
        if node.has("POWERING_DOWN", "POWERED_DOWN"):
            self._begin_backoff(op, node)
        elif node.has("POWER_DOWN"):
            return  # it becomes POWERING_DOWN within a second
        elif is_registered(node) and node.in_use and not node.has("DOWN"):
            # It registered after all, and Slurm has put a job on it; NOT_RESPONDING changes nothing of that.
            self._ops.finish(op, phases.DONE, f"registered after a failure: {op.text}")
        elif self._world.now() - self._told_at.get(
            op.id, float("-inf")
        ) > self._timing.slurm_again and self._may_ask(op):
            jobs = [job for job in snapshot.jobs if op.node in job.nodes]
            if jobs and not op.jobs:
                op = self._ops.update(op, jobs=tuple(job.id for job in jobs))
            self._explain(op, jobs)
            if admin_state := set_by_others(self._world, node):
                # POWER_DOWN_FORCE wipes it (measured): it is put back when the node is POWERING_DOWN.
                self._calls.remember_admin_state(node, admin_state)
                self._backoff_of(op)
            elif self._world.slurm_has(Difference.DRAIN_HOLDS_DURING_POWER_DOWN):
                self._drain(op, self._backoff_of(op))
            if self._tell(op, Act.FORCE):
                self._told_at[op.id] = self._world.now()
            elif self._gives_up(op, "power down"):
                self._backoff_of(op)
                self._clean_up(self._ops.get(op.id) or op)

    def _explain(self, op: Operation, jobs: list[SlurmJob]) -> None:
        """Say on the job what happened: its owner sees AdminComment in `scontrol show job`."""
        text = failure_policy.reason(op.failure or FailureClass.UNKNOWN, f"{op.node}: {op.text}", op.id)
        for job in jobs:
            self._try(partial(dead_jobs.comment, self._world, job.id, text), op)

    def _backoff_of(self, op: Operation) -> NodeBackoff:
        """Return the node's backoff; recorded before Slurm is told, and once for an operation."""
        backoff = self._world.journal.node_backoffs().get(op.node)
        if backoff is None or (backoff.operation != op.id and not self._world.in_backoff(backoff)):
            record = self._world.record(op.node)
            self._world.save(replace(record, failures=record.failures + 1))
            backoff = self._new_backoff(op)
            self._world.journal.save_node_backoff(backoff)
        return backoff

    def _begin_backoff(self, op: Operation, node: SlurmNode) -> None:
        now = self._world.now()
        if not self._may_ask(op):
            return
        backoff = self._backoff_of(op)
        if (
            not set_by_others(self._world, node)
            and not self._set_again(op, node, backoff)
            and not self._gives_up(op, "drain")
        ):
            return
        self._tries.pop(op.id, None)
        op = self._ops.get(op.id) or op
        self._world.journal.save_node_backoff(
            NodeBackoff(backoff.node, backoff.operation, backoff.failure, backoff.reason, backoff.until, True)
        )
        self._told_at.pop(op.id, None)
        for job in op.jobs:
            self._requeued[job] = _Requeued(job, now + self._timing.requeue_wait)
        self._clean_up(op)

    def _clean_up(self, op: Operation) -> None:
        """Slurm knows, or can't be told: what is left of the node's server goes."""
        if self._ops.queue(op.node)[0].id == op.id:
            self._ops.move(op, phases.DELETE_QUEUED)
        else:
            self._ops.finish(op, phases.FAILED)  # what it has waited for deletes it

    def _set_again(self, op: Operation, node: SlurmNode, backoff: NodeBackoff) -> bool:
        """Drain the node; or put back what somebody else had set before the failure."""
        admin_state = self._world.journal.admin_states().get(op.node)
        if admin_state is None:
            return self._drain(op, backoff)
        if self._calls.set_again(op, node, admin_state):
            return True
        self._refusal = f"{admin_state.state} ({admin_state.reason})"
        return False

    def _may_ask(self, op: Operation) -> bool:
        return self._world.now() >= self._tries.get(op.id, (0, 0.0))[1]

    def _gives_up(self, op: Operation, what: str) -> bool:
        """A command that Slurm refuses is repeated ever more rarely, and a limited number of times."""
        count = self._tries.get(op.id, (0, 0.0))[0] + 1
        self._tries[op.id] = (count, self._world.now() + min(2.0**count, self._timing.refusal_longest))
        if count < _TRIES:
            return False
        self._ops.update(op, text=f"{op.text}; Slurm refuses to {what} the node: {self._refusal}")
        return True

    def _drain(self, op: Operation, backoff: NodeBackoff) -> bool:
        return self._tell(op, Act.DRAIN, backoff.reason)

    def _tell(self, op: Operation, act: Act, reason: str = "") -> bool:
        """Tell Slurm what may requeue the jobs that wait for the node."""
        permit = self._guard.telling(op, act)
        if not isinstance(permit, Permit):
            return False
        if act is Act.FORCE:
            self._guard.record(permit, op.id)
            self._world.seen.note([op.node], "forced")
        update = self._world.slurm.update_nodes
        return self._try(partial(update, [op.node], state=act, reason=reason, permits=[permit]), op)

    def _new_backoff(self, op: Operation) -> NodeBackoff:
        failure = op.failure or FailureClass.UNKNOWN
        failures = max(self._world.record(op.node).failures, 1)
        settings = self._world.cluster.failure
        end = self._world.now() + failure_policy.backoff_seconds(settings.rest, failure, failures)
        if failure is FailureClass.CAPACITY:
            end = min(end, self._another_flavor_at(op.node, end))
        until = failure_policy.FOREVER if failures >= settings.attempts else self._world.times.date(end)
        reason = failure_policy.reason(failure, op.text, op.id, until)
        return NodeBackoff(op.node, op.id, failure, reason, until)

    def _another_flavor_at(self, node: str, end: float) -> float:
        """Where the pool has several flavors: when one of them may be tried again, but not at once."""
        free = self._world.flavors.free_at(self._world.recorded_spec(node))
        moment = self._world.cluster.failure.rest[FailureClass.NODE_LOCAL]
        return end if free is None else max(free, self._world.now() + moment)

    def _release_jobs(self) -> None:
        """Let requeued batch jobs go at once: Slurm holds them for 120 s, and their bad nodes are held."""
        since = self._world.now() - self._timing.requeue_known
        self._let_go = {job: one for job, one in self._let_go.items() if one[1] >= since}
        snapshot = self._world.slurm_view.snapshot()
        if not snapshot or not self._requeued:
            return
        jobs = {job.id: job for job in snapshot.jobs}
        failing = {job for op in self._ops.in_phase(phases.FAILING) for job in op.jobs}
        for waiting in list(self._requeued.values()):
            job = jobs.get(waiting.job)
            if waiting.job in failing:
                continue  # another of its nodes is not held yet
            if job and job.state == "PENDING" and job.reason == "BeginTime":
                times, _ = self._let_go.get(job.id, (0, 0.0))
                if times < _LET_GO:
                    self._let_go[job.id] = (times + 1, self._world.now())
                    try:
                        self._world.slurm.update_job(job.id, StartTime="now")
                    except SlurmError as error:
                        log.warning("job=%d StartTime=now: %s", job.id, error)
                del self._requeued[waiting.job]
            elif self._world.now() > waiting.end:
                del self._requeued[waiting.job]

    def due(self) -> list[NodeBackoff]:
        """Return the backoffs that have ended."""
        return [
            backoff
            for backoff in self._world.journal.node_backoffs().values()
            if not self._world.in_backoff(backoff)
        ]

    def _end_backoffs(self) -> None:
        for backoff in self.due():
            part = f"ending the backoff of {backoff.node}"
            if not self._faults.backoff_error(part):
                with self._faults.during(part):
                    self._end_backoff(backoff)

    def _end_backoff(self, backoff: NodeBackoff) -> None:
        node = self._world.slurm_view.node(backoff.node, since=self._world.times.moment(backoff.until))
        if node is None or self._ops.queue(backoff.node):
            return
        if node.has("DRAIN") and node.reason == backoff.reason and failure_policy.is_ours(backoff.reason):
            try:
                self._world.slurm.update_nodes([backoff.node], state="RESUME")
            except SlurmError as error:
                log.warning("node=%s backoff has ended, RESUME: %s", backoff.node, error)
                return
            log.info("node=%s backoff after op=%s has ended", backoff.node, backoff.operation)
        else:
            log.info("node=%s backoff has ended; others have changed its state: left as it is", backoff.node)
        self._world.journal.drop_node_backoff(backoff.node)

    def _try(self, command: Callable[[], None], op: Operation) -> bool:
        try:
            command()
        except SlurmError as error:
            log.warning("op=%s node=%s %s", op.id, op.node, error)
            self._refusal = error.why or error.what
            return False
        return True
