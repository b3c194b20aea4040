"""Terraform's states are read again when they have been written, and only then."""

import logging
from collections.abc import Mapping

import pytest

from slurm_powersave.engine.state_views import StateViews
from slurm_powersave.model.errors import TerraformError
from slurm_powersave.model.nodes import StateServer
from slurm_powersave.testing.cloud import MemoryClock, MemoryCloud
from slurm_powersave.testing.terraform import MemoryTerraform

SHARD = "mem/nodes-001"


class Counting(MemoryTerraform):
    """Counts how often a state is read."""

    readings = 0

    def servers(self, shard: str) -> Mapping[str, StateServer]:
        self.readings += 1
        return super().servers(shard)


@pytest.fixture
def terraform() -> Counting:
    clock = MemoryClock()
    made = Counting(clock, MemoryCloud(clock, "test"), "test")
    made.states[SHARD] = {"n1": StateServer("id-1")}
    return made


def test_a_state_is_read_once_until_it_is_written(terraform: Counting) -> None:
    states = StateViews(terraform)
    for _ in range(3):
        assert states.servers(SHARD) == {"n1": StateServer("id-1")}
    assert terraform.readings == 1
    terraform.states[SHARD] = {"n1": StateServer("id-1", tainted=True)}
    assert states.servers(SHARD)["n1"].tainted and terraform.readings == 2


def test_what_cannot_be_read_is_not_remembered_and_is_said_once(
    terraform: Counting, caplog: pytest.LogCaptureFixture
) -> None:
    states = StateViews(terraform)
    states.servers(SHARD)
    terraform.broken_shards.add(SHARD)
    with caplog.at_level(logging.ERROR):
        assert states.readable(SHARD) is None and states.readable(SHARD) is None
    assert len(caplog.records) == 1
    with pytest.raises(TerraformError):
        states.servers(SHARD)
    terraform.broken_shards.clear()
    assert states.readable(SHARD) == {"n1": StateServer("id-1")}
