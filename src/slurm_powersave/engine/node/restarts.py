"""Restarts: the server of a node that Slurm has set DOWN is booted again, once, on our own account.

Slurm is told nothing until the node has registered. If it does not, the operation has failed and that is
all: the node stays DOWN, and is given up later if its server stays dead (engine/reconcile/dead_servers.py).
"""

from collections.abc import Callable

from slurm_powersave.decide.node.admin_state import Who, who
from slurm_powersave.decide.node.guard import Refusal
from slurm_powersave.decide.node.registration import Stage, registration
from slurm_powersave.engine.node.calls import NodeCalls
from slurm_powersave.engine.node.guarding import Guarding
from slurm_powersave.engine.operations import Operations
from slurm_powersave.engine.world import World
from slurm_powersave.model import phases
from slurm_powersave.model.errors import CloudError, FailureClass
from slurm_powersave.model.nodes import Failure, Operation


class Restarts:
    """The handlers of restarts; between BOOTING and REGISTERING the node is configured like any other."""

    def __init__(self, world: World, operations: Operations, calls: NodeCalls, guard: Guarding) -> None:
        self._world, self._ops, self._calls, self._guard = world, operations, calls, guard
        self._told_at: dict[str, float] = operations.until_end({})
        """Operation -> when Slurm was last told RESUME."""
        self.handlers: dict[str, Callable[[Operation], None]] = {
            phases.CHECKING: self._checking,
            phases.BOOTING: self._booting,
            phases.REGISTERING: self._registering,
        }

    def _checking(self, op: Operation) -> None:
        servers, cloud = self._calls.servers(op), self._calls.cloud(op)
        if cloud is None:
            self._ops.finish(op, phases.REFUSED, "a cloud without an adapter can't start a server")
            return
        if servers is None:
            return
        if self._world.journal.acts(op.id):
            # Recorded, and then the engine was killed: nobody knows whether the cloud was asked.
            self._ops.move(op, phases.BOOTING, server_id=self._world.record(op.node).server_id)
            return
        answer = self._guard.restart(op, servers)
        if isinstance(answer, Refusal):
            self._ops.finish(op, phases.REFUSED, answer.why)
        elif answer is not None:
            self._guard.record(answer, op.id)
            try:
                cloud.reboot(answer.subject, answer)
            except CloudError as error:
                text = f"the cloud does not start server {answer.subject}: {error.line}"
                self._ops.fail(op, Failure(error.failure, text))
            else:
                self._ops.move(op, phases.BOOTING, server_id=answer.subject)

    def _booting(self, op: Operation) -> None:
        """Nova shows a server that it starts by a hard reboot as SHUTOFF until it runs.

        Whether it answers is asked, and told, by `Plays`.
        """
        servers = self._calls.servers(op)
        alive = None if servers is None else [server for server in servers if server.id == op.server_id]
        if alive == []:
            self._fail(op, "the server has vanished")
        elif alive and alive[0].status == "ERROR":
            self._fail(op, alive[0].fault or "the server is in ERROR")

    def _registering(self, op: Operation) -> None:
        node = self._world.slurm_view.node(op.node, op.asked)
        limit = self._world.cluster.failure.registration_timeout
        if node is None:
            return
        seen = registration(node)
        if seen.stage is Stage.READY:
            self._ops.finish(op, phases.DONE, seen.text)
        elif seen.stage is Stage.GIVEN_UP:
            self._ops.finish(op, phases.CANCELLED, seen.text)
        elif seen.stage is Stage.REFUSED:
            self._fail(op, seen.text)
        elif self._ops.waited(op, self._world.slurm_view.began) > limit:
            self._fail(op, f"slurmd is running but did not register within {limit:g} s ({seen.text})")
        elif node.has("DOWN") and not node.has("NOT_RESPONDING") and who(node) is Who.SLURM:
            # It has registered, and Slurm keeps a node DOWN that has booted in between (ReturnToService=1).
            self._resume(op)

    def _resume(self, op: Operation) -> None:
        now = self._world.now()
        if now - self._told_at.get(op.id, float("-inf")) >= self._world.timing.slurm_again:
            self._told_at[op.id] = now
            self._calls.tell(op, "RESUME")

    def _fail(self, op: Operation, text: str) -> None:
        self._ops.fail(op, Failure(FailureClass.NODE_LOCAL, text))
