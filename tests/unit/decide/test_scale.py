"""What a resize does (tests/cases/resize.yml), and how far a node is on its way (tests/cases/drains.yml)."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from slurm_powersave.decide.commands import scale
from slurm_powersave.decide.node import drain
from slurm_powersave.decide.slurm_files.slurm_parameters import protected
from slurm_powersave.model.hostlist import fold
from slurm_powersave.model.nodes import SlurmNode
from slurm_powersave.model.records import Drain
from slurm_powersave.testing.world import cluster

CASES = Path(__file__).parents[2] / "cases"
OURS = Drain("n", "resize x", "slurm-powersave: shrink [resize x]")


def node(text: str) -> SlurmNode:
    """Read `n3 IDLE+CLOUD "reason"`, `n3 off` or `n3`."""
    match = re.fullmatch(r'(\S+)(?: ([A-Z+_]+|off))?(?: "(.*)")?', text)
    assert match, text
    name, state, reason = match.groups()
    flags = {"off": "IDLE+CLOUD+POWERED_DOWN", None: "IDLE+CLOUD"}.get(state, state)
    reason = OURS.reason if reason == "ours" else reason or ""
    return SlurmNode(name, frozenset(flags.split("+")), reason, "root" if reason else "")


def changed(case: dict[str, Any]) -> scale.Change:
    """Compare as the case says."""
    count = case.get("nodes", 4)
    pool = cluster(count).node_pools[0].model_dump(mode="json") | {"min_nodes": case.get("min", 1)}
    wanted = cluster(count, node_pools=[pool], slurm_version=case.get("version", "22.05"))
    slurm = {one.name: one for one in map(node, case["slurm"])}
    return scale.change(
        wanted,
        slurm=slurm,
        protected=case["protected"],
        wanted_protected=protected(wanted),
        recorded=[name for name in {*slurm, *wanted.nodes()} if name != "static"],
        drains={name: OURS for name in case.get("drains", [])},
        rewrite=case.get("rewrite", False),
    )


@pytest.mark.parametrize("case", yaml.safe_load((CASES / "resize.yml").read_text()), ids=lambda c: c["name"])
def test_steps(case: dict[str, Any]) -> None:
    found = changed(case)
    said = []
    for step in scale.steps(found):
        highest_first = step.kind == "shrink"
        names = ",".join(step.nodes) if highest_first else fold(step.nodes)
        how = re.search("restarts|reconfigures", step.text)
        said.append(" ".join(filter(None, [step.kind, step.act, names or "-", how[0] if how else ""])))
    assert said == case["steps"]
    assert list(found.set_by_admin or {}) == case.get("aside", [])
    assert found.nothing == (not case["steps"] and not case.get("aside"))


@pytest.mark.parametrize("case", yaml.safe_load((CASES / "drains.yml").read_text()), ids=str)
def test_stages(case: dict[str, Any]) -> None:
    given = case.get("reason", "")
    reason = OURS.reason if given == "ours" else given
    found = SlurmNode("n", frozenset(case["state"].split("+")), reason, case.get("by", "root"))
    assert drain.stage(found, OURS, served=case.get("served", False)) == case["stage"]


def test_a_node_that_the_cluster_file_and_slurm_have_forgotten_is_named() -> None:
    found = scale.change(
        cluster(2),
        slurm={name: node(f"{name} off") for name in ("n1", "n2")},
        protected=(),
        wanted_protected=(),
        recorded=["n1", "n2", "n3"],
        drains={"n3": OURS},
    )
    assert (found.gone, found.nothing) == (("n3",), True)
