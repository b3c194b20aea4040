"""What a reboot's reason comes to: tests/cases/reboot_reasons.yml; and whose a DRAIN is."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from slurm_powersave.decide.node.reboot import Wish, wish
from slurm_powersave.model.modes import Kind
from slurm_powersave.model.nodes import Flavor, NodeFacts, NodeSpec

CASES = yaml.safe_load(Path(__file__).parents[2].joinpath("cases/reboot_reasons.yml").read_text())
IMAGES = frozenset({"old", "new", "other"})
FLAVORS = {
    name: Flavor(name, cpus, ram)
    for name, cpus, ram in (("tiny", 1, 500), ("small", 1, 1000), ("large", 2, 2000))
}


def wished(reason: str, pool_image: str = "old", **unknown: None) -> Wish:
    """Read a reason for a node with image old and flavor small."""
    node = NodeSpec("n1", "c", "mem", "old", "small", "", "10.0.0.1")
    pool = NodeSpec("n1", "c", "mem", pool_image, "small", "", "10.0.0.1")
    known: dict[str, Any] = {"images": IMAGES, "flavors": FLAVORS, "configured": NodeFacts(1, 900)}
    return wish(reason, node, pool, **(known | unknown))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["reason"] or "none")
def test_reasons(case: dict[str, Any]) -> None:
    found = wished(case["reason"], case.get("pool", "old"))
    if isinstance(case["becomes"], str):
        assert case["becomes"] in found.refused
    else:
        assert not found.refused
        assert [found.kind.value, found.target] == case["becomes"]


def test_what_a_cloud_can_not_tell_is_not_held_against_a_name() -> None:
    assert wished("reimage image=x", images=None) == Wish(Kind.REIMAGE, "x")
    assert wished("resize flavor=x", flavors=None) == Wish(Kind.RESIZE, "x")
    assert wished("resize flavor=tiny", configured=None) == Wish(Kind.RESIZE, "tiny")


@given(st.text(max_size=60))
def test_any_reason_is_an_action_or_a_refusal(reason: str) -> None:
    found = wished(reason)
    assert found.refused or found.kind in (Kind.REBOOT, Kind.REIMAGE, Kind.REPLACE, Kind.RESIZE)
    assert "\n" not in found.target
