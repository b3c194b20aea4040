"""Holds every operation against the limit of its wait: it says what keeps it, and at the limit it goes on.

Seconds count by the monotonic clock, and only while this engine looks.
"""

import logging

from slurm_powersave.decide import waits
from slurm_powersave.decide.waits import Then
from slurm_powersave.engine.operations import Operations
from slurm_powersave.engine.world import World
from slurm_powersave.model import phases
from slurm_powersave.model.errors import FailureClass
from slurm_powersave.model.nodes import Failure, Operation

log = logging.getLogger("slurm_powersave")

_LONGEST = 300
"""Characters of what an operation says."""


class Waits:
    """Notes since when each operation is there, and in its phase."""

    def __init__(self, world: World, operations: Operations) -> None:
        self._world, self._ops = world, operations
        self._begun: dict[str, float] = operations.until_end({})
        self._entered: dict[str, tuple[str, float]] = operations.until_end({})
        """Operation -> its phase and since when."""
        self._deaf: dict[str, float] = operations.until_end({})
        """Operation -> when Slurm could last not be read, where that counts."""
        self._told: dict[str, float] = operations.until_end({})

    def over(self, op: Operation) -> bool:
        """Let an operation say what keeps it; at its limit take the next step, and then return true."""
        now = self._world.clock.monotonic()
        begun = self._begun.setdefault(op.id, now)
        phase, since = self._entered.get(op.id, ("", now))
        if phase != op.phase:
            self._entered[op.id] = (op.phase, now)
            return False
        limit = waits.limit(op, self._world.cluster.power_save)
        if limit and limit.heard and self._world.slurm_view.error:
            self._deaf[op.id] = now
        start = begun if limit and limit.whole else max(since, self._deaf.get(op.id, since))
        if limit and now - start > limit.seconds:
            why = self._trouble(op) or f"waits for {waits.TABLE[op.phase].what}"
            self._next(op, limit.then, f"{why}; waited {limit.seconds / 60:.0f} minutes")
            return True
        if now - since >= waits.TOLD and now - self._told.get(op.id, float("-inf")) >= waits.TOLD:
            self._told[op.id] = now
            self._say(op)
        return False

    def _say(self, op: Operation) -> None:
        why = self._trouble(op)
        if why == op.waits:
            return
        if why:
            log.warning("op=%s node=%s phase=%s %s", op.id, op.node, op.phase, why)
        self._ops.update(op, waits=why)

    def _trouble(self, op: Operation) -> str:
        """Say what keeps an operation that is not what its phase waits for anyway."""
        return " ".join(self._outside(op).split())[:_LONGEST]

    def _outside(self, op: Operation) -> str:
        first = self._ops.queue(op.node)[0]
        if op.phase == phases.WAITING:
            said = first.waits or first.text
            return f"waits for {first.mode} {first.id}, {first.phase}" + (f": {said}" if said else "")
        cloud = self._world.desired(op.node).cloud
        view = self._world.cloud_views.get(cloud)
        if op.phase in phases.NEEDS_SLURM and self._world.slurm_view.error:
            return f"Slurm can't be read: {self._world.slurm_view.error}"
        if op.phase in phases.NEEDS_CLOUD and view and view.error:
            return f"the cloud {cloud} can't be read: {view.error}"
        return op.text if op.phase == phases.CHECKING else ""

    def _next(self, op: Operation, then: Then, why: str) -> None:
        log.error("op=%s node=%s phase=%s %s", op.id, op.node, op.phase, why)
        text = f"{op.text}; {why}" if op.text and op.text not in why else why
        match then:
            case Then.FAIL:
                self._ops.give_back(op, Failure(FailureClass.UNKNOWN, text))
            case Then.REFUSING:
                self._ops.move(op, phases.REFUSING, text=text)
            case Then.REFUSED:
                self._ops.finish(op, phases.REFUSED, text)
            case Then.DONE:
                self._ops.finish(op, phases.DONE, text)
