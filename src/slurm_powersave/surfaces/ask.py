"""Ask the engine for something: write a request, wait for its operations, exit with their outcome."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from slurm_powersave.model import phases
from slurm_powersave.model.modes import Mode
from slurm_powersave.surfaces import render
from slurm_powersave.surfaces.session import session

if TYPE_CHECKING:
    from slurm_powersave.adapters.journal import SqliteJournal
    from slurm_powersave.model.nodes import Operation

Wait = Annotated[bool, typer.Option("--wait", help="Wait until every node's operation has ended.")]
Timeout = Annotated[
    float | None,
    typer.Option("--timeout", min=0, metavar="SECONDS", help="Wait at most so long, else exit code 1."),
]

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
    from slurm_powersave.adapters import lock
    from slurm_powersave.engine.requests import operator_request
    from slurm_powersave.surfaces import follow as following

    current = session(ctx)
    journal = current.journal()
    request = operator_request(current.cluster(), mode, expression, time.time(), words)
    journal.add_request(request, time.time())
    serves = lock.holder(current.cluster().layout.lock) is not None
    if not serves:
        render.note("no engine is running; the request waits for one")
    if not wait and timeout is None:
        if mode is Mode.REBOOT and serves:
            _tell_answers(journal, request.id, as_json)
        else:
            _print_request(journal, request.id, as_json)
        return

    tell: Callable[[following.Event], None] = (
        (lambda event: None) if as_json else (lambda event: render.print_lines([event.line()]))
    )
    operations = following.wait(journal, request.id, timeout, tell)
    if as_json:
        _print_request(journal, request.id, as_json)
    for part, why in journal.refusals(request.id):
        render.note(f"refused: {part}: {why}")
    if operations is None:
        render.note(f"request {request.id} has not ended yet, and goes on: slurm-powersave follow")
        raise typer.Exit(1)
    _leave(operations, refused=bool(journal.refusals(request.id)))


def _tell_answers(journal: SqliteJournal, request_id: str, as_json: bool) -> None:
    """Report what ends at once (a refusal, a node that is powered down), also without --wait."""
    from slurm_powersave.surfaces import follow as following

    following.wait(
        journal, request_id, _ANSWER, lambda event: None, until=lambda op: op.phase != phases.ASKING
    )
    _print_request(journal, request_id, as_json)
    ended = [operation for operation in journal.operations_of(request_id) if operation.outcome]
    for operation in ended:
        if operation.text:
            render.note(f"{operation.node}: {operation.outcome}: {operation.text}")
    _leave(ended, refused=bool(journal.refusals(request_id)))


def _print_request(journal: SqliteJournal, request_id: str, as_json: bool) -> None:
    if as_json:
        render.print_json(
            {
                "request": request_id,
                "operations": [render.operation_value(one) for one in journal.operations_of(request_id)],
                "refused": [{"part": part, "why": why} for part, why in journal.refusals(request_id)],
            }
        )
    else:
        render.print_lines([request_id])


def _leave(operations: Sequence[Operation], *, refused: bool) -> None:
    """Exit with 1 if an operation failed, with 7 if operations were only refused."""
    from slurm_powersave.model.errors import PowersaveError, RefusedError

    outcomes = {operation.outcome for operation in operations}
    if "failed" in outcomes:
        raise typer.Exit(PowersaveError.exit_code)
    if refused or "refused" in outcomes:
        raise typer.Exit(RefusedError.exit_code)
