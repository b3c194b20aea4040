"""`slurm-powersave check`: every mistake of the cluster file, and all that the clouds can't provide."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from slurm_powersave.surfaces.cli import render
from slurm_powersave.surfaces.cli.session import Json, session

if TYPE_CHECKING:
    from slurm_powersave.commands.preflight import Report
    from slurm_powersave.config.settings import Mistake


_SHOWN = 6
"""Flavors of a pool that are named."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(check)


def check(
    ctx: typer.Context,
    offline: Annotated[
        bool, typer.Option("--offline", help="Check only the cluster file; ask no cloud, run no program.")
    ] = False,
    json: Json = False,
) -> None:
    """Check the cluster file, then ask the clouds whether they can provide it; change nothing.

    Credentials, images, flavors, networks and addresses, quota, key pair and names are looked at, and the
    version of slurmctld once it runs. All problems are in one report. Exit code 2 if there are mistakes or
    errors; warnings alone are no reason.
    """
    from slurm_powersave.config import settings
    from slurm_powersave.model.errors import ConfigError

    current = session(ctx)
    path = current.path()
    mistakes = settings.report(path)
    report = None
    if not mistakes:
        from slurm_powersave.commands import preflight

        report = preflight.offline(current.site()) if offline else preflight.look(current.site())
    if json:
        render.print_json(_value(str(path), mistakes, report))
    else:
        render.print_lines(_lines(str(path), mistakes, report))
    if mistakes or (report and report.errors):
        raise typer.Exit(ConfigError.exit_code)


def _value(path: str, mistakes: Sequence[Mistake], report: Report | None) -> dict[str, Any]:
    return {
        "file": path,
        "mistakes": [asdict(one) for one in mistakes],
        "asked": list(report.asked) if report else [],
        "findings": [asdict(one) for one in report.findings] if report else [],
        "flavors": {pool: list(names) for pool, names in report.flavors.items()} if report else {},
    }


def _lines(path: str, mistakes: Sequence[Mistake], report: Report | None) -> Iterator[str]:
    for one in mistakes:
        yield f"{one.place}: {one.key}: {one.wrong}"
        yield f"  {one.right}"
    if mistakes:
        yield f"{_count(len(mistakes), 'mistake')}; no cloud was asked, nothing was changed."
        return
    yield f"{path}: no mistakes"
    if report is None:
        return
    yield from (f"asked: {line}" for line in report.asked)
    for pool, names in report.flavors.items():
        if names:
            more = f", then {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
            yield f"pool {pool}: flavor {', then '.join(names[:_SHOWN])}{more}"
    for found in report.findings:
        # A diff has several lines; none of what comes from outside may look like a finding of ours.
        yield from f"{found.severity}: {found.where}: {found.wrong}".replace("\n", "\n    ").split("\n")
        yield f"  {found.right}"
    if not report.asked and not report.findings:
        return
    errors = len(report.errors)
    warnings = len(report.findings) - errors
    yield f"{_count(errors, 'error')}, {_count(warnings, 'warning')}; nothing was changed."


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'s' * (number != 1)}"
