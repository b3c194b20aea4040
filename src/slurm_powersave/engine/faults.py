"""Whose step has failed, and how often: one operation that always fails must not stop the others."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from slurm_powersave.model import machine
from slurm_powersave.model.errors import CloudError, PowersaveError, UnreachableError
from slurm_powersave.model.nodes import Operation
from slurm_powersave.model.printable import printable

_AT_MOST = 3
"""Errors of the same step after which it is not tried again."""
_REMEMBERED = 1000
_LONGEST = 300


class Faults:
    """Outlives an engine that is built anew after an error."""

    def __init__(self) -> None:
        self._at_work: tuple[str, ...] = ()
        self._errors: dict[str, tuple[int, str]] = {}
        """Operation, run, request, shard, cloud or rest -> how often its step has failed, and the error."""

    @contextmanager
    def during(self, *whose: str) -> Iterator[None]:
        """Say whose step is taken now: ids of operations, runs and requests, names of shards and clouds."""
        before, self._at_work = self._at_work, whose
        yield
        self._at_work = before  # not after an error: `blame` reads it

    def blame(self, error: Exception) -> None:
        """Count an error against those whose step it was; not one that is nobody's fault."""
        whose, self._at_work = self._at_work, ()
        if machine.is_at_fault(error) or isinstance(error, UnreachableError | CloudError):
            return
        for one in whose:
            count, _ = self._errors.pop(one, (0, ""))
            self._errors[one] = (count + 1, worded(error))
        while len(self._errors) > _REMEMBERED:
            del self._errors[next(iter(self._errors))]

    def guilty(self, whose: str) -> str:
        """Return the error for which a step is not tried any more; empty while it may be."""
        count, text = self._errors.get(whose, (0, ""))
        return text if count >= _AT_MOST else ""

    def forget(self, whose: str) -> None:
        """Count from the beginning: something else is done now."""
        self._errors.pop(whose, None)

    def groups(self, ops: Sequence[Operation]) -> list[list[Operation]]:
        """Part operations that would share a run: each whose step has failed alone, then all the others."""
        suspects = [[op] for op in ops if op.id in self._errors]
        others = [op for op in ops if op.id not in self._errors]
        return [*suspects, *([others] if others else [])]


def worded(error: Exception) -> str:
    """Word an error in one line."""
    text = error.line if isinstance(error, PowersaveError) else f"{type(error).__name__}: {error}"
    return printable(" ".join(text.split()))[:_LONGEST]
