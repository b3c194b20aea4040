"""Deletions that do not end: the operation and Slurm say so, and nobody waits for the node any longer.

The deletion itself goes on being tried. As long as it has not ended its node is drained and in backoff, so
that jobs go to other nodes; what waits for the node is given back to Slurm.
"""

import logging

from slurm_powersave.decide.node import failure_policy, undeletable
from slurm_powersave.engine.durations import Looks
from slurm_powersave.engine.node.calls import NodeCalls, set_by_others
from slurm_powersave.engine.node.guarding import Guarding
from slurm_powersave.engine.operations import Operations
from slurm_powersave.engine.world import World
from slurm_powersave.model import phases
from slurm_powersave.model.errors import FailureClass
from slurm_powersave.model.nodes import Failure, NodeBackoff, Operation, SlurmNode
from slurm_powersave.model.permit import Act, Permit

log = logging.getLogger("slurm_powersave")


class Blocked:
    """Notices what does not end, by how long it has been tried while we were looking."""

    def __init__(self, world: World, operations: Operations, calls: NodeCalls, guard: Guarding) -> None:
        self._world, self._ops, self._calls, self._guard = world, operations, calls, guard
        self._tried = operations.until_end(Looks())
        """Operation -> for how long its deletion is tried."""
        self._looked: dict[str, float] = operations.until_end({})
        self._found: dict[str, Failure] = operations.until_end({})
        """Operation -> why its deletion does not end."""
        self._shown: dict[str, str] = operations.until_end({})
        """Operation -> what of that stands in its text."""

    def look(self, op: Operation, *, held: bool, said: str) -> None:
        """Look at a deletion.

        Args:
            op: whose it is.
            held: whether a person has paused it.
            said: what the cloud answered last to its deletion by id.
        """
        now = self._world.now()
        if held or self._blind(op):
            self._tried.forget(op.id)
            return
        late = self._tried.look(op.id, now) >= undeletable.AFTER
        if late and now - self._looked.get(op.id, float("-inf")) >= self._world.timing.blocked_look:
            self._looked[op.id] = now
            self._look(op, said)
        if found := self._found.get(op.id):
            self._give_back(op, found)

    def _blind(self, op: Operation) -> bool:
        """Nothing is deleted while Slurm or the cloud can't be read; the operation says that by itself."""
        view, slurm = (
            self._world.cloud_views.get(self._world.recorded_spec(op.node).cloud),
            self._world.slurm_view,
        )
        snapshot = slurm.snapshot()
        unread = snapshot is not None and op.node in snapshot.unreadable
        return bool(unread or slurm.error or (view and view.error))

    def over(self, op: Operation) -> Operation:
        """A deletion has ended: what was said of it is true no more."""
        seconds = self._tried.look(op.id, self._world.now())
        self._tried.forget(op.id)
        if self._found.pop(op.id, None) is None or seconds < undeletable.AFTER:
            return op
        return self._ops.update(op, text=f"{op.text}; gone after {seconds / 60:.0f} minutes")

    def _look(self, op: Operation, said: str) -> None:
        servers = self._calls.servers(op)
        if not servers:
            return  # it can't be read now, or is about to be found gone
        locked = next((one for one in servers if one.locked), None)
        found = undeletable.failure(locked or servers[0], said)
        before = self._found.get(op.id)
        if locked is None and before and before.failure is FailureClass.CONFIG:
            # It has been unlocked: the deletion has its time once more before anything is said.
            self._found[op.id] = found
            self._looked[op.id] += undeletable.AFTER
            return
        if before != found:
            log.error("op=%s node=%s %s", op.id, op.node, found.text)
        self._found[op.id] = found
        shown, self._shown[op.id] = self._shown.get(op.id, ""), found.text
        if op.mode.brings_up and op.failure is None:
            self._ops.fail(op, found)  # Slurm is told; then the deletion goes on
            return
        if found.text not in op.text:
            text = op.text.replace(shown, found.text) if shown else f"{op.text}; {found.text}"
            op = self._ops.update(op, text=text.removeprefix("; "))
        self._back_off(op, found)

    def _back_off(self, op: Operation, found: Failure) -> None:
        node = self._world.slurm_view.node(op.node, op.asked)
        if node is None:
            return
        old = self._world.journal.node_backoffs().get(op.node)
        times, soon = self._world.times, self._world.now() + self._world.timing.blocked_rest
        until = times.date(max(soon, times.moment(old.until) if old else soon))
        reason = failure_policy.reason(found.failure, found.text, op.id)
        # First the journal: a reason that is not recorded would never be taken back.
        self._world.journal.save_node_backoff(NodeBackoff(op.node, op.id, found.failure, reason, until, True))
        if node.reason != reason or not node.has("DRAIN"):
            self._tell(op, node, reason)

    def _tell(self, op: Operation, node: SlurmNode, reason: str) -> None:
        if node.has("DRAIN") and failure_policy.is_ours(node.reason):
            update = self._world.slurm.update_nodes
            self._calls.say(op, "reason", lambda: update([op.node], reason=reason))
        elif node.has("POWERING_DOWN", "POWERED_DOWN", "DOWN") and not set_by_others(self._world, node):
            permit = self._guard.telling(op, Act.DRAIN)
            if isinstance(permit, Permit):
                self._calls.tell(op, Act.DRAIN, reason, [permit])

    def _give_back(self, op: Operation, found: Failure) -> None:
        """What waits for the deletion would wait until Slurm's ResumeTimeout."""
        for other in self._ops.queue(op.node):
            if other.phase == phases.WAITING and other.mode.brings_up:
                self._ops.give_back(other, found)
