"""`slurm-powersave check`: every mistake of the cluster file in one report."""

from __future__ import annotations

from dataclasses import asdict

import typer

from slurm_powersave.surfaces import render
from slurm_powersave.surfaces.session import Json, session


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(check)


def check(ctx: typer.Context, json: Json = False) -> None:
    """Check the cluster file; change nothing. Exit code 2 if there are mistakes."""
    from slurm_powersave.decide import settings
    from slurm_powersave.model.errors import ConfigError

    path = session(ctx).path()
    mistakes = settings.report(path)
    if json:
        render.print_json({"file": str(path), "mistakes": [asdict(one) for one in mistakes]})
    elif mistakes:
        for one in mistakes:
            render.print_lines([f"{one.place}: {one.key}: {one.wrong}", f"  {one.right}"])
        render.print_lines(
            [f"{len(mistakes)} mistake{'s' if len(mistakes) > 1 else ''}; nothing was changed."]
        )
    else:
        render.print_lines([f"{path}: no mistakes"])
    if mistakes:
        raise typer.Exit(ConfigError.exit_code)
