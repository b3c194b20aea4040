"""--back: the cluster file of a command is the one that was applied before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from slurm_powersave.surfaces.cli.session import session

if TYPE_CHECKING:
    from slurm_powersave.commands.messages import Dialog
    from slurm_powersave.ports.site import Site

Back = Annotated[
    bool,
    typer.Option(
        "--back",
        help="First put the cluster file back as it was applied before: shows the difference and asks. The "
        "present one is kept beside it.",
    ),
]


def site_of(ctx: typer.Context, back: bool, speak: Dialog, *, dry_run: bool) -> Site | None:
    """Return the site of the cluster; None if it was to be the one before, and the person said no.

    Raises:
        ConfigError: the file is wrong, or there is none to go back to.
    """
    if not back:
        return session(ctx).site()
    from slurm_powersave.commands.previous_file import go_back

    found = go_back(session(ctx).path(), speak, dry_run=dry_run)
    return session(ctx).site_of(found) if found else None
