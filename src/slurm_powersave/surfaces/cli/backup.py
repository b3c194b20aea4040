"""`slurm-powersave backup` and `restore`: the state directory as one file, and back."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from slurm_powersave.surfaces.cli import render
from slurm_powersave.surfaces.cli.changing import changing_alone
from slurm_powersave.surfaces.cli.session import Json, session
from slurm_powersave.surfaces.cli.terminal import only_result_on_stdout

_STREAM = "-"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(backup)
    app.command()(restore)


def backup(
    ctx: typer.Context,
    to: Annotated[
        str | None,
        typer.Option(
            "--to",
            metavar="DIR|FILE|-",
            help="A directory that exists, a file, or - for stdout; otherwise STATE/backups.",
        ),
    ] = None,
    keep: Annotated[
        int | None,
        typer.Option("--keep", min=1, metavar="N", help="Delete all but the newest N of the directory."),
    ] = None,
    json: Json = False,
) -> None:
    """Save journal, Terraform states, keys, known hosts and cluster file in one file.

    The engine may be running. The file holds private keys: mode 0600, complete and verified or not
    there at all.
    """
    from slurm_powersave.commands import backup as engine
    from slurm_powersave.model.errors import ConfigError

    site = session(ctx).site()
    if to == _STREAM:
        if keep is not None or json or sys.stdout.isatty():
            raise ConfigError(
                "--to - writes the backup to stdout", todo="Pipe it, without --keep and --json."
            )
        engine.send(site, sys.stdout.buffer)
        return
    made = engine.make(site, Path(to).absolute() if to else None, keep=keep)
    if json:
        value = {"path": str(made.path), "size": made.size, "created": made.manifest.created}
        render.print_json({**value, "members": len(made.manifest.members), "removed": list(made.removed)})
        return
    render.print_lines([str(made.path)])
    render.note(f"{len(made.manifest.members)} files, {render.size(made.size)}; it holds private keys")
    for name in made.removed:
        render.note(f"removed {name}")


@changing_alone(may_lack_file=True)
def restore(
    ctx: typer.Context,
    source: Annotated[str, typer.Argument(metavar="FROM", help="A backup file, or - for stdin.")],
    force: Annotated[
        bool, typer.Option("--force", help="Move a state directory that is in the way aside.")
    ] = False,
    json: Json = False,
) -> None:
    """Put the state directory back from a backup, on this control host or a new one.

    A cluster file that does not exist is written from the backup. What has been made or deleted since
    the backup, the engine finds out by the servers' tags when it runs again.
    """
    from slurm_powersave.commands import restore as engine
    from slurm_powersave.model.errors import ConfigError

    current = session(ctx)
    file = current.cluster_file
    if file is None:
        try:
            file = current.path()
        except ConfigError:
            file = None  # a new control host: where it was
    with only_result_on_stdout() if json else nullcontext():
        try:
            with nullcontext(sys.stdin.buffer) if source == _STREAM else open(source, "rb") as stream:
                done = engine.restore(
                    stream,
                    source,
                    file,
                    lambda text: render.say(text, err=json),
                    current.archive(),
                    current.site_of,
                    force=force,
                )
        except OSError as error:
            raise ConfigError("the backup can't be read", where=source, why=str(error)) from error
        inventory = engine.inventory(current.site_of(done.cluster), done.manifest)
    root, cluster_file = done.cluster.layout.root, done.cluster.file
    if json:
        moved = str(done.moved) if done.moved else None
        value = {"state_dir": str(root), "cluster_file": str(cluster_file), "moved": moved}
        render.print_json({**value, "created": done.manifest.created, "deploy_first": not inventory})
        return
    lines = [f"state directory: {root}"]
    if done.moved:
        lines.append(f"the old one: {done.moved}")
    if done.wrote_cluster_file:
        lines.append(f"cluster file, from the backup: {cluster_file}")
    elif done.cluster_file_differs:
        lines.append(f"cluster file: {cluster_file} is not the one of the backup; it was left as it is")
    if not inventory:
        lines.append(
            "It was elsewhere before, and the inventory names that place: run slurm-powersave deploy."
        )
    lines.append(
        "The brake is on: the engine destroys nothing without a request until Slurm, clouds and states have"
        " agreed for 30 minutes, or until you run slurm-powersave continue --confirm."
    )
    lines.append("Now start the engine. Within a minute it has compared itself with Slurm and the cloud:")
    lines.append("slurm-powersave status; slurm-powersave terraform plan")
    render.print_lines(lines)
