"""`slurm-powersave deploy` and `teardown`: show what will be done, ask, do it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from slurm_powersave.surfaces.cli import render
from slurm_powersave.surfaces.cli.back import Back, site_of
from slurm_powersave.surfaces.cli.changing import changing_alone
from slurm_powersave.surfaces.cli.session import Json, session
from slurm_powersave.surfaces.cli.terminal import DryRun, Yes, dialog, only_result_on_stdout

if TYPE_CHECKING:
    from slurm_powersave.commands.teardown_steps import Outcome
    from slurm_powersave.ports.site import Site

_INTERRUPTED = 130


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(deploy)
    app.command()(teardown)


@changing_alone()
def deploy(
    ctx: typer.Context,
    yes: Yes = False,
    dry_run: DryRun = False,
    back: Back = False,
    no_check: Annotated[
        bool, typer.Option("--no-check", help="Do not run the checks of `check` first.")
    ] = False,
    replace_login: Annotated[
        str,
        typer.Option(
            "--replace-login",
            metavar="NAME",
            help="Replace the login node of this name by a new one with an empty Slurm. --yes alone never "
            "does that. Refused while jobs are queued or running.",
        ),
    ] = "",
    force: Annotated[
        bool,
        typer.Option(
            "--force",
            help="With --replace-login: replace it even if Slurm can't be asked. Slurm's state, the queue "
            "and all running jobs are lost.",
        ),
    ] = False,
    replace_foreign: Annotated[
        bool,
        typer.Option(
            "--replace-foreign",
            help="Replace a slurm.conf, gres.conf or cgroup.conf on the login node that did not come from "
            "here; a copy is kept there.",
        ),
    ] = False,
    replace_edits: Annotated[
        bool,
        typer.Option(
            "--replace-edits",
            help="Replace what was edited by hand in those files since they were written; a copy is kept.",
        ),
    ] = False,
    json: Json = False,
) -> None:
    """Create network, login node and Slurm, or change what differs from the cluster file.

    Nothing that exists is deleted or replaced: such a plan is refused with exit code 7. First it does
    what `check` does, and refuses if that finds errors. If a deploy has failed or was interrupted, run
    it again: it continues from there.
    """
    from slurm_powersave.commands import deploy as engine
    from slurm_powersave.commands.base_state import Wish

    speak, done = dialog(yes, quiet=json), None
    with only_result_on_stdout() if json else nullcontext():
        site = site_of(ctx, back, speak, dry_run=dry_run)
        wish = Wish(replace_login, force, replace_foreign, replace_edits)
        if site:
            with _closing(site, "deploy"):
                done = engine.deploy(site, speak, wish, dry_run=dry_run, check=not no_check)
    agreed = bool(done and done.agreed)
    if json:
        render.print_json(
            {
                "deployed": agreed and not dry_run,
                "dry_run": dry_run,
                "plan": asdict(done.plan) if done else {},
                "servers": {
                    "base": list(done.servers) if done else [],
                    "created": list(done.wakes) if done else [],
                },
            }
        )
    if not agreed:
        _unchanged()


@changing_alone()
def teardown(
    ctx: typer.Context,
    yes: Yes = False,
    dry_run: DryRun = False,
    force: Annotated[
        bool, typer.Option("--force", help="Even if jobs are running, or Slurm can't be asked.")
    ] = False,
    wait: Annotated[
        float | None,
        typer.Option(
            "--wait", min=0, metavar="SECONDS", help="Drain the nodes and wait so long for their jobs."
        ),
    ] = None,
    discard_queue: Annotated[
        bool,
        typer.Option(
            "--discard-queue",
            help="Queued jobs may be lost. Needed with --yes, and for jobs queued after the question.",
        ),
    ] = False,
    images: Annotated[
        bool, typer.Option("--images", help="Delete the images that were built here, too.")
    ] = False,
    backup: Annotated[
        Path | None,
        typer.Option(
            "--backup",
            metavar="FILE|DIR",
            help="Where to write the backup with the logs; otherwise STATE/backups.",
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Delete all servers and the network of the cluster. Refused while jobs are running.

    Queued jobs are lost with the login node. The question says how many; with --yes they are lost only
    if --discard-queue is given, too.

    Shows everything with the cluster's tag, saves a backup and the logs, deletes, and asks the cloud what
    is left, which is shown with exit code 12. If a teardown has failed or was interrupted, run it again:
    it continues from there.
    """
    from slurm_powersave.commands import teardown as engine
    from slurm_powersave.commands.teardown_steps import Wish

    site = session(ctx).site()
    wish = Wish(dry_run=dry_run, force=force, wait=wait, images=images, discard_queue=discard_queue)
    with only_result_on_stdout() if json else nullcontext(), _closing(site, "teardown"):
        outcome = engine.teardown(site, dialog(yes, quiet=json), wish, backup)
    if json:
        render.print_json({"torn_down": outcome.done, "dry_run": dry_run, **_value(outcome)})
    if not outcome.done and not dry_run:
        _unchanged()


@contextmanager
def _closing(site: Site, command: str) -> Iterator[None]:
    """Say in a last line what there is when the person has interrupted it."""
    try:
        yield
    except KeyboardInterrupt:
        from slurm_powersave.commands.interrupted import closing

        render.note(closing(site, command))
        raise typer.Exit(_INTERRUPTED) from None


def _value(outcome: Outcome) -> dict[str, Any]:
    return {
        "servers": [
            {
                "name": row.server.name,
                "id": row.server.id,
                "status": row.server.status,
                "slurm": row.state,
                "jobs": list(row.jobs),
            }
            for row in outcome.rows
        ],
        "others": [asdict(left) for left in outcome.others],
        "terraform": outcome.plans,
        "jobs_waiting": outcome.waiting,
        "would_be_refused": outcome.refused,
        "backup": outcome.backup,
        "kept": [asdict(left) for left in outcome.kept],
    }


def _unchanged() -> None:
    render.note("Nothing was changed.")
    raise typer.Exit(1)
