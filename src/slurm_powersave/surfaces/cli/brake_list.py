"""What the brake keeps from being deleted, for the person who is to release it."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from slurm_powersave.surfaces.cli import notices, render
from slurm_powersave.surfaces.cli.halts import ACT_COLUMNS, act_cells, brake_means, brake_value

if TYPE_CHECKING:
    from slurm_powersave.surfaces.cli.session import Session


def gather(current: Session, why: str) -> dict[str, Any]:
    """Gather what the brake holds, and what was destroyed just now.

    It holds servers of POWERED_DOWN nodes, and dead ones of nodes that Slurm can't reach.
    """
    from slurm_powersave.commands.readings import read_slurm_and_clouds
    from slurm_powersave.decide.node import brake
    from slurm_powersave.engine.reconcile.own_account import OWN_ROWS

    site, cluster = current.site(), current.cluster()
    seen = read_slurm_and_clouds(site.slurm(), site.clouds())
    known = [one for servers in seen.servers.values() for one in servers]
    held = None if seen.slurm is None else brake.held(seen.slurm, known)
    unread = dict(seen.unreadable)
    for cloud in sorted({cluster.cloud_of(one) for one in cluster.node_pools} - seen.servers.keys()):
        unread.setdefault(f"cloud {cloud}", "it has no adapter")
    acts = current.journal().acts_since(time.time() - brake.COUNTED_SECONDS, OWN_ROWS)
    return {
        **(brake_value(why) or {}),
        "servers": held and [{"node": one.name, "server": one.id, "status": one.status} for one in held],
        "warnings": [notices.value(one) for one in notices.still_so(current.journal().notices(), seen.slurm)],
        "acts": [asdict(done) for done in acts],
        "unreadable": unread,
    }


def tell(current: Session, shown: dict[str, Any]) -> None:
    """Print what was gathered."""
    from slurm_powersave.model.records import Done

    out = render.console(no_color=current.no_color)
    render.print_lines([f"the brake is on: {shown['why']}", brake_means(shown["why"]), ""])
    servers = [(one["node"], one["server"], one["status"]) for one in shown["servers"] or ()]
    count = "not known" if shown["servers"] is None else len(servers)
    render.print_lines([f"servers whose nodes Slurm shows as POWERED_DOWN: {count}"])
    if servers:
        render.print_table(out, ("NODE", "SERVER", "STATUS"), servers)
    render.print_lines(["", f"nodes that Slurm can't reach: {len(shown['warnings'])}"])
    render.print_lines([f"  {one['node']}: {one['text']}" for one in shown["warnings"]])
    acts = [act_cells(Done(**one)) for one in shown["acts"]]
    render.print_lines(["", f"destroyed on the engine's own account in the last 10 minutes: {len(acts)}"])
    if acts:
        render.print_table(out, ACT_COLUMNS, acts)
    for what, why in shown["unreadable"].items():
        render.note(f"{what} could not be read, so the list may lack servers: {why}")
