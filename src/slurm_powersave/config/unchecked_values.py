"""The cluster file's raw values, as far as they can be understood, for the checks across its parts."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from slurm_powersave.config import fields
from slurm_powersave.config.cluster import short_form
from slurm_powersave.config.yaml_file import Document, Mistake
from slurm_powersave.model.nearest_name import did_you_mean

Found = Iterator[Mistake]
T = TypeVar("T")


class View:
    """The raw file, as far as it can be understood."""

    def __init__(self, document: Document) -> None:
        content = document.content
        self.mistake = document.mistake
        self.base = document.file.parent
        self.content = content
        self.clouds = mapping(content.get("clouds"))
        self.login = mapping(content.get("login"))
        self.pools = list(items(content.get("node_pools")))
        self.partitions = list(items(content.get("partitions")))
        self.names = {index: self._names(pool) for index, pool in self.pools}
        self.addresses = {
            index: attempt(fields.address_range, pool.get("addresses")) or () for index, pool in self.pools
        }
        self.known = {name for names in self.names.values() for name in names}

    def _names(self, pool: Mapping[str, Any]) -> tuple[str, ...]:
        if pool.get("nodes") is not None:
            return attempt(fields.node_names, pool["nodes"]) or ()
        count, name = whole(pool.get("max_nodes")), pool.get("name")
        if count and 0 < count <= fields.LARGEST_POOL and isinstance(name, str):
            # With a wrong cluster name (reported as such) the pool's names are still counted.
            cluster = attempt(fields.cluster_name, self.content.get("cluster_name")) or "x"
            return short_form(cluster, name, count)
        return ()


def mapping(value: Any) -> Mapping[Any, Any]:
    """Return a mapping; an empty one for anything else."""
    return value if isinstance(value, dict) else {}


def items(value: Any) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Return the mappings in a list with their indices."""
    for index, item in enumerate(value if isinstance(value, list) else []):
        if isinstance(item, dict):
            yield index, item


def attempt(parse: Callable[[Any], T], value: Any) -> T | None:
    """Parse a value; None if it is malformed."""
    try:
        return parse(value)
    except (ValueError, TypeError, AttributeError):
        return None


def whole(value: Any) -> int | None:
    """Read a whole number, quoted or not; None for anything else."""
    return attempt(int, value)


def one_of(given: str, known: list[str]) -> str:
    """Say which name was probably meant."""
    return did_you_mean(given, known, "one of " + ", ".join(known))
