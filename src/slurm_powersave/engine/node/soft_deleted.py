"""A server that the cloud keeps for a while after its deletion: it holds its address, so the next is refused.

Nova shows it to who asks for its id, as SOFT_DELETED, and in no listing (reclaim_instance_interval).
"""

import logging
import re
from dataclasses import replace

from slurm_powersave.engine.node.guarding import Guarding
from slurm_powersave.engine.operations import Operations
from slurm_powersave.engine.world import World
from slurm_powersave.model import phases
from slurm_powersave.model.errors import CloudError
from slurm_powersave.model.nodes import Failure, Operation, Server
from slurm_powersave.model.permit import Permit

log = logging.getLogger("slurm_powersave")

_HELD = re.compile(r"already in use on instance ([A-Za-z0-9-]+)")
"""Nova, FixedIpAlreadyInUse."""
_TRIES = 3
"""Creations of one operation that are begun again for it: the address is free a moment after it is gone."""


class SoftDeleted:
    """Makes room for a creation that such a server is in the way of."""

    def __init__(self, world: World, operations: Operations, guard: Guarding) -> None:
        self._world, self._ops, self._guard = world, operations, guard
        self._purged: dict[str, str] = operations.until_end({})
        """Operation -> the server that was deleted for good for it."""
        self._tries: dict[str, int] = operations.until_end({})

    def in_the_way(self, op: Operation, failure: Failure) -> Failure | None:
        """Delete it for good if it was this node's, and begin again (None); else say who has the address."""
        found = _HELD.search(failure.text)
        cloud = self._world.clouds.get(self._world.recorded_spec(op.node).cloud)
        if not found or cloud is None:
            return failure
        try:
            server = cloud.server(found[1])
            begins = self._tries.get(op.id, 0) < _TRIES and (
                self._purged.get(op.id) == found[1] if server is None else self._purge(op, server)
            )
        except CloudError as error:
            log.warning("op=%s node=%s server %s: %s", op.id, op.node, found[1], error)
            return failure
        if begins:
            self._tries[op.id] = self._tries.get(op.id, 0) + 1
            self._ops.move(op, phases.DELETE_QUEUED, shard="")
            return None
        if server is None:
            return failure
        what = "deleted, and kept by the cloud (SOFT_DELETED)" if _is_soft(server) else server.status
        said = f"{failure.text} ({server.name}, a server of this cluster: {what})"
        return replace(failure, text=said)

    def _purge(self, op: Operation, server: Server) -> bool:
        if not _is_soft(server) or f"node={op.node}" not in server.tags:
            return False
        answers = self._guard.deletions(op, (server,), op.begun) or []
        for permit in (answer for answer in answers if isinstance(answer, Permit)):
            log.warning(
                "op=%s node=%s server %s was kept by the cloud: deleted for good", op.id, op.node, server.id
            )
            self._guard.record(permit, op.id)
            self._world.clouds[self._world.recorded_spec(op.node).cloud].delete(server.id, permit)
            self._purged[op.id] = server.id
            return True
        return False


def _is_soft(server: Server) -> bool:
    return server.status == "SOFT_DELETED"
