"""`slurm-powersave engine run`: the service, in the foreground."""

from __future__ import annotations

import logging
import signal
import threading
from typing import Annotated

import typer

from slurm_powersave.surfaces.cli import log
from slurm_powersave.surfaces.cli.session import session


def register(app: typer.Typer) -> None:
    """Add the command group."""
    group = typer.Typer(
        no_args_is_help=True, help="The service that serves Slurm's requests.", rich_markup_mode=None
    )
    group.command()(run)
    app.add_typer(group, name="engine")


def run(
    ctx: typer.Context,
    verbose: Annotated[bool, typer.Option("--verbose", help="Also log details for developers.")] = False,
) -> None:
    """Serve the cluster until SIGTERM or Ctrl-C. One line per phase of each node goes to standard error."""
    from slurm_powersave.commands import serve

    site = session(ctx).site()
    log.set_up(logging.DEBUG if verbose else logging.INFO)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    serve.run(site, stop)
