"""The cloud in memory against the cases that the local one passes (tests/e2e/test_contract_cloud.py)."""

from collections.abc import Callable

import pytest

from slurm_powersave.model.nodes import NodeSpec, TerraformNode
from slurm_powersave.testing.cloud import MemoryClock, MemoryCloud
from tests.contract.cloud_cases import CASES, CLUSTER, Subject


class Memory:
    """A MemoryCloud and its clock."""

    def __init__(self) -> None:
        self._clock = MemoryClock()
        self.cloud = MemoryCloud(self._clock, cluster=CLUSTER)

    def create(self, name: str, tags: frozenset[str]) -> str:
        node = NodeSpec(name, "c", "mem", "default", "small", "", "10.0.1.1")
        return self.cloud.create(TerraformNode(node, "1a2b"), tags)

    def let_pass(self, seconds: float) -> None:
        self._clock.advance(seconds)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_cloud_in_memory(case: Callable[[Subject], None]) -> None:
    case(Memory())
