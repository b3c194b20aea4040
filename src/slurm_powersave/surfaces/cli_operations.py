"""`resume` and `suspend` by hand, `history`, `follow`: the journal, written and read."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from json import dumps
from typing import TYPE_CHECKING, Annotated

import typer

from slurm_powersave.model.modes import Mode
from slurm_powersave.surfaces import render
from slurm_powersave.surfaces.session import Json, Nodes, session

if TYPE_CHECKING:
    from slurm_powersave.adapters.journal import SqliteJournal
    from slurm_powersave.model.nodes import Operation

Wait = Annotated[bool, typer.Option("--wait", help="Wait until every node's operation has ended.")]
Timeout = Annotated[
    float | None,
    typer.Option("--timeout", min=0, metavar="SECONDS", help="Wait at most so long, else exit code 1."),
]

_WORTH_TELLING = 0.05
"""Seconds; shorter phases are left out of the table (not of the JSON)."""


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(resume)
    app.command()(suspend)
    app.command()(history)
    app.command()(follow)


def resume(
    ctx: typer.Context, nodes: Nodes, wait: Wait = False, timeout: Timeout = None, json: Json = False
) -> None:
    """Ask for nodes to be created, by the same queue as Slurm's hooks."""
    _ask(ctx, Mode.RESUME, nodes, wait or timeout is not None, timeout, json)


def suspend(
    ctx: typer.Context, nodes: Nodes, wait: Wait = False, timeout: Timeout = None, json: Json = False
) -> None:
    """Ask for nodes to be deleted, by the same queue as Slurm's hooks. A node in use is refused."""
    _ask(ctx, Mode.SUSPEND, nodes, wait or timeout is not None, timeout, json)


def _ask(
    ctx: typer.Context, mode: Mode, expression: str, wait: bool, timeout: float | None, as_json: bool
) -> None:
    from slurm_powersave.adapters import lock
    from slurm_powersave.engine.requests import operator_request
    from slurm_powersave.surfaces import follow as following

    current = session(ctx)
    journal = current.journal()
    request = operator_request(current.cluster(), mode, expression, time.time())
    journal.add_request(request, time.time())
    if lock.holder(current.cluster().layout.lock) is None:
        render.note("no engine is running; the request waits for one")
    if not wait:
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
        render.note(f"request {request.id} has not ended yet; it goes on: slurm-powersave follow")
        raise typer.Exit(1)
    _leave(operations, refused=bool(journal.refusals(request.id)))


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
    """Leave with 1 if an operation failed, with 7 if all that went wrong was refused."""
    from slurm_powersave.model.errors import PowersaveError, RefusedError

    outcomes = {operation.outcome for operation in operations}
    if "failed" in outcomes:
        raise typer.Exit(PowersaveError.exit_code)
    if refused or "refused" in outcomes:
        raise typer.Exit(RefusedError.exit_code)


def history(
    ctx: typer.Context,
    node: Annotated[str | None, typer.Option("--node", metavar="NODE", help="Only this node.")] = None,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, help="How many operations.")] = 20,
    json: Json = False,
) -> None:
    """Show the newest operations with their phases and how they ended, newest first."""
    from slurm_powersave.model import hostlist

    current = session(ctx)
    if node is not None:
        hostlist.expand(node, frozenset(current.cluster().nodes()))
    operations = current.journal().history(node, limit)
    if json:
        render.print_json([render.operation_value(one) for one in operations])
        return
    render.print_table(
        render.console(no_color=current.no_color),
        ("STARTED", "NODE", "MODE", "OUTCOME", "TOOK", "OPERATION", "PHASES", "WHY"),
        [_history_row(one) for one in operations],
        render.OUTCOME_STYLES,
    )


def _history_row(operation: Operation) -> tuple[str, ...]:
    lasted = [
        (phase.phase, following.at - phase.at)
        for phase, following in zip(operation.phases, operation.phases[1:], strict=False)
    ]
    steps = [f"{phase} {render.duration(seconds)}" for phase, seconds in lasted if seconds >= _WORTH_TELLING]
    if not operation.outcome:
        steps.append(operation.phase)
    why = f"({operation.failure.value}) " if operation.failure else ""
    return (
        render.clock(operation.created),
        operation.node,
        operation.mode.value,
        operation.outcome or "running",
        render.duration((operation.since if operation.outcome else time.time()) - operation.created),
        operation.id,
        ", ".join(steps),
        f"{why}{operation.text}".strip(),
    )


def follow(
    ctx: typer.Context,
    until_idle: Annotated[
        bool, typer.Option("--until-idle", help="Leave when nothing is running and nothing waits.")
    ] = False,
    json: Json = False,
) -> None:
    """Print one line per node and phase as it happens, until Ctrl-C; with --json one object a line."""
    from slurm_powersave.surfaces.follow import POLL_SECONDS, Follower

    follower = Follower(session(ctx).journal(), time.time())
    try:
        while True:
            news = follower.news()
            render.print_lines(dumps(event.value()) if json else event.line() for event in news)
            sys.stdout.flush()
            if until_idle and follower.idle:
                return
            time.sleep(POLL_SECONDS)
    except KeyboardInterrupt:
        return
