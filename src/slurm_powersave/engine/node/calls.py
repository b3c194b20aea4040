"""What a step reads of, and says to, the outside about its node. Trouble is logged, and is None or False."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from slurm_powersave.decide.node import guard
from slurm_powersave.decide.node.admin_state import NO_REASON, state_by_admin
from slurm_powersave.engine.world import World
from slurm_powersave.model.errors import CloudError, SlurmError
from slurm_powersave.model.nodes import AdminState, Operation, Server, SlurmNode, StateServer
from slurm_powersave.model.permit import Permit, needs_permit
from slurm_powersave.ports.cloud import Cloud

log = logging.getLogger("slurm_powersave")


class NodeCalls:
    """Readings and commands that the steps of all modes share."""

    def __init__(self, world: World) -> None:
        self._world = world

    def servers(self, op: Operation) -> tuple[Server, ...] | None:
        """The node's servers as the cloud lists them, read since the operation's phase began."""
        return self._servers(op, op.asked)

    def listed_at(self, op: Operation) -> float:
        """When that was read, on the monotonic clock."""
        view = self._world.cloud_views.get(self._world.recorded_spec(op.node).cloud)
        return view.began if view else self._world.now()

    def servers_lately(self, op: Operation) -> tuple[Server, ...] | None:
        """The same, as listed at any moment since the operation began."""
        return self._servers(op, op.begun)

    def _servers(self, op: Operation, newer_than: int) -> tuple[Server, ...] | None:
        view = self._world.cloud_views.get(self._world.recorded_spec(op.node).cloud)
        return view.of_node(op.node, newer_than) if view else self._held(op)

    def _held(self, op: Operation) -> tuple[Server, ...] | None:
        """Without an adapter the state tells of the server, and the shard's map which operation made it."""
        record = self._world.record(op.node)
        state = self.state(record.shard) if record.shard else {}
        if state is None:
            return None
        held = state.get(op.node)
        server_id = held.id if held else record.server_id
        written = self._world.terraform.nodes(record.shard).get(op.node) if record.shard else None
        tags = frozenset({f"operation={written.operation}"} if written else ())
        return (Server(server_id, op.node, "ACTIVE", tags=tags),) if server_id else ()

    def cloud(self, op: Operation) -> Cloud | None:
        """Return the adapter of the node's cloud, if it has one."""
        return self._world.clouds.get(self._world.recorded_spec(op.node).cloud)

    def shard_of(self, op: Operation) -> str | None:
        """Return the shard whose state holds the node, "" if none does, None if that can't be read."""
        shard = self._world.record(op.node).shard
        if not shard:
            return ""
        state = self.state(shard)
        return None if state is None else shard if op.node in state else ""

    def state(self, shard: str) -> Mapping[str, StateServer] | None:
        """Return the servers of a shard's state; None if it can't be read."""
        return self._world.states.readable(shard)

    def forget_server(self, op: Operation) -> None:
        """The cloud has no server of this name: neither has the journal, and the state is told by `tidy`."""
        record = self._world.record(op.node)
        if record.shard:
            self._world.journal.set_dirty(record.shard, True)
        if record.shard or record.server_id:
            self._world.save(replace(record, shard="", server_id=""))

    def say(self, op: Operation, what: str, command: Callable[[], None]) -> bool:
        """Give Slurm or the cloud a command."""
        try:
            command()
        except (SlurmError, CloudError) as error:
            log.warning("op=%s node=%s %s: %s", op.id, op.node, what, error)
            return False
        return True

    def remember_admin_state(self, node: SlurmNode, state: str) -> None:
        """Remember what somebody else has set, before it is taken away; `set_again` puts it back.

        POWER_UP takes the reason of a DRAIN away (POWER_UP_TAKES_REASON): what was seen before counts.
        """
        known = self._world.journal.admin_states().get(node.name)
        reason = node.reason or (known.reason if known and known.state == state else "") or NO_REASON
        self._world.journal.save_admin_states([AdminState(node.name, state, reason)], [])

    def reason_again(self, op: Operation, node: SlurmNode) -> None:
        """Give what somebody else had set its reason again, where POWER_UP took it away."""
        admin_state = self._world.journal.admin_states().get(node.name)
        if admin_state and node.has(admin_state.state) and not node.reason:
            self.set_again(op, node, admin_state)

    def set_again(self, op: Operation, node: SlurmNode, admin_state: AdminState) -> bool:
        """Put back what somebody else had set, with its reason; False if that is not possible now.

        A node that is coming up is not drained: the jobs that wait for it would be requeued.
        """
        if node.has(admin_state.state):
            update = self._world.slurm.update_nodes
            return self.say(op, "reason", lambda: update([op.node], reason=admin_state.reason))
        permits = guard.set_again(node, admin_state.state)
        if not permits and needs_permit(admin_state.state):
            return False
        return self.tell(op, permits[0].act if permits else admin_state.state, admin_state.reason, permits)

    def tell(self, op: Operation, state: str, reason: str = "", permits: Sequence[Permit] = ()) -> bool:
        """Set the node's state in Slurm."""
        update = self._world.slurm.update_nodes
        return self.say(op, state, lambda: update([op.node], state=state, reason=reason, permits=permits))


def set_by_others(world: World, node: SlurmNode) -> str:
    """Return the DRAIN, DOWN or FAIL that somebody else has set.

    One without a reason is none of theirs where we have drained the node: POWER_UP took our reason away.
    """
    backoff = world.journal.node_backoffs().get(node.name)
    return (
        "" if backoff and backoff.in_slurm and node.has("DRAIN") and not node.reason else state_by_admin(node)
    )
