"""An operation whose step fails again and again: it ends, Slurm is told, and the others go on."""

import logging

from slurm_powersave.decide import policy
from slurm_powersave.engine.faults import Faults
from slurm_powersave.engine.operations import Operations
from slurm_powersave.engine.outside import Outside
from slurm_powersave.engine.world import World
from slurm_powersave.model import phases
from slurm_powersave.model.errors import FailureClass
from slurm_powersave.model.nodes import Failure, Operation

log = logging.getLogger("slurm_powersave")


class Parking:
    """Ends what can't go on. The error's text says that the fault is the engine's, not the node's."""

    def __init__(self, world: World, operations: Operations, faults: Faults) -> None:
        self._world, self._ops, self._faults = world, operations, faults
        self._outside = Outside(world)

    def park(self) -> None:
        """End the operations whose step has failed too often."""
        for op in self._ops:
            if not (why := self._faults.guilty(op.id)):
                continue
            text = f"an error of the engine itself in phase {op.phase}: {why}"
            if op.mode.brings_up and op.failure is None:
                # Slurm is told, the node rests, and what there is of its server goes; that may fail, too.
                self._ops.fail(op, Failure(FailureClass.INTERNAL, text))
            else:
                self._end(op, text)
            self._faults.forget(op.id)

    def _end(self, op: Operation, text: str) -> None:
        """Nothing more is tried; what is left of the node's server is found by comparing with Slurm."""
        log.error("op=%s node=%s given up: %s", op.id, op.node, text)
        op = self._ops.update(op, failure=FailureClass.INTERNAL)
        self._ops.finish(op, phases.FAILED, text)
        comment = policy.reason(FailureClass.INTERNAL, text, op.id)
        update = self._world.slurm.update_nodes
        self._outside.say(op, "comment", lambda: update([op.node], comment=comment))
