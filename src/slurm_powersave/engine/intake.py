"""From the hooks to the journal, and from a request to its nodes' operations."""

import logging
import threading
from collections import deque
from collections.abc import Callable

from slurm_powersave.adapters.journal import SqliteJournal
from slurm_powersave.decide.plan import verdict
from slurm_powersave.engine.operations import Operations
from slurm_powersave.engine.world import World
from slurm_powersave.model import phases
from slurm_powersave.model.errors import JournalError
from slurm_powersave.model.hostlist import split
from slurm_powersave.model.nodes import Operation, Request
from slurm_powersave.ports import Clock, Intake

_PAUSE = 5.0
"""Seconds after which a journal that failed is tried again."""
log = logging.getLogger("slurm_powersave")


def pump(intake: Intake, journal: SqliteJournal, clock: Clock, left: deque[tuple[str, Request | str]]) -> int:
    """Journal what has come, then acknowledge it; return how many requests were new.

    Args:
        intake: gives each request once in a process's life.
        journal: where the requests go.
        clock: tells when they came.
        left: what has come and is not journalled yet; it stays here if the journal fails.

    Raises:
        JournalError: the journal can't be written; call again later.
    """
    new = 0
    left.extend(intake.receive())
    while left:
        request_id, request = left[0]
        if isinstance(request, str):
            # Not a request: the spool keeps it aside and has told why.
            log.error("spool: %s refused: %s", request_id, request)
        elif journal.add_request(request, clock.now()):
            new += 1
            log.info(
                "request=%s mode=%s nodes=%s source=%s",
                request.id, request.mode, request.hostlist[:200], request.source,
            )  # fmt: skip
        intake.acknowledge(request_id)
        left.popleft()
    return new


class Pump(threading.Thread):
    """Journals requests as they come, whatever the engine's loop waits for."""

    def __init__(
        self,
        intake: Intake,
        arrived: threading.Event,
        journal: SqliteJournal,
        clock: Clock,
        wake: threading.Event,
        looked: Callable[[], None] = lambda: None,
    ) -> None:
        """`looked` is called after each look, a second after the last one at the latest."""
        super().__init__(name="intake", daemon=True)
        self._intake, self._arrived, self._journal = intake, arrived, journal
        self._clock, self._wake, self._looked = clock, wake, looked
        self._left: deque[tuple[str, Request | str]] = deque()
        self._stop_asked = threading.Event()

    def run(self) -> None:
        """Wait for the intake's event; look every second in any case."""
        while not self._stop_asked.is_set():
            self._arrived.wait(1.0)
            self._arrived.clear()
            try:
                if pump(self._intake, self._journal, self._clock, self._left):
                    self._wake.set()
            except JournalError as error:
                log.error("%s", error)
                self._stop_asked.wait(_PAUSE)
            self._looked()

    def stop(self) -> None:
        """End the thread."""
        self._stop_asked.set()
        self._arrived.set()
        self.join(5)


def plan_requests(world: World, operations: Operations) -> int:
    """Give every node of the new requests its operation or its outcome; return how many requests."""
    requests = sorted(world.journal.unplanned_requests(), key=lambda request: request.time)
    for request in requests:
        _plan(world, operations, request)
    return len(requests)


def _plan(world: World, operations: Operations, request: Request) -> None:
    now = world.now()
    expansion = split(request.hostlist, frozenset(world.names))
    holds = world.journal.holds()
    new: list[Operation] = []
    cancels: list[tuple[str, str]] = []
    wakes: list[str] = []
    for node in expansion.nodes:
        queue = operations.queue(node)
        decided = verdict(
            request.mode,
            source=request.source,
            time=request.time,
            open_operations=[(op, _time(world, op)) for op in queue],
            has_server=bool(world.record(node).server_id),
            hold=holds.get(node),
            now=now,
        )
        op = world.journal.new_operation(request.id, node, request.mode, decided.phase, now)
        hold = holds.get(node)
        failing = decided.phase == phases.FAILING and hold
        op = Operation(
            op.id, op.request, node, op.mode, decided.phase, now, now,
            outcome=decided.outcome,
            failure=hold.failure if failing and hold else None,
            text=decided.text,
        )  # fmt: skip
        new.append(op)
        cancels += [(cancelled, op.id) for cancelled in decided.cancels]
        if decided.wakes:
            wakes.append(decided.wakes)
    refusals = [(refusal.part, refusal.why) for refusal in expansion.refused]
    for part, why in refusals:
        log.error("request=%s refused %r: %s", request.id, part[:200], why)
    world.journal.plan_request(request.id, new, refusals, now)
    operations.add(new)
    for cancelled, by in cancels:
        if op_cancelled := operations.get(cancelled):
            operations.finish(op_cancelled, phases.CANCELLED, f"cancelled by operation {by}")
    for woken in wakes:
        if (waiting := operations.get(woken)) and waiting.phase == phases.DRAINING:
            operations.move(waiting, phases.CHECKING)


def _time(world: World, op: Operation) -> float:
    request = world.journal.request(op.request)
    return request.time if request else op.created
