"""`slurm-powersave pause` and `continue`: a person stops the engine's changes, and lets it go on."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from slurm_powersave.surfaces import brake_list, render
from slurm_powersave.surfaces.halts import WHOLE, Halt, brake_value, halts
from slurm_powersave.surfaces.session import Json, Session, session

if TYPE_CHECKING:
    from collections.abc import Sequence

    from slurm_powersave.decide.settings import Cluster


class _PoolAndWhy(TyperCommand):
    """Usage for arguments of which the first may be left out."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Name options and arguments."""
        return ["[OPTIONS]", "[POOL] WHY"]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(cls=_PoolAndWhy)(pause)
    app.command("continue")(go_on)


def pause(
    ctx: typer.Context,
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[POOL] WHY",
            help="The reason, in quotation marks; before it the pool, otherwise the whole cluster is paused.",
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Change nothing new, in the cluster or in one pool, until `slurm-powersave continue`.

    What is under way ends. Nothing new is created, changed or deleted by the engine. Requests are kept,
    and Slurm is still read and told. A resume that waits longer than half of ResumeTimeout is given back
    to Slurm with the reason.

    The file `pause` in the state directory pauses the whole cluster, too; what it says is the reason.
    Commands that change something themselves (deploy, image build, teardown) are not paused.
    """
    from slurm_powersave.engine.acts import caller
    from slurm_powersave.model.records import Pause

    current = session(ctx)
    cluster = current.cluster()
    pool, why = _pool_and_why(cluster, words or [])
    journal = current.journal()
    before = journal.pauses().get(pool)
    journal.save_pause(Pause(pool, why, caller(), time.time()))
    saved = journal.pauses()[pool]
    halt = Halt(saved.pool, saved.why, saved.by, saved.at)
    half = cluster.power_save.resume_timeout / 2
    if before:
        render.note(f"this replaces the pause by {before.by}: {before.why}")
    if json:
        render.print_json({"paused": halt.value(), "resumes_given_back_after": half})
        return
    render.print_lines(
        [
            f"paused: {halt.line}",
            "What is under way ends. Nothing new is created, changed or deleted; requests are kept.",
            f"A resume that waits longer than {half:.0f} s (half of ResumeTimeout) is given back to Slurm"
            " with this reason.",
            f"To go on: slurm-powersave continue{f' {pool}' * bool(pool)}",
        ]
    )


def _pool_and_why(cluster: Cluster, words: Sequence[str]) -> tuple[str, str]:
    """Take the arguments apart; a mistake in them pauses nothing."""
    from slurm_powersave.model.errors import ConfigError

    todo = 'For example: slurm-powersave pause "the switch is replaced"'
    if not words:
        raise ConfigError("no reason is given", todo=todo)
    if len(words) > 2:
        raise ConfigError("too many arguments", todo=f"Put the reason in quotation marks. {todo}")
    pools = [pool.name for pool in cluster.node_pools]
    pool, why = (words[0], words[1]) if len(words) == 2 else (WHOLE, words[0])
    if len(words) == 2 and pool not in pools:
        raise _no_pool(cluster, pool, pools, " A reason of several words needs quotation marks.")
    if not pool and why in pools:
        raise ConfigError(
            f"no reason is given for the pause of pool {why}", todo=f"slurm-powersave pause {why} WHY"
        )
    if not why.strip():
        raise ConfigError("the reason is empty", todo=todo)
    return pool, " ".join(why.split())


def _no_pool(cluster: Cluster, pool: str, pools: Sequence[str], hint: str = "") -> Exception:
    from slurm_powersave.model.errors import ConfigError

    return ConfigError(f"no pool {pool}", where=str(cluster.file), todo=f"It has {', '.join(pools)}.{hint}")


def go_on(
    ctx: typer.Context,
    pool: Annotated[
        str | None, typer.Argument(metavar="POOL", help="End this pool's pause only.", show_default=False)
    ] = None,
    confirm: Annotated[
        bool, typer.Option("--confirm", help="Release the brake, too. Read first what it holds.")
    ] = False,
    pauses: Annotated[
        bool, typer.Option("--pauses", help="End the pauses only; the brake stays as it is.")
    ] = False,
    json: Json = False,
) -> None:
    """End the pauses, and with --confirm release the brake.

    The brake stops what the engine destroys on its own account, that is without a request of Slurm's or of
    a person's. It comes on when that was too much in a short time, and with a journal that is new or
    restored. While it is on, this command shows why, which servers it holds and what was destroyed in the
    last 10 minutes; it changes nothing without --confirm, and leaves with exit code 7.

    A pause of the whole cluster by the file `pause` in the state directory ends by its removal.
    """
    from slurm_powersave.model.errors import RefusedError

    if confirm and (pool or pauses):
        raise typer.BadParameter(
            "--confirm releases the brake of the whole cluster; POOL and --pauses do not"
        )
    current = session(ctx)
    cluster, journal = current.cluster(), current.journal()
    why = "" if pool or pauses else journal.brake()
    shown = brake_list.gather(current, why) if why else None
    ended = [] if why and not confirm else _end(current, pool)
    if why and confirm:
        journal.confirm(time.time())
    left = halts(cluster, journal)
    if json:
        value = {"ended": [one.value() for one in ended], "paused": [one.value() for one in left]}
        render.print_json(
            {**value, "brake": shown or brake_value(journal.brake()), "released": bool(why and confirm)}
        )
    else:
        _tell(current, shown, ended, left)
        if why and confirm:
            render.print_lines(["the brake is released"])
    if why and not confirm:
        todo = "Read the list above, then: slurm-powersave continue --confirm"
        if left:
            todo += ". It ends the pauses, too; --pauses ends them alone."
        raise RefusedError("the brake is on", why=why, todo=todo)


def _end(current: Session, pool: str | None) -> list[Halt]:
    """End the pauses, or that of one pool; return them."""
    from slurm_powersave.model.errors import PowersaveError

    cluster, journal = current.cluster(), current.journal()
    found = halts(cluster, journal)
    pools = [one.name for one in cluster.node_pools]
    if pool is not None:
        found = [one for one in found if one.pool == pool and pool]
        if not found and pool not in pools:  # a pool that has left the cluster file may still be paused
            raise _no_pool(cluster, pool, pools)
    for path in (one.file for one in found if one.file):
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            todo = "Nothing was ended. Remove it by hand."
            raise PowersaveError("can't be removed", where=str(path), why=str(error), todo=todo) from error
    journal.drop_pauses([one.pool for one in found if not one.file])
    return found


def _tell(
    current: Session, shown: dict[str, Any] | None, ended: Sequence[Halt], left: Sequence[Halt]
) -> None:
    if shown:
        brake_list.tell(current, shown)
    for one in ended:
        render.print_lines([f"ended: {one.line}", *[f"  removed {one.file}"] * bool(one.file)])
    if left:
        render.print_lines([f"still paused: {one.line}" for one in left])
    elif not ended and not shown:
        render.print_lines(["nothing is paused"])
