"""`resume` and `suspend` by hand, `history`, `follow`: the journal, written and read."""

from __future__ import annotations

import sys
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from slurm_powersave.model.modes import Mode
from slurm_powersave.surfaces.cli import render
from slurm_powersave.surfaces.cli.ask import Timeout, Wait, ask
from slurm_powersave.surfaces.cli.changing import changing
from slurm_powersave.surfaces.cli.halts import ACT_COLUMNS, act_cells
from slurm_powersave.surfaces.cli.session import Json, Nodes, session

if TYPE_CHECKING:
    from slurm_powersave.model.nodes import Operation
    from slurm_powersave.model.records import Command, Done
    from slurm_powersave.surfaces.cli.session import Session

_WORTH_TELLING = 0.05
"""Seconds; shorter phases are left out of the table (not of the JSON)."""


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(resume)
    app.command()(suspend)
    app.command()(history)
    app.command()(follow)


@changing
def resume(
    ctx: typer.Context,
    nodes: Nodes,
    force: Annotated[
        bool,
        typer.Option(
            "--force",
            help="Also power up nodes that somebody has set DOWN or DRAIN. That state stays: no job starts"
            " there until somebody ends it.",
        ),
    ] = False,
    wait: Wait = False,
    timeout: Timeout = None,
    json: Json = False,
) -> None:
    """Ask for nodes to be created, through the same queue as the requests of Slurm's hooks.

    Refused for a node that somebody has set DOWN or DRAIN; the refusal says who set it, and why.
    """
    if force:
        render.note(
            "--force: nodes that somebody has set DOWN or DRAIN are powered up as they are; no job starts"
            " there until somebody ends that state"
        )
    ask(ctx, Mode.RESUME, nodes, wait, timeout, json, _words(force))


@changing
def suspend(
    ctx: typer.Context,
    nodes: Nodes,
    force: Annotated[
        bool,
        typer.Option(
            "--force",
            help="Also delete nodes in use (their jobs are requeued, or end if they can't be requeued), nodes"
            " that somebody has set DOWN or DRAIN (that state is put back afterwards), and nodes of min_nodes"
            " (they are created again).",
        ),
    ] = False,
    wait: Wait = False,
    timeout: Timeout = None,
    json: Json = False,
) -> None:
    """Ask for nodes to be deleted, through the same queue as the requests of Slurm's hooks.

    Refused for a node that is in use, that somebody has set DOWN or DRAIN, or that is one of min_nodes.
    """
    if force:
        _tell_forced_suspend(ctx, nodes)
    ask(ctx, Mode.SUSPEND, nodes, wait, timeout, json, _words(force))


def _words(force: bool) -> str:
    from slurm_powersave.decide.node.reboot import FORCE

    return FORCE if force else ""


def _tell_forced_suspend(ctx: typer.Context, nodes: str) -> None:
    from slurm_powersave.model import hostlist

    cluster = session(ctx).cluster()
    asked = hostlist.expand(nodes, frozenset(cluster.nodes()))
    render.note(
        "--force: jobs on these nodes are requeued, or end if they can't be requeued; a DOWN or DRAIN that"
        " somebody has set is put back afterwards"
    )
    if kept := [name for name in cluster.persistent() if name in asked]:
        render.note(f"--force: created again afterwards, because of min_nodes: {hostlist.fold(kept)}")


def history(
    ctx: typer.Context,
    node: Annotated[str | None, typer.Option("--node", metavar="NODE", help="Only this node.")] = None,
    limit: Annotated[
        int,
        typer.Option("--limit", metavar="N", min=1, help="How many operations, acts or commands at most."),
    ] = 20,
    evidence: Annotated[
        bool,
        typer.Option(
            "--evidence",
            help="Instead of operations show each deletion, rebuild, resize, reboot and forced power-down,"
            " with the evidence that allowed it.",
        ),
    ] = False,
    commands: Annotated[
        bool,
        typer.Option(
            "--commands",
            help="Instead of operations show each command that changed something: who, when, from where, how"
            " it ended, and what had changed in the cluster file.",
        ),
    ] = False,
    json: Json = False,
) -> None:
    """Show the newest operations with their phases and how they ended, newest first.

    With --evidence: the newest acts that destroyed something, one per line; an act is recorded before it
    begins. With --json each operation has its acts.
    """
    if commands and (evidence or node is not None):
        raise typer.BadParameter("--commands can't be used with --evidence or --node")
    from slurm_powersave.model import hostlist

    current = session(ctx)
    if node is not None:
        hostlist.expand(node, frozenset(current.cluster().nodes()))
    journal = current.journal()
    if not json and (why := journal.brake()):
        render.note(f"the brake is on: {why}. To see which servers it keeps: slurm-powersave continue")
    if evidence:
        _evidence(current, journal.newest_acts(node, limit), json)
        return
    if commands:
        _commands(journal.commands(limit), json)
        return
    operations = journal.history(node, limit)
    if json:
        acts = journal.acts_of(one.id for one in operations)
        render.print_json(
            [
                {**render.operation_value(one), "acts": [asdict(done) for done in acts.get(one.id, ())]}
                for one in operations
            ]
        )
        return
    render.print_table(
        render.console(no_color=current.no_color),
        ("STARTED", "NODE", "MODE", "OUTCOME", "TOOK", "OPERATION", "PHASES", "WHY"),
        [_history_row(one) for one in operations],
        render.OUTCOME_STYLES,
    )


def _evidence(current: Session, acts: list[Done], as_json: bool) -> None:
    if as_json:
        render.print_json([asdict(done) for done in acts])
    else:
        out = render.console(no_color=current.no_color)
        render.print_table(out, ACT_COLUMNS, [act_cells(done) for done in acts])


def _commands(commands: list[Command], as_json: bool) -> None:
    if as_json:
        render.print_json([asdict(one) for one in commands])
        return
    for one in commands:
        outcome = one.outcome or "has not ended, or was killed"
        render.print_lines([f"{render.clock(one.at)}  {one.by}", f"  {one.text}: {outcome}"])
        render.print_lines(f"    {line}" for line in one.diff.splitlines())


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
        bool,
        typer.Option(
            "--until-idle",
            help="Leave when nothing is running and nothing waits; with exit code 11 if no engine runs.",
        ),
    ] = False,
    json: Json = False,
) -> None:
    """Print one line per node and phase as it happens, until Ctrl-C; with --json one object a line."""
    from slurm_powersave.commands.engine_served import Served
    from slurm_powersave.surfaces.cli.follow import POLL_SECONDS, Follower

    current = session(ctx)
    lease = current.site().engine_lease()
    if until_idle and lease.holder() is None:
        render.note("no engine is running; what is open waits for one")
    follower, served = Follower(current.journal(), time.time()), Served(lease)
    try:
        while True:
            news = follower.news()
            if json:
                render.print_json_lines(event.value() for event in news)
            else:
                render.print_lines(event.line() for event in news)
            sys.stdout.flush()
            if until_idle:
                if follower.idle:
                    return
                served.require()
            time.sleep(POLL_SECONDS)
    except KeyboardInterrupt:
        return
