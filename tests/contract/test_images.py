"""Images in memory against the cases that the local cloud passes (tests/e2e/test_contract_images.py)."""

from collections.abc import Callable

import pytest

from slurm_powersave.model.images import Image
from slurm_powersave.model.nodes import NodeSpec, TerraformNode
from slurm_powersave.testing.cloud import MemoryClock
from slurm_powersave.testing.images import MemoryImageCloud
from tests.contract.cloud_cases import CASES as CLOUD_CASES
from tests.contract.cloud_cases import CLUSTER
from tests.contract.image_cases import CASES


class Memory:
    """A MemoryImageCloud and its clock."""

    address = "10.0.0.20"

    def __init__(self) -> None:
        self._clock = MemoryClock()
        self.cloud = MemoryImageCloud(self._clock, cluster=CLUSTER)

    def create(self, name: str, tags: frozenset[str]) -> str:
        node = NodeSpec(name, "c", "mem", "default", "small", "", "10.0.1.1")
        return self.cloud.create(TerraformNode(node, "1a2b"), tags)

    def foreign_image(self, server_id: str, name: str) -> None:
        self.cloud.add_image(Image(name))

    def let_pass(self, seconds: float) -> None:
        self._clock.advance(seconds)


@pytest.mark.parametrize("case", (*CLOUD_CASES, *CASES), ids=lambda case: case.__name__)
def test_images_in_memory(case: Callable[[Memory], None]) -> None:
    case(Memory())
