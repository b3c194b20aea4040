"""Differences between Slurm, the cloud and the journal: tests/cases/reconcile.yml."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from slurm_powersave.decide.reconcile import Finding, confirmed, differences
from slurm_powersave.model.nodes import Server, SlurmNode, SlurmSnapshot

CASES = yaml.safe_load(Path(__file__).parents[2].joinpath("cases/reconcile.yml").read_text())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_differences(case: dict[str, Any]) -> None:
    nodes = {
        name: SlurmNode(name, frozenset(state.split("+")), case.get("reason", ""), "root")
        for name, state in case["nodes"].items()
        if state != "not there"
    }
    servers = [
        Server(
            f"id-{number}",
            name,
            "ACTIVE",
            tags=frozenset({f"role={name}" if name in ("login", "builder") else f"node={name}"}),
        )
        for number, name in enumerate(case.get("servers", []))
    ]
    found = differences(
        list(case["nodes"]), SlurmSnapshot(0.0, nodes), servers, case.get("busy", []), case.get("held", [])
    )
    asked = {
        f"{one.kind} {one.node}": one.request.value if one.request else one.state or "nothing"
        for one in found
    }
    assert asked == case.get("found", {})


def test_a_difference_counts_when_it_was_there_before() -> None:
    once, again = Finding("lost-request", "n1", ""), Finding("lost-request", "n2", "")
    assert confirmed({("lost-request", "n2"): 1.0, ("no-server", "n1"): 1.0}, [once, again]) == [again]
