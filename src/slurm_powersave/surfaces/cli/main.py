"""The command `slurm-powersave`: global options, and errors told without a traceback.

The subcommands stand in modules of their own (cli_*.py). They import what they need when they run, so
that `--help` and `nodes expand` stay quick.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from slurm_powersave import __version__
from slurm_powersave.model import machine
from slurm_powersave.model.errors import MachineError, PowersaveError
from slurm_powersave.surfaces.cli import (
    backup,
    check,
    deploy,
    engine,
    image,
    log,
    nodes,
    operations,
    pause,
    reboot,
    render,
    resize,
    status,
    terraform,
)
from slurm_powersave.surfaces.cli.session import Session


class ErrorsForPeople(TyperGroup):
    """Print our own errors as what they say, and leave with their exit code."""

    def invoke(self, ctx: Any) -> Any:
        """Run the subcommand."""
        try:
            return super().invoke(ctx)
        except PowersaveError as error:
            self._tell(ctx, error, error)
        except BrokenPipeError:
            # Whoever read our output (head, less) has enough of it; nothing is wrong. The flush at the
            # interpreter's end would complain again, so stdout goes nowhere from here on.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(0) from None
        except OSError as error:
            # A full disk, a file of ours that this user may not write: no traceback helps there.
            if not machine.is_at_fault(error):
                raise
            self._tell(ctx, error, MachineError(str(error.strerror), where=str(error.filename or "")))

    def _tell(self, ctx: Any, error: Exception, told: PowersaveError) -> NoReturn:
        known = ctx.obj if isinstance(ctx.obj, Session) else Session()
        if known.debug:
            raise error
        render.print_error(told, as_json=known.json)
        raise typer.Exit(told.exit_code) from None


app = typer.Typer(
    name="slurm-powersave",
    cls=ErrorsForPeople,
    help="Slurm sizes its own cluster through Terraform and Ansible.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def _version(value: bool) -> None:
    if value:
        render.print_lines([f"slurm-powersave {__version__}"])
        raise typer.Exit


@app.callback()
def options(
    ctx: typer.Context,
    cluster: Annotated[
        Path | None,
        typer.Option(
            "--cluster",
            metavar="FILE",
            help="The cluster file. Otherwise $SLURM_POWERSAVE_CLUSTER, ./group_vars/all.yml,"
            " /etc/slurm-powersave/cluster.yml, whichever is found first.",
        ),
    ] = None,
    no_color: Annotated[bool, typer.Option("--no-color", help="No colours; so does $NO_COLOR.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Take the global options; they stand before the subcommand."""
    log.for_commands()
    ctx.obj = Session(cluster_file=cluster, no_color=no_color, debug=debug)


check.register(app)
deploy.register(app)
backup.register(app)
engine.register(app)
status.register(app)
operations.register(app)
pause.register(app)
reboot.register(app)
resize.register(app)
app.add_typer(image.app, name="image")
app.add_typer(nodes.app, name="nodes")
app.add_typer(terraform.app, name="terraform")


def take_signals() -> None:
    """SIGTERM interrupts a command as Ctrl-C does: it is what `--abort` sends.

    A SIGINT that the caller has put aside (`&` in a script) remains so for us, by a handler: exec
    would hand on "ignored", and Terraform and Ansible are to hear the SIGINT that we send them (signal(7)).
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, lambda *_: None)


def main() -> None:
    """Run the command; the entry point of the distribution."""
    take_signals()
    # ssh runs a ProxyCommand with it, and a service's user has nologin there.
    os.environ["SHELL"] = "/bin/sh"
    log.for_this_process()
    try:
        app()
    except Exception as error:
        log.tell_unexpected(type(error), error, error.__traceback__)
        sys.exit(1)


if __name__ == "__main__":
    main()
