"""`slurm-powersave status`: one table of all nodes, and whether the engine runs."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from slurm_powersave.surfaces.cli import halts, notices, render
from slurm_powersave.surfaces.cli.session import Json, session

if TYPE_CHECKING:
    from slurm_powersave.commands.readings import Reading
    from slurm_powersave.config.settings import Cluster
    from slurm_powersave.decide.node.status import StatusRow
    from slurm_powersave.decide.preflight.slurm_running import Running
    from slurm_powersave.ports.journal import Journal
    from slurm_powersave.ports.lease import Status


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(status)


def status(
    ctx: typer.Context,
    outdated: Annotated[
        bool,
        typer.Option("--outdated", help="Only nodes whose server differs from what their pool wants."),
    ] = False,
    json: Json = False,
) -> None:
    """Show every node: Slurm's state, server, running operation, its phase and since when.

    The last column says what keeps the operation, or what it waits for; else why the node rests, or Slurm's
    reason.

    Where a server has another image or flavor than its pool wants, both are shown: what it has, and
    what it would get; "by hand" if somebody asked for what it has.

    If slurmctld runs another version of Slurm than the cluster file names, a line says so, and what to do.
    So does one if slurm.conf and what the first nodes have found of their hardware differ.
    Pauses and the brake are shown, and how they end; so is what an engine in trouble waits for. So are nodes
    that Slurm can't reach, what is the matter with their servers, and what the engine will do about it; and
    nodes whose Terraform state has an older version of the root module.
    What can't be read is shown as ?, with the cause below the table; the exit code is 0 nevertheless.
    """
    from slurm_powersave.commands.readings import read_slurm_and_clouds
    from slurm_powersave.decide.preflight import slurm_running
    from slurm_powersave.engine.runs import first_nodes, root_modules

    current = session(ctx)
    cluster = current.cluster()
    journal, store = current.journal(), current.site().store()
    seen = read_slurm_and_clouds(current.site().slurm(), current.site().clouds())
    found = [row for row in _rows(cluster, seen, journal) if row.outdated or not outdated]
    lease = current.site().engine_lease()
    engine = lease.holder()
    waiting = len(journal.unplanned_requests())
    paused, brake = halts.halts(store, journal), journal.brake()
    hardware = first_nodes.findings(cluster, journal, store, seen.flavors)
    warnings = notices.still_so(journal.notices(), seen.slurm)
    older = root_modules.older(current.site().module_versions(), journal.node_records())
    if json:
        render.print_json(
            {
                "cluster": cluster.cluster_name,
                "engine": engine,
                "waiting_requests": waiting,
                "pauses": [one.value() for one in paused],
                "brake": halts.brake_value(brake),
                "warnings": [notices.value(one) for one in warnings],
                "nodes": [asdict(row) for row in found],
                "slurm_version": _version(cluster, seen.running),
                "hardware": [asdict(one) for one in hardware],
                "older_root_modules": older,
                "unreadable": dict(seen.unreadable),
            }
        )
        return
    differs = any(row.outdated for row in found)
    more = ["OUTDATED"] if differs else []
    render.print_table(
        render.console(no_color=current.no_color),
        ("NODE", "SLURM", "SERVER", "OPERATION", "PHASE", "SINCE", *more, "REASON"),
        [_cells(row, differs) for row in found],
        {"?": "yellow", "rests": "yellow", "not configured": "bold yellow", "not in Slurm": "bold yellow"},
    )
    if engine is None:
        render.print_lines(["engine: not running"])
    else:
        render.print_lines([f"engine: {lease.describe()}"])
        if "intake" in engine:
            render.print_lines([f"requests from {cluster.login.name}: {engine['intake']}"])
        render.print_lines(_errors(engine))
    if waiting:
        render.print_lines([f"requests waiting for it: {waiting}"])
    render.print_lines([*halts.pause_lines(paused), *halts.brake_lines(brake), *notices.lines(warnings)])
    if other := slurm_running.disagreement(cluster, seen.running):
        render.print_lines([other.wrong, f"  {other.right}"])
    for one in hardware:
        render.print_lines([one.wrong, f"  {one.right}"])
    render.print_lines(root_modules.lines(older))
    for what, why in seen.unreadable.items():
        render.note(f"{what} could not be read: {why}")
    if seen.running.trouble and "slurm" not in seen.unreadable:
        render.note(f"slurmctld's version could not be read: {seen.running.trouble}")


def _errors(engine: Status) -> list[str]:
    """Say what the engine waits for, and how often it had to begin anew."""
    lines = [f"engine waits, and tries again by itself: {engine['trouble']}"] if engine.get("trouble") else []
    if engine.get("left_alone"):
        lines.append(f"engine leaves alone what always fails: {engine['left_alone']}")
    if engine.get("errors"):
        lines.append(f"errors after which the engine began anew: {engine['errors']} (see its log)")
    return lines


def _version(cluster: Cluster, running: Running) -> dict[str, str | None]:
    """Say what the cluster file names, what runs (null: it could not be read), and what follows."""
    from slurm_powersave.decide.preflight import slurm_running
    from slurm_powersave.model.slurm_versions import standing

    version = running.version
    differs = slurm_running.disagreement(cluster, running)
    return {
        "cluster_file": cluster.slurm_version,
        "running": (version.text or str(version)) if version else None,
        "standing": str(standing(version or cluster.slurm_release)),
        "wrong": differs.wrong if differs else "",
        "right": differs.right if differs else "",
        "unreadable": running.trouble,
    }


def _cells(row: StatusRow, differs: bool) -> tuple[str, ...]:
    """The column of differences stands there only while there are any."""
    outdated = [row.outdated or "-"] if differs else []
    since = "-" if row.since is None else render.clock(row.since)
    said = row.text or row.waits
    return row.node, row.slurm, row.server, row.operation, row.phase, since, *outdated, said


def _rows(cluster: Cluster, seen: Reading, journal: Journal) -> list[StatusRow]:
    from slurm_powersave.decide.commands.images import is_builder
    from slurm_powersave.decide.flavor.node_memory import by_pool
    from slurm_powersave.decide.node.status import rows

    names = cluster.nodes()
    return rows(
        names,
        seen.slurm,
        [
            server
            for servers in seen.servers.values()
            for server in servers
            if server.name != cluster.login.name and not is_builder(server)
        ],
        {name for name in names if cluster.cloud_of(cluster.pool_of(name)) not in seen.servers},
        journal.open_operations(),
        journal.node_records(),
        journal.node_backoffs(),
        {name: cluster.pool_of(name) for name in names},
        by_pool(cluster, seen.flavors),
        seen.unread,
    )
