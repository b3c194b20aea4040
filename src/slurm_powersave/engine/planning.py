"""From a request to its nodes' operations, so many at a step that nothing else has to wait for them."""

import logging
import math
import time
from collections.abc import Sequence

from slurm_powersave.decide.node.plan import verdict
from slurm_powersave.engine.faults import Faults
from slurm_powersave.engine.operations import Operations
from slurm_powersave.engine.world import World
from slurm_powersave.model import phases
from slurm_powersave.model.allowance import Allowance
from slurm_powersave.model.hostlist import Expansion, Refusal, split
from slurm_powersave.model.modes import Mode
from slurm_powersave.model.nodes import Operation, Request

log = logging.getLogger("slurm_powersave")

_AT_ONCE = 64
"""Requests that one step of the engine plans."""
_PARTS, _LOGGED = 20, 3
"""Refused parts of a request that are recorded one by one, and logged."""
_SHOWN = 1000
"""Characters of a hostlist that are recorded as refused."""


class Planning:
    """Plans the requests that are journalled."""

    def __init__(self, world: World, operations: Operations, faults: Faults) -> None:
        self._world, self._ops, self._faults = world, operations, faults
        # Far more than Slurm asks for: each node twice a minute for ever, and 20 times at once. What goes
        # beyond waits; an operator and the reconciler do not.
        nodes = len(world.names)
        self._allowance = Allowance(2000 + 20 * nodes, 20 + nodes / 30)
        self.behind = False
        """Whether requests wait that the next step can plan."""

    def step(self) -> None:
        """Give every node of the new requests its operation or its outcome, the oldest first."""
        waiting = self._world.journal.unplanned_requests(_AT_ONCE)
        known = frozenset(self._world.names) if waiting else frozenset()
        end = time.monotonic() + self._world.timing.planning_step
        self.behind, enough = len(waiting) == _AT_ONCE, False
        # In the order in which they came, those of the hooks last: nobody waits behind a flood of them.
        for request in waiting:
            if time.monotonic() > end:
                self.behind = not enough
                return
            if enough and request.source == "hook":
                continue  # it keeps its place behind the one that waits
            if why := self._faults.guilty(request.id):
                self._refuse(request, f"an error of the engine itself: {why}")
                continue
            with self._faults.during(request.id):
                expansion = split(request.hostlist, known)
                if self._allowed(request, expansion):
                    self._plan(request, expansion)
                else:
                    enough, self.behind = True, False

    def _refuse(self, request: Request, why: str) -> None:
        """End a request whose planning fails again and again: the next ones are served."""
        log.error("request=%s given up: %s", request.id, why)
        refused = [(request.hostlist[:_SHOWN], why)]
        self._world.journal.plan_request(request.id, [], refused, self._world.wall())

    def _allowed(self, request: Request, expansion: Expansion) -> bool:
        """Tell whether a request may be planned now: it makes work, and fills the journal."""
        cost = 1 + len(expansion.nodes) + len(request.hostlist) / 1024
        return request.source != "hook" or self._allowance.take(cost, self._world.now())

    def _plan(self, request: Request, expansion: Expansion) -> None:
        now, began = self._world.wall(), self._note(request, expansion)
        node_backoffs = self._world.nodes_in_backoff()
        new: list[Operation] = []
        cancels: list[tuple[str, str]] = []
        wakes: list[str] = []
        for node in expansion.nodes:
            backoff = node_backoffs.get(node)
            decided = verdict(
                request.mode,
                source=request.source,
                time=_asked_at(request, math.inf),
                open_operations=[(op, self._time(op)) for op in self._ops.queue(node)],
                has_server=bool(self._world.record(node).server_id),
                backoff=backoff,
            )
            op = self._world.journal.new_operation(request.id, node, request.mode, decided.phase, now)
            op = Operation(
                op.id, op.request, node, op.mode, decided.phase, now, now,
                outcome=decided.outcome,
                failure=backoff.failure if decided.phase == phases.FAILING and backoff else None,
                text=decided.text, begun=began, asked=began,
                # The reconciler's requests say themselves what they come to; those of others are judged.
                action=request.action if request.source == "reconcile" else "",
                joined=decided.joins,
            )  # fmt: skip
            new.append(op)
            cancels += [(cancelled, op.id) for cancelled in decided.cancels]
            if decided.wakes:
                wakes.append(decided.wakes)
        refusals = [(refusal.part, refusal.why) for refusal in _some(expansion.refused)]
        for part, why in [*refusals[:_LOGGED], *refusals[_LOGGED:][-1:]]:
            log.error("request=%s refused %r: %s", request.id, part[:200], why)
        self._world.journal.plan_request(request.id, new, refusals, now)
        self._ops.add(new)
        self._settle(cancels, wakes)

    def _note(self, request: Request, expansion: Expansion) -> int:
        """Number the call: what is read from now on began after it was taken in."""
        if request.mode is Mode.RESUME:
            self._world.seen.note(expansion.nodes, "resumed")
        elif request.source == "hook" and request.mode is not Mode.REBOOT:
            self._world.seen.note(expansion.nodes, "called")
        return self._world.seen.next()

    def _settle(self, cancels: Sequence[tuple[str, str]], wakes: Sequence[str]) -> None:
        """End the operations that need not begin any more, and let those go on that have waited for this."""
        for cancelled, by in cancels:
            if op_cancelled := self._ops.get(cancelled):
                self._ops.finish(op_cancelled, phases.CANCELLED, f"cancelled by operation {by}")
        for woken in wakes:
            if (waiting := self._ops.get(woken)) and waiting.phase == phases.DRAINING:
                self._ops.move(waiting, phases.CHECKING)

    def _time(self, op: Operation) -> float:
        request = self._world.journal.request(op.request)
        return _asked_at(request, -math.inf)


def _asked_at(request: Request | None, otherwise: float) -> float:
    """When a hook ran: all of them go by the clock of slurmctld's host. Nobody else's time is like theirs."""
    return request.time if request and request.source == "hook" else otherwise


def _some(refused: Sequence[Refusal]) -> Sequence[Refusal]:
    """Return the refused parts; of very many the first, and how many more there are."""
    if len(refused) <= _PARTS:
        return refused
    return [*refused[:_PARTS], Refusal("", f"and {len(refused) - _PARTS} more parts")]
