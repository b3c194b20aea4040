"""Which flavors a pool's nodes may have: tests/cases/flavor_choice.yml."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from slurm_powersave.config.sections import Pool
from slurm_powersave.decide.flavor.flavor_choice import best_flavor, choose, names, needs_the_cloud
from slurm_powersave.model.nodes import Flavor

TABLE = yaml.safe_load(Path(__file__).parents[2].joinpath("cases/flavor_choice.yml").read_text())


def pool(flavors: list[Any]) -> Pool:
    """A pool with these flavors, as the cluster file would have it."""
    content = {"name": "p", "nodes": "n1", "image": "i", "flavors": flavors, "addresses": "10.0.0.1"}
    return Pool.model_validate(content)


@pytest.mark.parametrize("case", TABLE["cases"], ids=lambda case: case["name"])
def test_choice(case: dict[str, Any]) -> None:
    sizes = case.get("known", TABLE["known"])
    known = {name: Flavor(name, *size, id=f"id of {name}") for name, size in sizes.items()}
    choice = choose(pool(case["flavors"]).flavors, known)
    assert list(choice.names) == case["chosen"]
    expected = case.get("wrong", [])
    assert len(choice.wrong) == len(expected)
    for part, said in zip(expected, choice.wrong, strict=True):
        assert part in said


@pytest.mark.parametrize(("flavors", "until", "now", "expected"), TABLE["rests"])
def test_a_flavor_that_rests_comes_last(
    flavors: list[str], until: dict[str, float], now: float, expected: str
) -> None:
    assert best_flavor(flavors, until, now) == expected


@pytest.mark.parametrize(
    ("flavors", "asks", "expected"),
    [
        (["a", "b"], False, ("a", "b")),
        (["m512c1"], True, ("m512c1",)),
        ([{"cores": 1}], True, None),
        (["a", {"cores": 1}], True, None),
    ],
)
def test_what_can_be_known_without_the_cloud(
    flavors: list[Any], asks: bool, expected: tuple[str, ...] | None
) -> None:
    found = pool(flavors).flavors
    assert (needs_the_cloud(found), names(found)) == (asks, expected)
