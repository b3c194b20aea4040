"""`slurm-powersave image`: build, list and delete node images."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import asdict
from typing import Annotated

import typer

from slurm_powersave.surfaces.cli import render
from slurm_powersave.surfaces.cli.changing import changing_alone
from slurm_powersave.surfaces.cli.session import Json, session
from slurm_powersave.surfaces.cli.terminal import DryRun, Yes, dialog, only_result_on_stdout

app = typer.Typer(help="Build, list and delete node images.", no_args_is_help=True, rich_markup_mode=None)


@app.command()
@changing_alone()
def build(
    ctx: typer.Context,
    node: Annotated[
        str | None,
        typer.Option(
            "--from", metavar="NODE", help="Start from a copy of this node's disk; it must be idle."
        ),
    ] = None,
    base: Annotated[
        str | None, typer.Option("--base", metavar="IMAGE", help="Start from this image.")
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", help="The new image's name; otherwise POOL-DATE-TIME.")
    ] = None,
    pool: Annotated[
        str | None,
        typer.Option(
            "--pool",
            help="Use this pool's cloud, flavor and before_configure; needed if there are several pools.",
        ),
    ] = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Build a node image: start a server, prepare and clean it, take a snapshot, test the image.

    What it needs for that is deleted at the end. One that was killed is tidied up by the next.
    """
    from slurm_powersave.commands import images

    site = session(ctx).site()
    with only_result_on_stdout() if json else nullcontext():
        built = images.build(
            site, dialog(yes, quiet=json), base=base, node=node, name=name, pool=pool, dry_run=dry_run
        )
    if json:
        done = bool(built) and not dry_run
        value = asdict(built) if built else {}
        render.print_json({"built": done, "dry_run": dry_run, **value})
    if built is None:
        render.note("Nothing was changed.")
        raise typer.Exit(1)


@app.command(name="list")
def list_images(ctx: typer.Context, json: Json = False) -> None:
    """List the images that were built here, and those that the cluster uses."""
    from slurm_powersave.commands import images

    current = session(ctx)
    rows = images.listed(current.site())
    if json:
        render.print_json([asdict(row) for row in rows])
        return
    render.print_table(
        render.console(no_color=current.no_color),
        ("IMAGE", "BASE", "CREATED", "SIZE", "STATUS", "USED BY"),
        [
            (
                row.name,
                (f"{row.node} ({row.base})" if row.node else row.base) or "-",
                "-" if row.created is None else render.clock(row.created),
                "-" if row.size is None else render.size(row.size),
                row.status,
                ", ".join(row.used_by) or "-",
            )
            for row in rows
        ],
        {"unfinished": "yellow", "active": "green"},
    )


@app.command()
@changing_alone()
def delete(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The image.")],
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Delete an image that was built here. Refused while a pool or a node uses it."""
    from slurm_powersave.commands import images

    done = images.delete(session(ctx).site(), name, dialog(yes, quiet=json))
    if json:
        render.print_json({"deleted": done})
    if not done:
        render.note("Nothing was changed.")
        raise typer.Exit(1)
