"""How a long command speaks with the person: lines as it goes on, a question, and JSON apart from both."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from slurm_powersave.model.printable import printable
from slurm_powersave.surfaces.cli import render

if TYPE_CHECKING:
    from slurm_powersave.commands.messages import Dialog

Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would be done, and do nothing.")]


def dialog(yes: bool, *, quiet: bool) -> Dialog:
    """Speak on stdout, or with `quiet` on stderr; answer every question with yes if `yes` says so."""
    from slurm_powersave.commands.messages import Dialog

    return Dialog(
        say=lambda text: render.say(text, err=quiet),
        show=lambda text: render.show(text, err=quiet),
        ask=lambda question: confirm(question, yes),
        unasked=yes,
    )


def confirm(question: str, yes: bool) -> bool:
    """Ask on the terminal; `yes` answers it, and without a terminal the answer is no."""
    if yes:
        return True
    if not sys.stdin.isatty():
        render.note(
            f"{question} Standard input is not a terminal. Use --yes to answer yes without a question."
        )
        return False
    return typer.confirm(printable(question), err=True)


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
