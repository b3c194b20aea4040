"""`slurm-powersave deploy` and `teardown`: show what will be done, ask, do it."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Annotated

import typer

from slurm_powersave.surfaces import render
from slurm_powersave.surfaces.session import Json, session
from slurm_powersave.surfaces.talk import DryRun, Yes, only_result_on_stdout, talk


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(deploy)
    app.command()(teardown)


def deploy(
    ctx: typer.Context,
    yes: Yes = False,
    dry_run: DryRun = False,
    no_check: Annotated[
        bool, typer.Option("--no-check", help="Do not ask the clouds first whether all is as it should be.")
    ] = False,
    json: Json = False,
) -> None:
    """Create network, login node and Slurm, or change what differs from the cluster file.

    First it does what `check` does, and refuses if that finds errors.
    """
    from slurm_powersave.engine import deploy as engine

    cluster = session(ctx).cluster()
    with only_result_on_stdout() if json else nullcontext():
        done = engine.deploy(cluster, talk(yes, quiet=json), dry_run=dry_run, check=not no_check)
    _end("deployed", done, dry_run, json)


def teardown(
    ctx: typer.Context,
    yes: Yes = False,
    dry_run: DryRun = False,
    force: Annotated[bool, typer.Option("--force", help="Even if jobs are running.")] = False,
    json: Json = False,
) -> None:
    """Delete all servers and the network of the cluster. Refused while jobs are running."""
    from slurm_powersave.engine import deploy as engine

    cluster = session(ctx).cluster()
    with only_result_on_stdout() if json else nullcontext():
        done = engine.teardown(cluster, talk(yes, quiet=json), dry_run=dry_run, force=force)
    _end("torn_down", done, dry_run, json)


def _end(word: str, done: bool, dry_run: bool, as_json: bool) -> None:
    if as_json:
        render.print_json({word: done and not dry_run, "dry_run": dry_run})
    if not done:
        render.note("Nothing was changed.")
        raise typer.Exit(1)
