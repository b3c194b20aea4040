"""The open operations: in memory for speed, written through to the journal at each step."""

import logging
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any, TypeVar

from slurm_powersave.engine.durations import Looks
from slurm_powersave.engine.world import World
from slurm_powersave.model import phases
from slurm_powersave.model.modes import Kind
from slurm_powersave.model.nodes import Failure, Operation

log = logging.getLogger("slurm_powersave")

Notes = TypeVar("Notes", set[str], dict[str, Any], Looks)


class Operations:
    """Every change of an operation goes through here, so that it is journalled and logged once."""

    def __init__(self, world: World) -> None:
        self._world, self._journal = world, world.journal
        self._open: dict[str, Operation] = {}
        self._known: dict[str, float] = {}
        self._entered: dict[str, float] = {}
        """Operation -> since when this engine knows it, or knows it in its phase, on the monotonic clock."""
        self._looks = Looks()
        """For how long we have looked at the present phase of each operation."""
        # An operation costs what its own node's queue is long, however many nodes are under way.
        self._by_node: dict[str, dict[str, Operation]] = {}
        self._notes: list[set[str] | dict[str, Any] | Looks] = []
        for op in self._journal.open_operations():
            self._keep(op)

    def until_end(self, notes: Notes) -> Notes:
        """Return what somebody notes of operations, by their ids: each is dropped when its operation ends."""
        self._notes.append(notes)
        return notes

    def __iter__(self) -> Iterator[Operation]:
        return iter(list(self._open.values()))

    def add(self, operations: Iterable[Operation]) -> None:
        """Take on operations that the journal has recorded."""
        for op in operations:
            if not op.outcome:
                self._keep(op)
            log.info(
                "op=%s node=%s mode=%s phase=%s %s", op.id, op.node, op.mode, op.outcome or op.phase, op.text
            )

    def _keep(self, op: Operation) -> None:
        if op.id not in self._known:
            self._known[op.id] = self._world.now()
            self._enter(op)
        self._open[op.id] = op
        self._by_node.setdefault(op.node, {})[op.id] = op

    def _enter(self, op: Operation) -> None:
        self._entered[op.id] = self._world.now()
        self._looks.begin(op.id, self._world.now())

    def age(self, op: Operation) -> float:
        """Return for how many seconds this engine knows an operation."""
        return self._world.now() - self._known[op.id]

    def waited(self, op: Operation, at: float | None = None) -> float:
        """Return for how many seconds an operation is in its phase, counting only while we looked.

        Args:
            op: the operation.
            at: when the reading began by which it is judged; None: what it waits for needs none.
        """
        return self._looks.look(op.id, self._world.now() if at is None else at)

    def get(self, operation_id: str) -> Operation | None:
        """Return an open operation."""
        return self._open.get(operation_id)

    def queue(self, node: str) -> list[Operation]:
        """Return a node's open operations, oldest first: the first runs, the others wait."""
        return list(self._by_node.get(node, {}).values())

    def of(self, ids: Iterable[str]) -> list[Operation]:
        """Return those of the operations that are still open."""
        return [self._open[op_id] for op_id in ids if op_id in self._open]

    def in_phase(self, *wanted: str) -> list[Operation]:
        """Return the open operations in these phases, oldest first."""
        return [op for op in self._open.values() if op.phase in wanted]

    def superseded(self, op: Operation) -> Operation | None:
        """Return the delete that waits behind what brings the node up, if there is one."""
        if not op.mode.brings_up or op.failure is not None:
            return None
        queue = self.queue(op.node)
        behind = queue[queue.index(op) + 1 :]
        return next((other for other in behind if not other.mode.brings_up), None)

    def move(self, op: Operation, phase: str, **changes: object) -> Operation:
        """Enter a phase."""
        asked, seconds = self._world.seen.next(), self._world.now() - self._entered[op.id]
        new = replace(op, phase=phase, since=self._world.wall(), asked=asked, waits="", **changes)  # type: ignore[arg-type]  # names are checked by replace
        self._journal.save_operation(new)
        self._keep(new)
        self._enter(new)
        log.info("op=%s node=%s phase=%s after=%s seconds=%.2f", op.id, op.node, phase, op.phase, seconds)
        return new

    def update(self, op: Operation, **changes: object) -> Operation:
        """Change an operation within its phase."""
        new = replace(op, **changes)  # type: ignore[arg-type]  # names are checked by replace
        self._journal.save_operation(new)
        self._keep(new)
        return new

    def fail(self, op: Operation, failure: Failure) -> None:
        """Record why an operation failed; Slurm is told next.

        Not of a restart: Slurm has the node DOWN already, and what becomes of it has its own evidence.
        """
        log.warning(
            "op=%s node=%s phase=%s failed (%s) %s", op.id, op.node, op.phase, failure.failure, failure.text
        )
        if op.kind is Kind.RESTART:
            self.finish(replace(op, failure=failure.failure), phases.FAILED, failure.text)
        else:
            self.move(op, phases.FAILING, failure=failure.failure, text=failure.text)

    def give_back(self, op: Operation, failure: Failure) -> None:
        """Fail what can't begin; a person's that waits for its turn is refused: Slurm was not asked yet."""
        if op.phase == phases.WAITING and self._is_operators(op):
            self.finish(op, phases.REFUSED, failure.text)
        else:
            self.fail(op, failure)

    def _is_operators(self, op: Operation) -> bool:
        request = self._journal.request(op.request)
        return request is not None and request.source == "operator"

    def finish(self, op: Operation, outcome: str, text: str = "") -> None:
        """Record the one outcome; what waits behind may begin."""
        ended = replace(op, outcome=outcome, since=self._world.wall(), text=text or op.text, waits="")
        seconds = self.age(op)
        self._journal.save_operation(ended)
        del self._open[op.id], self._by_node[op.node][op.id], self._known[op.id], self._entered[op.id]
        self._looks.forget(op.id)
        for notes in self._notes:
            if isinstance(notes, set):
                notes.discard(op.id)
            elif isinstance(notes, dict):
                notes.pop(op.id, None)
            else:
                notes.forget(op.id)
        log.info(
            "op=%s node=%s mode=%s outcome=%s after=%s seconds=%.2f %s",
            op.id, op.node, op.mode, outcome, op.phase, seconds, text or op.text,
        )  # fmt: skip
        queue = self.queue(op.node)
        if queue and queue[0].phase == phases.WAITING:
            self.begin(queue[0])

    def begin(self, op: Operation) -> None:
        """Let an operation that waited have its turn: an operator's asks Slurm first."""
        self.move(op, phases.ASKING if self._is_operators(op) else phases.CHECKING)
