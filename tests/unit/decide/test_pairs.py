"""Keys of the cluster file that belong together: tests/cases/pairs.yml."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from slurm_powersave.config.settings import Cluster
from slurm_powersave.decide.preflight import pairs

CASES = yaml.safe_load((Path(__file__).parents[2] / "cases/pairs.yml").read_text())


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_what_lacks_the_other_half(make: Callable[..., Cluster], case: dict[str, Any]) -> None:
    cluster = make(case.get("set", {}))
    place = str(cluster.file.parent)
    found = list(pairs.findings(cluster))
    assert [f"{one.severity}: {one.where}: {one.wrong}".replace(place, "PLACE") for one in found] == case[
        "says"
    ]
    assert all(one.right for one in found)
