"""A question that a person answers before something is done."""

import sys

import typer

from slurm_powersave.surfaces import render


def confirm(question: str, yes: bool) -> bool:
    """Ask on the terminal; `yes` answers it, and without a terminal the answer is no."""
    if yes:
        return True
    if not sys.stdin.isatty():
        render.note(f"{question} There is no terminal to answer on; --yes answers yes.")
        return False
    return typer.confirm(question, err=True)
