"""Which nodes are reimaged next: tests/cases/waves.yml."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from slurm_powersave.decide.node.rollout import Member, Standing, choose, standing, unavailable_limit
from slurm_powersave.model.modes import Mode
from slurm_powersave.model.nodes import Operation, SlurmNode

CASES = yaml.safe_load(Path(__file__).parents[2].joinpath("cases/waves.yml").read_text())


def member(case: dict[str, Any], name: str) -> Member:
    """Say how a node of a case stands."""
    state = case["nodes"][name]
    who, reason = case.get("reason", {}).get(name, ("", ""))
    flags = frozenset(state.removeprefix("new ").split("+"))
    node = None if state == "not there" else SlurmNode(name, flags, reason, who)
    under = case.get("under", {}).get(name)
    operations = [Operation("1a2b3c", "r", name, Mode(under), "checking", 1.0, 1.0)] if under else []
    stands, why = standing(
        not state.startswith("new "), node, operations, asked=name in case.get("asked", [])
    )
    return Member(name, "compute", stands, why)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_what_is_next(case: dict[str, Any]) -> None:
    members = [member(case, name) for name in case["nodes"]]
    chosen = choose(members, {"compute": case["window"]}, case.get("already", []))
    assert [one.node for one in chosen] == case["next"]
    skipped = {one.node: one.why for one in members if one.standing is Standing.SKIPPED}
    assert skipped == case.get("skipped", {})


def test_each_pool_has_its_own_window() -> None:
    members = [Member(f"{pool}{n}", pool, Standing.IDLE) for pool in ("a", "b") for n in (1, 2)]
    assert [one.node for one in choose(members, {"a": 1, "b": 2})] == ["a1", "b1", "b2"]


@pytest.mark.parametrize(
    ("size", "max_unavailable", "expected"),
    [(1, None, 1), (9, None, 1), (29, None, 2), (40, None, 4), (4, 3, 3)],
)
def test_ten_percent_of_the_pool_and_at_least_one(
    size: int, max_unavailable: int | None, expected: int
) -> None:
    assert unavailable_limit(size, max_unavailable) == expected
