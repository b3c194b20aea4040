"""Whose step has failed, and how often: what always fails must not stop the rest.

An operation, a run or a request is given up after some errors. What serves nobody in particular (reading the
cloud, comparing, a shard) is left alone for a while that grows, and tried again; `status` says so.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from slurm_powersave.model import machine
from slurm_powersave.model.errors import CloudError, PowersaveError, UnreachableError
from slurm_powersave.model.nodes import Operation
from slurm_powersave.model.printable import printable
from slurm_powersave.model.timing import USUAL, Timing

_MAX_ERRORS = 3
"""Errors of the same step after which it is not tried again, or left alone."""
_REMEMBERED = 1000
_LONGEST = 300


@dataclass(frozen=True)
class _Errors:
    count: int
    text: str
    last: float
    """When the last one was, on the monotonic clock."""
    backoff: float
    """Seconds for which it is left alone."""

    def __str__(self) -> str:
        return f"({self.count} errors, tried again after {self.backoff:.0f} s): {self.text}"


class Faults:
    """Outlives an engine that is built anew after an error."""

    def __init__(self, clock: Callable[[], float], timing: Timing = USUAL) -> None:
        """`clock` gives seconds that never jump."""
        self._clock, self._timing = clock, timing
        self._at_work: tuple[str, ...] = ()
        self._part = ""
        self._parts: set[str] = set()
        """What is left alone for a while, and not given up."""
        self._errors: dict[str, _Errors] = {}
        """Operation, run, request, shard, cloud, rest or part -> the errors of its step."""

    @contextmanager
    def during(self, *whose: str) -> Iterator[None]:
        """Say whose step is taken now: ids of operations, runs and requests, names of shards and clouds."""
        before, self._at_work = self._at_work, whose
        yield
        self._at_work = before  # not after an error: `blame` reads it

    def tried(self, part: str, step: Callable[[], None]) -> None:
        """Take a step of a part of the engine, unless it has failed too often and is left alone now."""
        if self.backoff_error(part):
            return
        before, self._part = self._part, part
        with self.during(part):
            step()
        self._part = before

    def blame(self, error: Exception) -> None:
        """Count an error against those whose step it was.

        What is no operation's fault (a file that may not be read, an outside that can't be reached) counts
        against the part of the engine alone; a full disk and the like are waited for, and count nowhere.
        """
        whose, part = self._at_work, self._part
        self._at_work, self._part = (), ""
        host = machine.is_at_fault(error)
        if host and not machine.is_lasting(error):
            return
        if host or isinstance(error, UnreachableError | CloudError):
            whose = tuple(one for one in whose if one in self._parts) or ((part,) if part else ())
        for one in whose:
            before = self._errors.pop(one, None)
            count = 1 + (before.count if before else 0)
            self._errors[one] = _Errors(count, worded(error), self._clock(), self._rest(count))
        while len(self._errors) > _REMEMBERED:
            del self._errors[next(iter(self._errors))]

    def _rest(self, count: int) -> float:
        """Seconds for which a part is left alone after so many errors."""
        beyond, timing = count - _MAX_ERRORS, self._timing
        if beyond < 0:
            return 0.0
        return min(timing.fault_rest_first * 2.0 ** min(beyond, 10), timing.fault_rest_longest)

    def guilty(self, whose: str) -> str:
        """Return the error for which a step is not tried any more; empty while it may be."""
        found = self._errors.get(whose)
        return found.text if found and found.count >= _MAX_ERRORS else ""

    def backoff_error(self, part: str) -> str:
        """Return the error for which a part is left alone now; empty while it may be tried."""
        self._parts.add(part)
        found = self._errors.get(part)
        if found is None:
            return ""
        ago = self._clock() - found.last
        if ago < found.backoff:
            return found.text
        if ago > 2 * max(found.backoff, self._timing.fault_rest_first):
            del self._errors[part]  # it has worked for as long as it rested
        return ""

    def backoff_errors(self) -> str:
        """Say for `status` what is left alone now, and why; empty if nothing is."""
        found = [part for part in sorted(self._parts & self._errors.keys()) if self.backoff_error(part)]
        return "; ".join(f"{part} {self._errors[part]}" for part in found)

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
