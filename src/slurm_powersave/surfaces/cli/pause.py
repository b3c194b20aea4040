"""`slurm-powersave pause` and `continue`: stop the engine's changes for a while, and end that."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from slurm_powersave.surfaces.cli import brake_list, render
from slurm_powersave.surfaces.cli.changing import changing
from slurm_powersave.surfaces.cli.halts import WHOLE, Halt, brake_value, halts
from slurm_powersave.surfaces.cli.session import Json, Session, session

if TYPE_CHECKING:
    from collections.abc import Sequence

    from slurm_powersave.config.settings import Cluster


class _PoolAndWhy(TyperCommand):
    """Shows in the usage that the first of two arguments may be left out."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Name options and arguments."""
        return ["[OPTIONS]", "[POOL] WHY"]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(cls=_PoolAndWhy)(pause)
    app.command("continue")(go_on)


@changing
def pause(
    ctx: typer.Context,
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[POOL] WHY",
            help="The reason, in quotation marks. Without a pool before it the whole cluster is paused.",
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Start no new changes, in the cluster or in one pool, until `slurm-powersave continue`.

    Changes that are under way are completed. The engine creates, changes and deletes nothing new. It keeps
    all requests, and still reads Slurm and reports to it. A resume that waits longer than half of
    ResumeTimeout is given back to Slurm with the reason.

    A file named `pause` in the state directory also pauses the whole cluster; its text is the reason.
    Commands that change something themselves (deploy, image build, teardown) are not paused.
    """
    from slurm_powersave.commands.act_records import caller
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
            "Changes under way are completed. Nothing new is created, changed or deleted; requests are kept.",
            f"A resume that waits longer than {half:.0f} s (half of ResumeTimeout) is given back to Slurm"
            " with this reason.",
            f"To go on: slurm-powersave continue{f' {pool}' * bool(pool)}",
        ]
    )


def _pool_and_why(cluster: Cluster, words: Sequence[str]) -> tuple[str, str]:
    """Read the arguments; with a mistake in them nothing is paused."""
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


@changing
def go_on(
    ctx: typer.Context,
    pool: Annotated[
        str | None, typer.Argument(metavar="POOL", help="End this pool's pause only.", show_default=False)
    ] = None,
    confirm: Annotated[
        bool, typer.Option("--confirm", help="Also release the brake. First read what it keeps.")
    ] = False,
    pauses: Annotated[
        bool, typer.Option("--pauses", help="End only the pauses; the brake stays on.")
    ] = False,
    json: Json = False,
) -> None:
    """End the pauses, and with --confirm release the brake.

    While the brake is on, the engine destroys nothing on its own account, that is without a request of
    Slurm's or of a person's. The brake comes on when the engine has destroyed too many servers in a short
    time, and when the journal is new or restored. Then this command shows why it is on, which servers it
    keeps and what was destroyed in the last 10 minutes. Without --confirm it changes nothing and exits
    with code 7.

    When the pause of the whole cluster ends, the file `pause` is removed from the state directory.
    """
    from slurm_powersave.model.errors import RefusedError

    if confirm and (pool or pauses):
        raise typer.BadParameter(
            "--confirm releases the brake of the whole cluster; it can't be used with POOL or --pauses"
        )
    current = session(ctx)
    journal = current.journal()
    why = "" if pool or pauses else journal.brake()
    shown = brake_list.gather(current, why) if why else None
    refused, released = bool(why) and not confirm, bool(why) and confirm
    ended = [] if refused else _end(current, pool)
    if released:
        journal.confirm(time.time())
    left = halts(current.site().store(), journal)
    if json:
        value = {"ended": [one.value() for one in ended], "paused": [one.value() for one in left]}
        brake = shown or brake_value(journal.brake())
        render.print_json({**value, "brake": brake, "released": released})
    else:
        _tell(current, shown, ended, left)
        render.print_lines(["the brake is released"] if released else [])
    if refused:
        also = ". That also ends the pauses; --pauses ends only them." * bool(left)
        todo = f"Read the list above, then: slurm-powersave continue --confirm{also}"
        raise RefusedError("the brake is on", why=why, todo=todo)


def _end(current: Session, pool: str | None) -> list[Halt]:
    """End the pauses, or that of one pool; return them."""
    from slurm_powersave.model.errors import PowersaveError

    cluster, journal = current.cluster(), current.journal()
    found = halts(current.site().store(), journal)
    pools = [one.name for one in cluster.node_pools]
    if pool is not None:
        found = [one for one in found if one.pool == pool and pool]
        if not found and pool not in pools:  # a pool that has left the cluster file may still be paused
            raise _no_pool(cluster, pool, pools)
    for path in (one.file for one in found if one.file):
        try:
            current.site().store().end_pause()
        except OSError as error:
            todo = "Nothing was ended. Remove it by hand."
            raise PowersaveError("it can't be removed", where=str(path), why=str(error), todo=todo) from error
    journal.drop_pauses([one.pool for one in found if not one.file])
    return found


def _tell(
    current: Session, shown: dict[str, Any] | None, ended: Sequence[Halt], left: Sequence[Halt]
) -> None:
    if shown:
        brake_list.tell(current, shown)
    for one in ended:
        render.print_lines([f"ended: {one.line}", *([f"  removed {one.file}"] if one.file else [])])
    if left:
        render.print_lines([f"still paused: {one.line}" for one in left])
    elif not ended and not shown:
        render.print_lines(["nothing is paused"])
