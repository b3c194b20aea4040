"""`slurm-powersave resize`: the cluster gets the size that its file says."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from slurm_powersave.model.errors import ConfigError, PowersaveError
from slurm_powersave.surfaces.cli import render
from slurm_powersave.surfaces.cli.back import Back, site_of
from slurm_powersave.surfaces.cli.changing import changing_alone
from slurm_powersave.surfaces.cli.session import Json
from slurm_powersave.surfaces.cli.terminal import DryRun, Yes, dialog, only_result_on_stdout

if TYPE_CHECKING:
    from slurm_powersave.commands.scale import News
    from slurm_powersave.commands.scale_command import Done

_DAY = 86400.0


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(resize)


@changing_alone()
def resize(
    ctx: typer.Context,
    yes: Yes = False,
    dry_run: DryRun = False,
    back: Back = False,
    abort: Annotated[
        bool,
        typer.Option(
            "--abort", help="End a running resize and the drains that it has set; change nothing else."
        ),
    ] = False,
    timeout: Annotated[
        float,
        typer.Option("--timeout", min=0, metavar="SECONDS", help="How long nodes may take to be drained."),
    ] = _DAY,
    replace_edits: Annotated[
        bool,
        typer.Option(
            "--replace-edits",
            help="Replace what was edited by hand in Slurm's files on the login node; a copy is kept there.",
        ),
    ] = False,
    json: Json = False,
) -> None:
    """Add, remove, protect and release nodes until the cluster is as its file says; jobs are waited for.

    Can be interrupted at any moment; run again, it goes on where it was.
    """
    from slurm_powersave.commands.base_state import Wish
    from slurm_powersave.commands.scale_command import ScaleCommand

    def tell(news: News) -> None:
        render.say(_line(news), err=json)

    if abort and back:
        raise ConfigError("--abort and --back can't be used together", todo="End the resize first.")
    speak, wish = dialog(yes, quiet=json), Wish(replace_edits=replace_edits)
    site = site_of(ctx, back, speak, dry_run=dry_run)
    if site is None:
        _end(None, dry_run, json)
        return
    work = ScaleCommand(site, speak, tell, wish)
    try:
        with only_result_on_stdout() if json else nullcontext():
            if abort:
                released = work.abort()
            else:
                done = work.run(dry_run=dry_run, timeout=timeout)
    except KeyboardInterrupt:
        render.note("interrupted; what was done stays. Run it again, or end its drains with resize --abort")
        raise typer.Exit(130) from None
    except PowersaveError:
        if json:
            render.print_json({"resized": False, "dry_run": dry_run, "nodes": dict(work.outcome)})
        raise
    if abort:
        _aborted(released, json)
    else:
        _end(done, dry_run, json)


def _aborted(released: list[str], as_json: bool) -> None:
    if as_json:
        render.print_json({"released": released})
    elif not released:
        render.note("no node was drained by a resize")


def _end(done: Done | None, dry_run: bool, as_json: bool) -> None:
    if as_json:
        render.print_json(
            {
                "resized": done is not None and not dry_run,
                "dry_run": dry_run,
                "steps": [
                    {"kind": s.kind.value, "act": s.act.value, "nodes": list(s.nodes), "text": s.text}
                    for s in (done.steps if done else [])
                ],
                "plan": asdict(done.plan) if done else {},
                "servers": {
                    "created": list(done.change.wake) if done else [],
                    "deleted": dict(done.deleted) if done else {},
                },
                "left_alone": dict(done.change.set_by_admin or {}) if done else {},
                "nodes": dict(done.outcome) if done else {},
            }
        )
    if done is None:
        render.note("Nothing was changed.")
        raise typer.Exit(1)


def _line(news: News) -> str:
    from slurm_powersave.surfaces.cli.follow import Event

    return Event(news.at, news.node, news.kind.value, "", news.step, news.seconds, news.text).line()
