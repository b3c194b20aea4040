"""A right cluster file, and ways to make it wrong."""

import copy
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from slurm_powersave.config.settings import Cluster, load

RIGHT: dict[str, Any] = {
    "cluster_name": "demo",
    "clouds": {"local": {"adapter": "local", "base_module": "base", "nodes_module": "nodes"}},
    "login": {"name": "demo-login", "address": "10.79.0.10", "image": "default", "flavor": "login"},
    "node_pools": [
        {
            "name": "compute",
            "nodes": "demo-[1-4]",
            "min_nodes": 1,
            "image": "default",
            "flavors": ["small"],
            "addresses": "10.79.1.1-10.79.1.4",
        },
        {
            "name": "big",
            "max_nodes": 2,
            "image": "default",
            "flavors": ["large", "huge"],
            "addresses": "10.79.2.1,10.79.2.9",
        },
    ],
    "partitions": [
        {"name": "main", "pools": ["compute"], "options": {"Default": "YES"}},
        {"name": "long", "pools": ["big"], "nodes": "demo-[1-2]"},
    ],
}

Change = Mapping[str, Any]


def path_of(key: str) -> list[str | int]:
    """Cut node_pools[0].name into its parts."""
    parts = re.findall(r"[^.\[\]]+", key)
    return [int(part) if part.isdigit() else part for part in parts]


def changed(change: Change, remove: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return the right cluster file with some keys set, and some removed."""
    content = copy.deepcopy(RIGHT)
    for key, value in [*change.items(), *((key, None) for key in remove)]:
        *above, last = path_of(key)
        place: Any = content
        for part in above:
            place = place[part] if isinstance(place, list) else place.setdefault(part, {})
        if key in remove:
            del place[last]
        elif isinstance(place, list) and last == len(place):
            place.append(value)
        else:
            place[last] = value
    return content


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A directory with the files that the right cluster file names."""
    for name in ("base", "nodes"):
        (tmp_path / name).mkdir()
    for name in ("prolog.sh", "site.yml"):
        (tmp_path / name).touch()
    return tmp_path


@pytest.fixture
def write(directory: Path) -> Callable[..., Path]:
    """Write a cluster file: a text, or the right one with changes."""

    def write(change: Change | str | None = None, remove: tuple[str, ...] = ()) -> Path:
        file = directory / "cluster.yml"
        text = (
            change
            if isinstance(change, str)
            else yaml.safe_dump(changed(change or {}, remove), sort_keys=False)
        )
        file.write_text(text)
        return file

    return write


@pytest.fixture
def make(write: Callable[..., Path]) -> Callable[..., Cluster]:
    """Load the right cluster file with changes."""

    def make(change: Change | None = None, remove: tuple[str, ...] = ()) -> Cluster:
        return load(write(change, remove))

    return make
