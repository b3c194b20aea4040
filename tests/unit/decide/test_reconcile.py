"""Differences between Slurm, the cloud and the journal: tests/cases/reconcile.yml."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from slurm_powersave.decide.node.reconcile import Finding, confirmed, differences, journal_differences
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
            tags=frozenset({f"role={name}" if name in ("login", "storage", "builder") else f"node={name}"}),
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


JOURNALS = [
    ("all is as recorded", {"n1": "a"}, {"a": "n1"}, []),
    ("a server that the journal does not know", {}, {"a": "n1"}, ["unrecorded-server n1"]),
    ("another server than the recorded one", {"n1": "a"}, {"b": "n1"}, ["unrecorded-server n1"]),
    ("the recorded server is gone", {"n1": "a"}, {}, ["vanished-server n1"]),
    ("two, one of them recorded", {"n1": "a"}, {"a": "n1", "b": "n1"}, []),
    ("two, none of them recorded: which one is it?", {}, {"a": "n1", "b": "n1"}, []),
    ("an operation is under way", {"n2": "a"}, {"b": "n2"}, []),
    ("no node of ours", {}, {"a": "n9"}, []),
]


@pytest.mark.parametrize(("name", "recorded", "there", "found"), JOURNALS, ids=[case[0] for case in JOURNALS])
def test_a_journal_that_is_behind_the_cloud(
    name: str, recorded: dict[str, str], there: dict[str, str], found: list[str]
) -> None:
    servers = [
        Server(server_id, node, "ACTIVE", tags=frozenset({f"node={node}"}))
        for server_id, node in there.items()
    ]
    told = journal_differences(["n1", "n2"], recorded, servers, busy={"n2"})
    assert [f"{one.kind} {one.node}" for one in told] == found
