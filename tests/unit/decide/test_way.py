"""Whether a delete or change goes through Terraform or by server id: tests/cases/ways.yml."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from slurm_powersave.decide.node.way import Queued, Way, choose

CASES = yaml.safe_load(Path(__file__).parents[2].joinpath("cases/ways.yml").read_text())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["case"])
def test_the_way_of_a_delete_or_change(case: dict[str, Any]) -> None:
    assert choose(Queued(**case["queued"]), patience=60.0) is Way(case["way"])
