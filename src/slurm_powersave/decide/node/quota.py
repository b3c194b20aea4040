"""Whether the project's quota has room for new servers, node by node. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from slurm_powersave.model.hostlist import natural
from slurm_powersave.model.nodes import Flavor, Limit

_WORDS = {
    "instances": "instance",
    "cores": "core",
    "ram": "MiB RAM",
    "ports": "port",
    "server_group": "place in the server group",
}
_ONE = {"instances": 1, "ports": 1, "server_group": 1}
"""What a server needs whatever its flavor: one fixed address, and a place in the nodes' server group."""


@dataclass(frozen=True)
class Verdict:
    """What becomes of the creates that were asked for."""

    admitted: tuple[str, ...] = ()
    """Nodes."""
    waiting: tuple[str, ...] = ()
    """Nodes that have room when servers of ours that are going are gone."""
    refused: Mapping[str, str] = field(default_factory=dict)
    """Node -> why, with the numbers."""


def need(flavor: Flavor) -> dict[str, int]:
    """Return what a server of a flavor takes of each quota."""
    return {**_ONE, "cores": flavor.vcpus, "ram": flavor.ram}


def admit(
    wanted: Mapping[str, Flavor],
    limits: Mapping[str, Limit],
    *,
    coming: Iterable[Flavor] = (),
    going: Iterable[Flavor] = (),
) -> Verdict:
    """Decide node by node, lowest numbers first; one that does not fit does not keep a smaller one out.

    Args:
        wanted: node -> the flavor of its new server.
        limits: the quotas and what is used of them, by all who share them; others are unlimited.
        coming: servers that we have asked for and that `limits` does not count yet.
        going: servers of ours that are being deleted and that `limits` still counts.
    """
    free = {name: limit.limit - limit.used for name, limit in limits.items() if limit.limit is not None}
    _take(free, coming, -1)
    later = dict(free)
    _take(later, going, +1)
    admitted, waiting, refused = [], [], {}
    for node in sorted(wanted, key=natural):
        flavor = wanted[node]
        if short := _short(need(flavor), later):
            refused[node] = _why(need(flavor), short, limits, free)
            continue
        _take(later, [flavor], -1)
        if _short(need(flavor), free):
            waiting.append(node)
        else:
            admitted.append(node)
            _take(free, [flavor], -1)
    return Verdict(tuple(admitted), tuple(waiting), refused)


def _take(room: dict[str, int], flavors: Iterable[Flavor], sign: int) -> None:
    for flavor in flavors:
        for name, count in need(flavor).items():
            if name in room:
                room[name] += sign * count


def _short(wish: Mapping[str, int], room: Mapping[str, int]) -> Sequence[str]:
    return [name for name, count in wish.items() if name in room and count > room[name]]


def _why(
    wish: Mapping[str, int], short: Sequence[str], limits: Mapping[str, Limit], free: Mapping[str, int]
) -> str:
    """Say it with the numbers: needs 64 cores, 12 of 500 left."""
    parts = []
    for name in short:
        word = _WORDS[name] + "s" * (wish[name] != 1 and name != "ram")
        parts.append(f"{wish[name]} {word}, {max(free[name], 0)} of {limits[name].limit} left")
    return f"needs {' and '.join(parts)}"
