"""`slurm-powersave deploy` and `teardown`: show what will be done, ask, do it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Annotated

import typer

from slurm_powersave.surfaces import render
from slurm_powersave.surfaces.confirm import confirm
from slurm_powersave.surfaces.session import Json, session

if TYPE_CHECKING:
    from slurm_powersave.engine.deploy import Talk

Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would be done, and do nothing.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(deploy)
    app.command()(teardown)


def deploy(ctx: typer.Context, yes: Yes = False, dry_run: DryRun = False, json: Json = False) -> None:
    """Create network, login node and Slurm, or change what differs from the cluster file."""
    from slurm_powersave.engine import deploy as engine

    cluster = session(ctx).cluster()
    with only_result_on_stdout() if json else nullcontext():
        done = engine.deploy(cluster, talk(yes, quiet=json), dry_run=dry_run)
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


def talk(yes: bool, *, quiet: bool) -> Talk:
    """Speak to the terminal; with `quiet` stdout is kept for the result."""
    from slurm_powersave.engine.deploy import Talk

    def say(text: str) -> None:
        # Ansible and Terraform write to the same terminal: in order, so no buffering.
        typer.echo(text, err=quiet)

    return Talk(say=say, show=say, ask=lambda question: confirm(question, yes))


@contextmanager
def only_result_on_stdout() -> Iterator[None]:
    """Send what Terraform and Ansible print to stderr, so that stdout holds nothing but JSON."""
    sys.stdout.flush()
    stdout = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        os.dup2(stdout, 1)
        os.close(stdout)


def _end(word: str, done: bool, dry_run: bool, as_json: bool) -> None:
    if as_json:
        render.print_json({word: done and not dry_run, "dry_run": dry_run})
    if not done:
        render.note("Nothing was changed.")
        raise typer.Exit(1)
