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
    from slurm_powersave.commands.engine_served import Served
    from slurm_powersave.commands.rollout import Waves

Outdated = Annotated[
    bool, typer.Option("--outdated", help="All nodes whose server has another image than their pool.")
]
Pools = Annotated[
    list[str] | None, typer.Option("--pool", metavar="POOL", help="With --outdated: only this pool.")
]
AtMost = Annotated[
    int | None,
    typer.Option(
        "--at-most",
        metavar="N",
        min=1,
        help="With --outdated: so many nodes of a pool at a time; 10 % of the pool, at least 1.",
    ),
]
StopAfter = Annotated[
    int,
    typer.Option("--stop-after", metavar="N", min=1, help="With --outdated: stop after so many failures."),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="With --outdated: show what would be done.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="With --outdated: do not ask.")]

_INTERRUPTED = 130


def run(
    ctx: typer.Context,
    *,
    pools: Sequence[str],
    at_most: int | None,
    stop_after: int,
    replace: bool,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Reimage what is outdated, in waves."""
    from slurm_powersave.adapters.state_dir import lock
    from slurm_powersave.commands.engine_served import Served
    from slurm_powersave.model.errors import SlurmError
    from slurm_powersave.surfaces.cli import rollout_text

    current = session(ctx)
    waves = _waves(current, pools, at_most, stop_after, replace)
    waves.look()
    if waves.slurm_error:
        raise SlurmError("nothing was asked for", why=waves.slurm_error)
    if not as_json:
        render.print_lines(rollout_text.plan_lines(waves))
    if dry_run or not waves.progress().total:
        if as_json:
            render.print_json(rollout_text.plan_value(waves))
        return
    if not confirm("Reimage them?", yes):
        render.note("Nothing was asked for.")
        raise typer.Exit(1)
    if lock.holder(current.cluster().layout.lock) is None:
        render.note("no engine is running; the requests wait for one")
    try:
        _follow(waves, Served(current.cluster().layout.lock), quiet=as_json)
    except KeyboardInterrupt:
        _interrupted(waves)
        raise typer.Exit(_INTERRUPTED) from None
    _end(waves, as_json)


def _waves(
    current: Session, pools: Sequence[str], at_most: int | None, stop_after: int, replace: bool
) -> Waves:
    from slurm_powersave.commands.readings import observe
    from slurm_powersave.commands.rollout import Waves
    from slurm_powersave.decide.flavor.node_memory import by_pool
    from slurm_powersave.model.errors import ConfigError

    site, cluster = current.site(), current.cluster()
    known = [pool.name for pool in cluster.node_pools]
    if unknown := [pool for pool in pools if pool not in known]:
        raise ConfigError(
            f"no pool {unknown[0]}", where=str(cluster.file), todo=f"It has {', '.join(known)}."
        )
    slurm = site.slurm()
    seen = observe(slurm, site.clouds())
    for what, why in seen.unreadable.items():
        if what != "slurm":
            render.note(f"{what} could not be read, so the journal is used instead: {why}")
    return Waves(
        cluster,
        current.journal(),
        slurm,
        site.clock,
        seen.servers,
        [pool for pool in known if not pools or pool in pools],
        at_most,
        stop_after,
        replace,
        flavors=by_pool(cluster, seen.flavors),
        sizes=seen.flavors,
    )


def _follow(waves: Waves, served: Served, *, quiet: bool) -> None:
    """Run until all waves have ended; print each phase of each node, and the progress when it changes.

    Raises:
        UnfinishedError: no engine runs.
    """
    told: dict[str, int] = {}
    last, trouble = "", ""
    while True:
        waves.step()
        if waves.slurm_error and not trouble:
            render.note(f"Slurm can't be read; nothing new is asked for until it can: {waves.slurm_error}")
        trouble = waves.slurm_error
        if not quiet:
            news = [event for op in waves.followed.values() for event in events(op, told.get(op.id, 0))]
            told |= {op.id: len(op.phases) for op in waves.followed.values()}
            render.print_lines(event.line() for event in sorted(news, key=lambda event: event.at))
            if (now := waves.progress().text()) != last:
                render.print_lines([now])
                last = now
            sys.stdout.flush()
        if waves.ended:
            return
        served.require()
        time.sleep(POLL_SECONDS)


def _interrupted(waves: Waves) -> None:
    from slurm_powersave.surfaces.cli import rollout_text

    waves.news()
    for line in rollout_text.left_lines(waves):
        render.note(line)
    render.note(f"Interrupted: {waves.progress().text()}. Run the same command again for the rest.")


def _end(waves: Waves, as_json: bool) -> None:
    from slurm_powersave.model.errors import PowersaveError, RefusedError
    from slurm_powersave.surfaces.cli import rollout_text

    if as_json:
        render.print_json(rollout_text.end_value(waves))
    else:
        for line in [*rollout_text.left_lines(waves), *rollout_text.end_lines(waves)]:
            render.note(line)
    if waves.unchanged or any(op.outcome == "failed" for op in waves.failures):
        raise typer.Exit(PowersaveError.exit_code)
    if waves.failures or waves.refusals:
        raise typer.Exit(RefusedError.exit_code)
