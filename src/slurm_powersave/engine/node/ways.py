"""How each queued delete or change is to be done, from what the engine knows of it now."""

from collections.abc import Collection

from slurm_powersave.decide.node.way import Queued, Way, choose
from slurm_powersave.engine.node.calls import NodeCalls
from slurm_powersave.engine.operations import Operations
from slurm_powersave.engine.world import World
from slurm_powersave.model import phases
from slurm_powersave.model.nodes import Operation


class Ways:
    """Asks decide/node/way.py for the operations in DELETE_QUEUED and UPDATE_QUEUED."""

    def __init__(
        self, world: World, operations: Operations, calls: NodeCalls, by_id: Collection[str]
    ) -> None:
        """`by_id` are the operations that Terraform could not do."""
        self._world, self._ops, self._calls, self._by_id = world, operations, calls, by_id

    def of(self, op: Operation, *, has_servers: bool = True) -> Way:
        """Say how it is done; `has_servers` tells whether the cloud lists a server of the node."""
        return self._choose(op, self._calls.shard_of(op), has_servers)

    def shard(self, op: Operation) -> str:
        """Return the shard in which Terraform is to do it; empty if it is not to, or not now."""
        shard = self._calls.shard_of(op)
        return shard if shard and self._choose(op, shard, True) is Way.TERRAFORM else ""

    def _choose(self, op: Operation, shard: str | None, has_servers: bool) -> Way:
        queued = Queued(
            shard,
            self._ops.waited(op),
            has_servers=has_servers,
            has_adapter=self._calls.cloud(op) is not None,
            terraform_failed=op.id in self._by_id,
            no_difference=op.phase == phases.UPDATE_QUEUED and self._is_the_same(op),
        )
        return choose(queued, self._world.timing.busy_shard)

    def _is_the_same(self, op: Operation) -> bool:
        """Tell whether the node is recorded with what is asked for already."""
        return self._world.record(op.node).node.value(op.row.update) == op.target
