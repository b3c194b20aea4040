"""`reimage --outdated`: the plan, the question, and the progress of a run over all outdated nodes."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from slurm_powersave.surfaces.cli import render
from slurm_powersave.surfaces.cli.follow import POLL_SECONDS, events
from slurm_powersave.surfaces.cli.session import Session, session
from slurm_powersave.surfaces.cli.terminal import confirm

if TYPE_CHECKING:
    from collections.abc import Callable

    from slurm_powersave.commands.engine_served import Served
    from slurm_powersave.commands.rollout import Rollout


def renamed(new: str) -> Callable[[typer.CallbackParam, int | None], int | None]:
    """Warn when an option is given by the name that it had before."""

    def warn(option: typer.CallbackParam, value: int | None) -> int | None:
        if value is not None:
            render.note(f"{option.opts[0]} is called {new} now; the old name goes with the next version")
        return value

    return warn


Outdated = Annotated[
    bool, typer.Option("--outdated", help="All nodes whose server has another image than their pool.")
]
Pools = Annotated[
    list[str] | None, typer.Option("--pool", metavar="POOL", help="With --outdated: only this pool.")
]
MaxUnavailable = Annotated[
    int | None,
    typer.Option(
        "--max-unavailable",
        metavar="N",
        min=1,
        help="With --outdated: so many nodes of a pool at a time; 10 % of the pool, at least 1.",
    ),
]
MaxFailures = Annotated[
    int,
    typer.Option("--max-failures", metavar="N", min=1, help="With --outdated: stop after so many failures."),
]
OldMaxUnavailable = Annotated[
    int | None, typer.Option("--at-most", min=1, hidden=True, callback=renamed("--max-unavailable"))
]
OldMaxFailures = Annotated[
    int | None, typer.Option("--stop-after", min=1, hidden=True, callback=renamed("--max-failures"))
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="With --outdated: show what would be done.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="With --outdated: do not ask.")]

_INTERRUPTED = 130


def run(
    ctx: typer.Context,
    *,
    pools: Sequence[str],
    max_unavailable: int | None,
    max_failures: int,
    replace: bool,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Reimage what is outdated, some nodes of a pool at a time."""
    from slurm_powersave.commands.engine_served import Served
    from slurm_powersave.model.errors import SlurmError
    from slurm_powersave.surfaces.cli import rollout_text

    current = session(ctx)
    rollout = _rollout(current, pools, max_unavailable, max_failures, replace)
    rollout.look()
    if rollout.slurm_error:
        raise SlurmError("nothing was asked for", why=rollout.slurm_error)
    if not as_json:
        render.print_lines(rollout_text.plan_lines(rollout))
    if dry_run or not rollout.progress().total:
        if as_json:
            render.print_json(rollout_text.plan_value(rollout))
        return
    if not confirm("Reimage them?", yes):
        render.note("Nothing was asked for.")
        raise typer.Exit(1)
    lease = current.site().engine_lease()
    if lease.holder() is None:
        render.note("no engine is running; the requests wait for one")
    try:
        _follow(rollout, Served(lease), quiet=as_json)
    except KeyboardInterrupt:
        _interrupted(rollout)
        raise typer.Exit(_INTERRUPTED) from None
    _end(rollout, as_json)


def _rollout(
    current: Session, pools: Sequence[str], max_unavailable: int | None, max_failures: int, replace: bool
) -> Rollout:
    from slurm_powersave.commands.readings import read_slurm_and_clouds
    from slurm_powersave.commands.rollout import Rollout
    from slurm_powersave.decide.flavor.node_memory import by_pool
    from slurm_powersave.model.errors import ConfigError

    site, cluster = current.site(), current.cluster()
    known = [pool.name for pool in cluster.node_pools]
    if unknown := [pool for pool in pools if pool not in known]:
        raise ConfigError(
            f"no pool {unknown[0]}", where=str(cluster.file), todo=f"It has {', '.join(known)}."
        )
    slurm = site.slurm()
    seen = read_slurm_and_clouds(slurm, site.clouds())
    for what, why in seen.unreadable.items():
        if what != "slurm":
            render.note(f"{what} could not be read, so the journal is used instead: {why}")
    return Rollout(
        cluster,
        current.journal(),
        slurm,
        site.clock,
        seen.servers,
        [pool for pool in known if not pools or pool in pools],
        max_unavailable,
        max_failures,
        replace,
        flavors=by_pool(cluster, seen.flavors),
        sizes=seen.flavors,
    )


def _follow(rollout: Rollout, served: Served, *, quiet: bool) -> None:
    """Run until the rollout has ended; print each phase of each node, and the progress when it changes.

    Raises:
        UnfinishedError: no engine runs.
    """
    told: dict[str, int] = {}
    last, trouble = "", ""
    while True:
        rollout.step()
        if rollout.slurm_error and not trouble:
            render.note(f"Slurm can't be read; nothing new is asked for until it can: {rollout.slurm_error}")
        trouble = rollout.slurm_error
        if not quiet:
            news = [event for op in rollout.followed.values() for event in events(op, told.get(op.id, 0))]
            told |= {op.id: len(op.phases) for op in rollout.followed.values()}
            render.print_lines(event.line() for event in sorted(news, key=lambda event: event.at))
            if (now := rollout.progress().text()) != last:
                render.print_lines([now])
                last = now
            sys.stdout.flush()
        if rollout.ended:
            return
        served.require()
        time.sleep(POLL_SECONDS)


def _interrupted(rollout: Rollout) -> None:
    from slurm_powersave.surfaces.cli import rollout_text

    rollout.news()
    for line in rollout_text.left_lines(rollout):
        render.note(line)
    render.note(f"Interrupted: {rollout.progress().text()}. Run the same command again for the rest.")


def _end(rollout: Rollout, as_json: bool) -> None:
    from slurm_powersave.model.errors import PowersaveError, RefusedError
    from slurm_powersave.surfaces.cli import rollout_text

    if as_json:
        render.print_json(rollout_text.end_value(rollout))
    else:
        for line in [*rollout_text.left_lines(rollout), *rollout_text.end_lines(rollout)]:
            render.note(line)
    if rollout.unchanged or any(op.outcome == "failed" for op in rollout.failures):
        raise typer.Exit(PowersaveError.exit_code)
    if rollout.failures or rollout.refusals:
        raise typer.Exit(RefusedError.exit_code)
