"""An operation whose step fails again and again: it ends, Slurm is told, and the others go on."""

import logging

from slurm_powersave.decide.node import failure_policy
from slurm_powersave.engine.faults import Faults
from slurm_powersave.engine.node.calls import NodeCalls
from slurm_powersave.engine.operations import Operations
from slurm_powersave.engine.world import World
from slurm_powersave.model import phases
from slurm_powersave.model.errors import FailureClass
from slurm_powersave.model.modes import Mode
from slurm_powersave.model.nodes import Failure, Operation

_UNTOUCHED = phases.NOT_BEGUN | {phases.UPDATE_PLANNING}
"""Of a reboot: the node goes back to Slurm as it was."""
log = logging.getLogger("slurm_powersave")


class Parking:
    """Ends what can't go on. The error's text says that the fault is the engine's, not the node's."""

    def __init__(self, world: World, operations: Operations, faults: Faults) -> None:
        self._world, self._ops, self._faults = world, operations, faults
        self._calls = NodeCalls(world)

    def park(self) -> None:
        """End the operations whose step has failed too often."""
        for op in self._ops:
            if not (why := self._faults.guilty(op.id)):
                continue
            self._park(op, f"an error of the engine itself in phase {op.phase}: {why}")
            self._faults.forget(op.id)

    def _park(self, op: Operation, text: str) -> None:
        """Take the way that a failure of the outside's takes; where that fails, too, just end."""
        if not op.mode.brings_up or op.failure or op.phase in (phases.WAITING, phases.REFUSING):
            self._end(op, text)
        elif op.mode is Mode.REBOOT and op.phase in _UNTOUCHED:
            self._ops.move(op, phases.REFUSING, text=text)
        else:
            self._ops.fail(op, Failure(FailureClass.INTERNAL, text))

    def _end(self, op: Operation, text: str) -> None:
        """Nothing more is tried; what is left of the node's server is found by comparing with Slurm."""
        log.error("op=%s node=%s given up: %s", op.id, op.node, text)
        op = self._ops.update(op, failure=FailureClass.INTERNAL)
        self._ops.finish(op, phases.FAILED, text)
        comment = failure_policy.reason(FailureClass.INTERNAL, text, op.id)
        update = self._world.slurm.update_nodes
        self._calls.say(op, "comment", lambda: update([op.node], comment=comment))
