"""Ask the engine for something: write a request, wait for its operations, exit with their outcome."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from slurm_powersave.model import phases
from slurm_powersave.model.modes import Mode
from slurm_powersave.surfaces.cli import render
from slurm_powersave.surfaces.cli.session import session

if TYPE_CHECKING:
    from slurm_powersave.model.nodes import Operation
    from slurm_powersave.ports.journal import Journal
    from slurm_powersave.ports.lease import Lease

Wait = Annotated[
    bool,
    typer.Option(
        "--wait",
        help="Wait until every node's operation has ended, or the one that it has joined; exit code 1 if one"
        " failed or was cancelled, 7 if one was refused.",
    ),
]
Timeout = Annotated[
    float | None,
    typer.Option(
        "--timeout",
        min=0,
        metavar="SECONDS",
        help="Wait at most so long, else exit code 11. Without it: an hour; for a reboot, which waits for"
        " the node's jobs, a day.",
    ),
]

_HOUR, _DAY = 3600.0, 86400.0
_ANSWER = 5.0
"""Seconds within which the engine has asked Slurm and knows what is refused."""


def ask(
    ctx: typer.Context,
    mode: Mode,
    expression: str,
    wait: bool,
    timeout: float | None,
    as_json: bool,
    words: str = "",
) -> None:
    """Write an operator's request and exit with its outcome; `words` are a reboot's kind, or "force"."""
    from slurm_powersave.commands.requests import operator_request

    current = session(ctx)
    journal = current.journal()
    request = operator_request(current.cluster(), mode, expression, time.time(), words)
    journal.add_request(request, time.time())
    lease = current.site().engine_lease()
    serves = lease.holder() is not None
    if not serves:
        render.note("no engine is running; the request waits for one")
    if wait or timeout is not None:
        if timeout is None:
            timeout = _DAY if mode is Mode.REBOOT else _HOUR
        _wait(journal, request.id, timeout, lease, as_json)
    elif mode is Mode.REBOOT and serves:
        _tell_answers(journal, request.id, as_json)
    else:
        _print_request(journal, request.id, as_json)


def _wait(journal: Journal, request_id: str, timeout: float, lease: Lease, as_json: bool) -> None:
    from slurm_powersave.commands.engine_served import Served
    from slurm_powersave.surfaces.cli import follow as following

    tell: Callable[[following.Event], None] = (
        (lambda event: None) if as_json else (lambda event: render.print_lines([event.line()]))
    )
    try:
        operations = following.wait(journal, request_id, timeout, tell, required=Served(lease).require)
    finally:
        if as_json:
            _print_request(journal, request_id, as_json)
        for part, why in journal.refusals(request_id):
            render.note(f"refused: {part}: {why}")
    _exit_by_outcome(journal, operations, refused=bool(journal.refusals(request_id)))


def _tell_answers(journal: Journal, request_id: str, as_json: bool) -> None:
    """Report what ends at once (a refusal, a node that is powered down), also without --wait."""
    from slurm_powersave.model.errors import UnfinishedError
    from slurm_powersave.surfaces.cli import follow as following

    with contextlib.suppress(UnfinishedError):
        following.wait(
            journal, request_id, _ANSWER, lambda event: None, until=lambda op: op.phase != phases.ASKING
        )
    _print_request(journal, request_id, as_json)
    ended = [operation for operation in journal.operations_of(request_id) if operation.outcome]
    for operation in ended:
        if operation.text:
            render.note(f"{operation.node}: {operation.outcome}: {operation.text}")
    _exit_by_outcome(journal, ended, refused=bool(journal.refusals(request_id)))


def _print_request(journal: Journal, request_id: str, as_json: bool) -> None:
    from slurm_powersave.surfaces.cli.follow import became

    if as_json:
        operations = journal.operations_of(request_id)
        ends = [became(journal, one) for one in operations]
        render.print_json(
            {
                "request": request_id,
                "operations": [render.operation_value(one) for one in operations],
                "joined": [render.operation_value(one) for one in ends if one not in operations],
                "refused": [{"part": part, "why": why} for part, why in journal.refusals(request_id)],
            }
        )
    else:
        render.print_lines([request_id])


def _exit_by_outcome(journal: Journal, operations: Sequence[Operation], *, refused: bool) -> None:
    """Exit with 1 if an operation failed or was cancelled, with 7 if operations were only refused."""
    from slurm_powersave.model.errors import PowersaveError, RefusedError

    outcomes = {_outcome(journal, operation) for operation in operations}
    if outcomes & {phases.FAILED, phases.CANCELLED}:
        raise typer.Exit(PowersaveError.exit_code)
    if refused or phases.REFUSED in outcomes:
        raise typer.Exit(RefusedError.exit_code)


def _outcome(journal: Journal, asked: Operation) -> str:
    """Say what became of what was asked for, by the operation that does it.

    A suspend that has joined a resume which has failed is done when the node has no server any more.
    """
    from slurm_powersave.surfaces.cli.follow import became

    end = became(journal, asked)
    if end.mode.brings_up and not asked.mode.brings_up:
        record = journal.node_record(asked.node)
        return phases.FAILED if record and record.server_id else phases.DONE
    return end.outcome
