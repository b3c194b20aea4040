"""`slurm-powersave terraform`: `plan` in all states, one answer; `init -upgrade` for newer providers."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from slurm_powersave.surfaces.cli import render
from slurm_powersave.surfaces.cli.changing import changing_alone
from slurm_powersave.surfaces.cli.session import Json, session

if TYPE_CHECKING:
    from collections.abc import Iterable

    from slurm_powersave.commands.terraform_plans import StatePlan

app = typer.Typer(
    help="Look at the Terraform states, and choose newer providers.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.callback()
def states() -> None:
    """Look at the Terraform states, and choose newer providers."""


@app.command()
def plan(ctx: typer.Context, json: Json = False) -> None:
    """Run `terraform plan` in every state; apply nothing. Exit code 5 if a state can't be planned in."""
    from slurm_powersave.commands.terraform_plans import plan_all
    from slurm_powersave.model.errors import TerraformError

    plans = plan_all(session(ctx).site())
    if json:
        found = list(plans)
        render.print_json([{**asdict(one), "directory": str(one.directory)} for one in found])
    else:
        found = _print(plans)
    if any(one.error for one in found):
        raise typer.Exit(TerraformError.exit_code)


@app.command()
@changing_alone()
def init(
    ctx: typer.Context,
    upgrade: Annotated[
        bool,
        typer.Option("--upgrade", "-upgrade", help="Take the newest providers that the root modules allow."),
    ] = False,
    json: Json = False,
) -> None:
    """Run `terraform init -upgrade` in every state; the engine must be stopped.

    All shards of a cloud get the same providers, and nothing else changes: `terraform plan` afterwards shows
    whether the new ones would change anything. Exit code 5 if Terraform fails.
    """
    from slurm_powersave.commands import provider_upgrade
    from slurm_powersave.model.errors import ConfigError

    if not upgrade:
        raise ConfigError(
            "nothing to do without -upgrade",
            why="the states are initialised by themselves when they are needed",
            todo="slurm-powersave terraform init -upgrade takes newer providers.",
        )
    chosen = provider_upgrade.upgrade(session(ctx).site(), render.note)
    if json:
        render.print_json({source: {"before": old, "after": new} for source, (old, new) in chosen.items()})
        return
    for source, (before, after) in chosen.items():
        render.print_text(f"{source}: {after}" if before == after else f"{source}: {before} -> {after}")


def _print(plans: Iterable[StatePlan]) -> list[StatePlan]:
    found = []
    for one in plans:
        found.append(one)
        if one.error:
            render.note(f"{one.name}: {one.error}")
        elif one.actions:
            render.print_text(f"{one.name}:\n{one.text}\n")
    total: Counter[str] = Counter()
    for one in found:
        total.update(one.actions)
    planned = sum(not one.error for one in found)
    states = "1 state" if planned == 1 else f"{planned} states"
    changes = ", ".join(f"{count} to {action}" for action, count in sorted(total.items()))
    render.print_lines([f"{changes or 'No changes'} in {states}."])
    return found
