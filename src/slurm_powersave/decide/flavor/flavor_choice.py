"""Which flavors a pool's servers may have, in order of preference. Pure.

A pool lists names and requirements. A name stands for one flavor; a requirement for all that meet or
exceed it, the cheapest first: by cores, then RAM, then disk, then name.
"""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from slurm_powersave.config.sections import FlavorItem, Requirement
from slurm_powersave.model.nearest_name import did_you_mean
from slurm_powersave.model.nodes import Flavor

_SHORT = re.compile(r"m([1-9][0-9]*)c([1-9][0-9]*)(?:s([0-9]+))?", re.ASCII)
"""m30720c8s100: MiB of RAM, cores, and GiB of disk, which may be left out."""
_SHOWN = 8
"""Flavors that an error lists at most."""


@dataclass(frozen=True)
class Choice:
    """What a pool's list comes to in its cloud."""

    flavors: tuple[Flavor, ...]
    """The preferred one first; none twice."""
    wrong: tuple[str, ...] = ()
    """Items that no flavor of the cloud meets, and why."""

    @property
    def names(self) -> tuple[str, ...]:
        """Their names."""
        return tuple(flavor.name for flavor in self.flavors)


def choose(items: Iterable[FlavorItem], known: Mapping[str, Flavor]) -> Choice:
    """Find the flavors of a pool.

    Args:
        items: `node_pools[].flavors`.
        known: the cloud's flavors by name.
    """
    found: dict[str, Flavor] = {}
    wrong: list[str] = []
    for item in items:
        flavors = _of(item, known)
        if not flavors:
            wrong.append(_why_none(item, known))
        for flavor in flavors:
            found.setdefault(flavor.name, flavor)
    return Choice(tuple(found.values()), tuple(wrong))


def names(items: Iterable[FlavorItem]) -> tuple[str, ...] | None:
    """Return the names in a pool's list where no cloud can be asked; None if it holds a requirement.

    What looks like a requirement in short is a name then.
    """
    found = tuple(item for item in items if isinstance(item, str))
    return found if len(found) == len(tuple(items)) else None


def needs_the_cloud(items: Iterable[FlavorItem]) -> bool:
    """Tell whether a list can't be understood without the cloud's own list."""
    return any(not isinstance(item, str) or bool(_SHORT.fullmatch(item)) for item in items)


def best_flavor(flavors: Sequence[str], backoffs: Mapping[str, float], now: float) -> str:
    """Return the flavor for the next server: the first that is not in backoff.

    If all are, the one whose backoff ends first is tried: room may have come back meanwhile, and who asks
    is a node that is not in backoff itself. Empty if there is no flavor.

    Args:
        flavors: the pool's, the preferred one first.
        backoffs: flavor -> until when.
        now: a moment of the same clock.
    """
    free = [name for name in flavors if backoffs.get(name, now) <= now]
    return free[0] if free else min(flavors, key=lambda name: backoffs[name], default="")


def short_form(text: str) -> Requirement | None:
    """Read a requirement in short; None if it is none."""
    match = _SHORT.fullmatch(text)
    return Requirement(ram=int(match[1]), cores=int(match[2]), disk=int(match[3] or 0)) if match else None


def size(flavor: Flavor) -> str:
    """Say a flavor with what it has."""
    cores = f"{flavor.vcpus} core{'s' * (flavor.vcpus != 1)}"
    return f"{flavor.name} ({cores}, {flavor.ram} MiB RAM, {flavor.disk} GiB disk)"


def _of(item: FlavorItem, known: Mapping[str, Flavor]) -> Sequence[Flavor]:
    """Find the flavors of one item. A flavor of that name or id comes before a requirement in short."""
    if isinstance(item, str):
        if item in known:
            return [known[item]]
        if by_id := [flavor for flavor in known.values() if flavor.id == item]:
            return by_id
    wanted = short_form(item) if isinstance(item, str) else item
    if wanted is None:
        return []
    return sorted((flavor for flavor in known.values() if _meets(flavor, wanted)), key=_cost)


def _cost(flavor: Flavor) -> tuple[int, int, int, str]:
    return flavor.vcpus, flavor.ram, flavor.disk, flavor.name


def _meets(flavor: Flavor, wanted: Requirement) -> bool:
    enough = flavor.vcpus >= wanted.cores and flavor.ram >= wanted.ram and flavor.disk >= wanted.disk
    return enough and bool(re.search(wanted.match, flavor.name))


def _why_none(item: FlavorItem, known: Mapping[str, Flavor]) -> str:
    wanted = short_form(item) if isinstance(item, str) else item
    if wanted is None:
        return f"no flavor {item} ({did_you_mean(str(item), known, f'it has {listed(known)}')})"
    named = [flavor for flavor in known.values() if re.search(wanted.match, flavor.name)]
    if not known:
        return f"no flavor with {wanted} (it has none)"
    if not named:
        return f"no flavor with a name that has /{wanted.match}/ (it has {listed(known)})"
    nearest = min(named, key=lambda flavor: (_lacks(flavor, wanted), _cost(flavor)))
    return f"no flavor with {wanted} (the nearest is {size(nearest)})"


def _lacks(flavor: Flavor, wanted: Requirement) -> float:
    """Return by what share of each wish a flavor falls short, in all."""
    pairs = ((flavor.vcpus, wanted.cores), (flavor.ram, wanted.ram), (flavor.disk, wanted.disk))
    return sum(max(0.0, 1 - has / wish) for has, wish in pairs if wish)


def listed(known: Collection[str]) -> str:
    """Name a cloud's flavors, not all of two hundred."""
    shown = sorted(known)
    more = f" and {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else ""
    return (", ".join(shown[:_SHOWN]) or "none") + more
