"""Terraform in memory against the cases that the real one passes (tests/e2e/test_contract_terraform.py)."""

from collections.abc import Callable

import pytest

from slurm_powersave.testing.cloud import MemoryClock, MemoryCloud
from slurm_powersave.testing.terraform import MemoryTerraform
from tests.contract.terraform_cases import CASES, CLUSTER, Subject


class Memory:
    """A MemoryTerraform with its cloud and clock."""

    def __init__(self) -> None:
        self._clock = MemoryClock()
        self.cloud = MemoryCloud(self._clock, cluster=CLUSTER)
        self.terraform = MemoryTerraform(self._clock, self.cloud, CLUSTER)
        self.cloud_name, self.network = "mem", "10.0"

    def let_pass(self, seconds: float) -> None:
        self._clock.advance(seconds)

    def fail_creates(self, name: str) -> None:
        self.cloud.error_faults[name] = "No valid host was found."

    def renew_module(self) -> None:
        self.terraform.module = "2"

    def restart(self) -> None:
        """What it holds is the outside world, which goes on."""


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_terraform_in_memory(case: Callable[[Subject], None]) -> None:
    case(Memory())
