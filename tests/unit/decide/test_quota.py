"""Which creates have room in the quota: tests/cases/quota.yml."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from slurm_powersave.decide.node.quota import admit
from slurm_powersave.model.nodes import Flavor, Limit

TABLE = yaml.safe_load(Path(__file__).parents[2].joinpath("cases/quota.yml").read_text())
FLAVORS = {name: Flavor(name, *size) for name, size in TABLE["flavors"].items()}


@pytest.mark.parametrize("case", TABLE["cases"], ids=lambda case: case["name"])
def test_admission(case: dict[str, Any]) -> None:
    verdict = admit(
        {node: FLAVORS[flavor] for node, flavor in case["wanted"].items()},
        {name: Limit(*numbers) for name, numbers in case["limits"].items()},
        coming=[FLAVORS[flavor] for flavor in case.get("coming", [])],
        going=[FLAVORS[flavor] for flavor in case.get("going", [])],
    )
    assert list(verdict.admitted) == case.get("admitted", [])
    assert list(verdict.waiting) == case.get("waiting", [])
    assert set(verdict.refused) == set(case.get("refused", {}))
    for node, part in case.get("refused", {}).items():
        assert part in verdict.refused[node]
