"""`resume` and `suspend` by hand, `history`, `follow`: the journal, written and read."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer

from slurm_powersave.model.modes import Mode
from slurm_powersave.surfaces import render
from slurm_powersave.surfaces.ask import Timeout, Wait, ask
from slurm_powersave.surfaces.session import Json, Nodes, session

if TYPE_CHECKING:
    from slurm_powersave.model.nodes import Operation

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
    ask(ctx, Mode.RESUME, nodes, wait, timeout, json)


def suspend(
    ctx: typer.Context, nodes: Nodes, wait: Wait = False, timeout: Timeout = None, json: Json = False
) -> None:
    """Ask for nodes to be deleted, by the same queue as Slurm's hooks. A node in use is refused."""
    ask(ctx, Mode.SUSPEND, nodes, wait, timeout, json)


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
            if json:
                render.print_json_lines(event.value() for event in news)
            else:
                render.print_lines(event.line() for event in news)
            sys.stdout.flush()
            if until_idle and follower.idle:
                return
            time.sleep(POLL_SECONDS)
    except KeyboardInterrupt:
        return
