"""What becomes of a request for one node, given what is under way for it already. Pure.

Slurm calls its hooks as often as it likes: Resume may repeat after a crash of slurmctld, Suspend may
come while the resume is still running, Resume while the delete is (slurm-contract: "All hooks must
be idempotent"). A node has one running operation; others wait behind it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from slurm_powersave.model import phases
from slurm_powersave.model.modes import Mode
from slurm_powersave.model.nodes import NodeBackoff, Operation

LATE = 30.0
"""Seconds by which a hook's call may arrive late. One that seems to be later than that was made after
slurmctld's clock was set back: nothing is concluded from its time."""


@dataclass(frozen=True)
class Verdict:
    """How a node's new operation begins: in a phase, or with its outcome at once."""

    phase: str = ""
    outcome: str = ""
    text: str = ""
    cancels: tuple[str, ...] = ()
    """Operations that have not begun and need not."""
    wakes: str = ""
    """The operation that has waited for this."""
    joins: str = ""
    """The operation that does it already."""


def verdict(
    mode: Mode,
    *,
    source: str,
    time: float,
    open_operations: Sequence[tuple[Operation, float]],
    has_server: bool,
    backoff: NodeBackoff | None,
) -> Verdict:
    """Decide about one node.

    Args:
        mode: what is asked for.
        source: hook, operator or reconcile.
        time: when the hook ran, by the clock of slurmctld's host; infinite if it was none.
        open_operations: the node's operations without an outcome, oldest first, each with the time
            of its request, by the same clock; minus infinity if it was no hook's.
        has_server: whether the journal knows a server of that name.
        backoff: the node's backoff after a failure, if it has not ended.
    """
    if mode is Mode.REBOOT:
        return _reboot(source, [operation for operation, _ in open_operations])
    if mode is Mode.RESUME:
        return _resume(source, [operation for operation, _ in open_operations], backoff)
    return _delete(mode, source, time, list(open_operations), has_server)


def _resume(source: str, queue: list[Operation], backoff: NodeBackoff | None) -> Verdict:
    if not queue:
        if backoff and source != "operator":
            # Slurm asked although the node is in backoff (somebody undrained it, or the DRAIN was lost): the
            # same create is not tried again before its time.
            return Verdict(phases.FAILING, text=backoff.reason)
        return Verdict(phases.ASKING if source == "operator" else phases.CHECKING)
    last = queue[-1]
    if last.mode is Mode.RESUME and last.failure is None:
        text = f"operation {last.id} is bringing it up already"
        return Verdict(outcome=phases.JOINED, text=text, joins=last.id)
    return Verdict(phases.WAITING)


def _reboot(source: str, queue: list[Operation]) -> Verdict:
    if not queue:
        return Verdict(phases.ASKING if source == "operator" else phases.CHECKING)
    last = queue[-1]
    if last.mode is Mode.REBOOT and last.phase in phases.NOT_BEGUN and source != "operator":
        # What our own command asked Slurm for: this is Slurm's answer to it.
        text = f"operation {last.id} does it"
        return Verdict(outcome=phases.JOINED, text=text, wakes=last.id, joins=last.id)
    return Verdict(phases.WAITING)


def _delete(
    mode: Mode, source: str, time: float, queue: list[tuple[Operation, float]], has_server: bool
) -> Verdict:
    cancels: list[str] = []
    while queue:
        last, last_time = queue[-1]
        if not last.mode.brings_up:
            if last.mode is mode or mode is Mode.SUSPEND:
                return Verdict(
                    outcome=phases.JOINED,
                    text=f"operation {last.id} deletes its server already",
                    cancels=tuple(cancels),
                    joins=last.id,
                )
            return Verdict(phases.WAITING, cancels=tuple(cancels))
        if last.failure is not None:
            return Verdict(
                outcome=phases.JOINED,
                text=f"operation {last.id} has failed and removes what is left",
                cancels=tuple(cancels),
                joins=last.id,
            )
        if 0 < last_time - time <= LATE:
            return Verdict(
                outcome=phases.CANCELLED, text=f"overtaken by operation {last.id}", cancels=tuple(cancels)
            )
        if last.phase not in phases.NOT_BEGUN:
            # It stops at its next step, because this one waits behind it.
            return Verdict(phases.WAITING, cancels=tuple(cancels))
        cancels.append(last.id)
        queue.pop()
    if cancels and not has_server and mode is Mode.SUSPEND:
        return Verdict(
            outcome=phases.DONE, text="its resume had not begun: nothing to delete", cancels=tuple(cancels)
        )
    return Verdict(phases.ASKING if source == "operator" else phases.CHECKING, cancels=tuple(cancels))
