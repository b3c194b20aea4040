"""What became of a registration: tests/cases/registrations.yml."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from slurm_powersave.decide.node.registration import Stage, registration
from slurm_powersave.model.nodes import SlurmNode

CASES = yaml.safe_load(Path(__file__).parents[2].joinpath("cases/registrations.yml").read_text())


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['state']} {case.get('reason', '')}"[:70])
def test_what_it_means(case: dict[str, Any]) -> None:
    flags = frozenset(case["state"].split("+"))
    by = case.get("by", "slurm" if "reason" in case else "")
    found = registration(SlurmNode("n1", flags, case.get("reason", ""), by))
    assert found.stage == case["stage"]
    wanted = case.get("text")
    assert found.text == wanted if wanted == "" else (wanted or "") in found.text


def test_every_stage_has_a_case() -> None:
    assert {case["stage"] for case in CASES} == set(Stage)
