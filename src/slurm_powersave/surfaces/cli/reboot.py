"""`reboot` and `reimage`: a node's server is changed when Slurm has emptied the node."""

from __future__ import annotations

from typing import Annotated

import typer

from slurm_powersave.model.modes import Kind, Mode
from slurm_powersave.surfaces.cli import outdated as outdated_images
from slurm_powersave.surfaces.cli import render
from slurm_powersave.surfaces.cli.ask import Timeout, Wait, ask
from slurm_powersave.surfaces.cli.changing import acts, changing, changing_alone
from slurm_powersave.surfaces.cli.session import Json, Nodes

Flavor = Annotated[
    str, typer.Option("--flavor", metavar="NAME", help="Give the servers this flavor, too; same disk.")
]
Image = Annotated[
    str, typer.Option("--image", metavar="NAME", help="This image instead of the pool's.", show_default=False)
]
Force = Annotated[
    bool,
    typer.Option(
        "--force",
        help="Nodes that somebody has set DOWN or DRAIN, too; the state is put back afterwards.",
    ),
]
Replace = Annotated[bool, typer.Option("--replace", help="Delete and create instead of rebuilding in place.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(reboot)
    app.command()(reimage)


@changing
def reboot(
    ctx: typer.Context,
    nodes: Nodes,
    flavor: Flavor = "",
    force: Force = False,
    wait: Wait = False,
    timeout: Timeout = None,
    json: Json = False,
) -> None:
    """Reboot nodes through the cloud, each when its jobs have ended; with --flavor give them another size.

    A DOWN or DRAIN that somebody has set outlives a reboot; with --flavor such a node is refused. Another
    flavor holds until the server is made anew (the next resume).
    """
    from slurm_powersave.decide.node.reboot import asked

    if force and not flavor:
        raise typer.BadParameter("--force goes with --flavor: a reboot keeps a DOWN or DRAIN anyway")
    _tell_force(force)
    words = asked(Kind.RESIZE, flavor, force=force) if flavor else asked(Kind.REBOOT)
    ask(ctx, Mode.REBOOT, nodes, wait, timeout, json, words)


@changing_alone(lambda options: options["outdated"] and acts(options))
def reimage(
    ctx: typer.Context,
    nodes: Annotated[
        str | None, typer.Argument(metavar="NODES", help="A hostlist expression, such as demo-[1-4].")
    ] = None,
    image: Image = "",
    replace: Replace = False,
    force: Force = False,
    wait: Wait = False,
    timeout: Timeout = None,
    outdated: outdated_images.Outdated = False,
    pool: outdated_images.Pools = None,
    max_unavailable: outdated_images.MaxUnavailable = None,
    max_failures: outdated_images.MaxFailures = 1,
    at_most: outdated_images.OldMaxUnavailable = None,
    stop_after: outdated_images.OldMaxFailures = None,
    dry_run: outdated_images.DryRun = False,
    yes: outdated_images.Yes = False,
    json: Json = False,
) -> None:
    """Give nodes a fresh disk with their pool's image, each when its jobs have ended.

    A node that somebody has set DOWN or DRAIN is refused, with the reason and who set it.

    With --outdated: all nodes whose server has another image than its pool, some at a time. It waits
    for them; interrupted, it goes on where it was when it is run again.

    An image given by --image holds until the server is made anew (the next resume) or reimaged.
    """
    from slurm_powersave.decide.node.reboot import asked

    max_unavailable = max_unavailable or at_most
    max_failures = stop_after or max_failures
    if outdated:
        if nodes or image or force or wait or timeout is not None:
            raise typer.BadParameter(
                "--outdated can be used with --pool, not with NODES, --image, --force, --wait or --timeout"
            )
        outdated_images.run(
            ctx,
            pools=pool or [],
            max_unavailable=max_unavailable,
            max_failures=max_failures,
            replace=replace,
            dry_run=dry_run,
            yes=yes,
            as_json=json,
        )
        return
    if pool or max_unavailable is not None or dry_run or yes or max_failures != 1:
        raise typer.BadParameter(
            "--pool, --max-unavailable, --max-failures, --dry-run and --yes need --outdated"
        )
    if not nodes:
        raise typer.BadParameter("give NODES or --outdated")
    _tell_force(force)
    kind = Kind.REPLACE if replace else Kind.REIMAGE
    ask(ctx, Mode.REBOOT, nodes, wait, timeout, json, asked(kind, image, force=force))


def _tell_force(force: bool) -> None:
    if force:
        render.note(
            "--force: the servers of nodes that somebody has set DOWN or DRAIN are changed, too; the state"
            " and its reason are put back afterwards"
        )
