"""Nodes that Slurm can't reach, and what is the matter with their servers: in lines and in JSON."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from slurm_powersave.surfaces.cli import render

if TYPE_CHECKING:
    from slurm_powersave.model.nodes import SlurmNode
    from slurm_powersave.model.records import Notice


def still_so(notices: Mapping[str, Notice], nodes: Mapping[str, SlurmNode] | None) -> list[Notice]:
    """Leave out the nodes that answer again: the engine may not run, or not have looked yet.

    Args:
        notices: what the journal holds, by node.
        nodes: what Slurm shows now; None if it could not be read.
    """
    return [one for name, one in notices.items() if not (nodes and name in nodes and nodes[name].up)]


def lines(found: Sequence[Notice]) -> Iterator[str]:
    """Say it for `status`: one line for all nodes with which the same is the matter."""
    from slurm_powersave.model.hostlist import fold

    same: dict[tuple[str, str], list[Notice]] = defaultdict(list)
    for one in found:
        same[one.text, one.command].append(one)
    for (text, command), ones in same.items():
        names = fold([one.node for one in ones])
        yield f"warning: {names} since {render.clock(min(one.at for one in ones))}: {text}"
        if command:
            yield f"  To replace the server now: {command} {names}"


def value(one: Notice) -> dict[str, Any]:
    """Return it as it stands in JSON output; `since` is in seconds since the epoch."""
    return {
        "node": one.node,
        "server": one.server or None,
        "text": one.text,
        "since": one.at,
        "command": f"{one.command} {one.node}" if one.command else None,
        "jobs": list(one.jobs),
    }
