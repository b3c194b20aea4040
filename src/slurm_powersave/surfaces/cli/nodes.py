"""`slurm-powersave nodes`: hostlist expressions by hand."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from slurm_powersave.surfaces.cli import render
from slurm_powersave.surfaces.cli.session import Json, session

app = typer.Typer(help="Expand and fold hostlist expressions.", no_args_is_help=True, rich_markup_mode=None)

AnyName = Annotated[bool, typer.Option("--any", help="Take names that are not configured, too.")]


def _expand(ctx: typer.Context, expression: str, any_name: bool) -> tuple[str, ...]:
    from slurm_powersave.model import hostlist

    if any_name:
        return hostlist.expand_any(expression)
    return hostlist.expand(expression, frozenset(session(ctx).cluster().nodes()))


@app.command()
def expand(
    ctx: typer.Context,
    nodes: Annotated[str, typer.Argument(metavar="NODES", help="A hostlist expression.")],
    any_name: AnyName = False,
    json: Json = False,
) -> None:
    """Print the names of a hostlist expression, one a line."""
    names = _expand(ctx, nodes, any_name)
    if json:
        render.print_json(names)
    else:
        render.print_lines(names)


@app.command()
def fold(
    ctx: typer.Context,
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME", help="Names or expressions; read from stdin if there are none."),
    ] = None,
    any_name: AnyName = False,
    json: Json = False,
) -> None:
    """Print names as one hostlist expression."""
    from slurm_powersave.model import hostlist

    folded = hostlist.fold(_expand(ctx, ",".join(names or sys.stdin.read().split()), any_name))
    if json:
        render.print_json(folded)
    else:
        render.print_lines([folded])
