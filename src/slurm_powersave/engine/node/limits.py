"""Holds every operation against the limit of its wait: it says what keeps it, and at the limit it goes on.

Seconds count by the monotonic clock, and only while the engine looks.
"""

import logging

from slurm_powersave.decide.node import wait_limits
from slurm_powersave.decide.node.wait_limits import Counts, Then
from slurm_powersave.engine.durations import Looks
from slurm_powersave.engine.operations import Operations
from slurm_powersave.engine.world import World
from slurm_powersave.model import phases
from slurm_powersave.model.errors import FailureClass
from slurm_powersave.model.nodes import Failure, Operation

log = logging.getLogger("slurm_powersave")

_LONGEST = 300
"""Characters of what an operation says."""


class Limits:
    """Notes since when each operation is there, and in its phase."""

    def __init__(self, world: World, operations: Operations) -> None:
        self._world, self._ops = world, operations
        self._phases: dict[str, str] = operations.until_end({})
        """Operation -> the phase in which it was seen last."""
        self._whole, self._within = operations.until_end(Looks()), operations.until_end(Looks())
        """Operation -> for how long it was looked at, and in its phase."""
        self._heard = operations.until_end(Looks())
        """Operation -> for how long Slurm could be read in its phase without a break."""
        self._unknown = operations.until_end(Looks())
        """Operation -> for how long Slurm has not known its node."""
        self._told_at: dict[str, float] = operations.until_end({})

    def over(self, op: Operation) -> bool:
        """Let an operation say what keeps it; at its limit take the next step, and then return true."""
        now = self._world.now()
        whole, within = self._whole.look(op.id, now), self._within.look(op.id, now)
        if self._phases.get(op.id) != op.phase:
            self._phases[op.id] = op.phase
            self._within.begin(op.id, now)
            self._heard.begin(op.id, now)
            return False
        if self._world.slurm_view.error:
            self._heard.begin(op.id, now)
        seconds = {
            Counts.PHASE: within,
            Counts.WHOLE: whole,
            Counts.HEARD: self._heard.look(op.id, now),
            Counts.UNKNOWN: self._unknown_for(op),
        }
        limit = wait_limits.limit(op, self._world.cluster.power_save)
        if limit and seconds[limit.counts] > limit.seconds:
            why = self._trouble(op) or f"waits for {wait_limits.TABLE[op.phase].what}"
            self._next(op, limit.then, f"{why}; waited {limit.seconds / 60:.0f} minutes")
            return True
        if (
            within >= wait_limits.SAID_AFTER
            and now - self._told_at.get(op.id, float("-inf")) >= wait_limits.SAID_AFTER
        ):
            self._told_at[op.id] = now
            self._say(op)
        return False

    def _unknown_for(self, op: Operation) -> float:
        view = self._world.slurm_view
        if view.lacks(op.node, op.asked):
            return self._unknown.look(op.id, view.began)
        if view.node(op.node, op.asked):
            self._unknown.forget(op.id)
        return 0.0

    def _say(self, op: Operation) -> None:
        why = self._trouble(op)
        if why == op.waits:
            return
        if why:
            log.warning("op=%s node=%s phase=%s %s", op.id, op.node, op.phase, why)
        self._ops.update(op, waits=why)

    def _trouble(self, op: Operation) -> str:
        """Say what keeps an operation that is not what its phase waits for anyway."""
        return " ".join(self._what_it_waits_for(op).split())[:_LONGEST]

    def _what_it_waits_for(self, op: Operation) -> str:
        first = self._ops.queue(op.node)[0]
        if op.phase == phases.WAITING:
            said = first.waits or first.text
            return f"waits for {first.mode} {first.id}, {first.phase}" + (f": {said}" if said else "")
        cloud = self._world.recorded_spec(op.node).cloud
        view = self._world.cloud_views.get(cloud)
        if op.phase in phases.NEEDS_SLURM and self._world.slurm_view.error:
            return f"Slurm can't be read: {self._world.slurm_view.error}"
        if op.phase in phases.NEEDS_CLOUD and view and view.error:
            return f"the cloud {cloud} can't be read: {view.error}"
        if said := self._unseen(op):
            return said
        return op.text if op.phase == phases.CHECKING else ""

    def _unseen(self, op: Operation) -> str:
        """Say why Slurm, which could be read, does not tell what the operation waits for."""
        view = self._world.slurm_view
        if view.lacks(op.node, op.asked):
            return "Slurm does not know the node"
        snapshot = view.snapshot(op.asked)
        unread = snapshot is not None and op.node in snapshot.unreadable
        return "Slurm's answer on the node can't be understood" if unread else ""

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
