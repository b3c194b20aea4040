"""Nodes that an operator brings up and takes down by hand."""

from typing import Any

import pytest

from slurm_powersave.model.errors import SlurmError
from slurm_powersave.model.modes import Mode
from slurm_powersave.testing.world import MemoryWorld
from tests.unit.engine.checks import assert_at_rest, outcomes, servers
from tests.unit.engine.stories import up


def test_an_operator_brings_a_node_up() -> None:
    world = MemoryWorld.of(2)
    world.request(Mode.RESUME, "n1", source="operator")
    world.settle(60)
    assert world.slurm.node("n1").up
    assert ("resume", "done") in outcomes(world, "n1")
    assert_at_rest(world)


@pytest.mark.parametrize("refused", [True, False])
def test_an_operators_power_up_that_had_no_effect_is_given_again(refused: bool) -> None:
    """Refused once, or accepted and forgotten, as 26.05 does while the node is POWERING_DOWN."""
    world = MemoryWorld.of(2)
    original, told = world.slurm.update_nodes, []

    def update(nodes: list[str], *, state: str = "", reason: str = "", **more: Any) -> None:
        told.append(state)
        if state == "POWER_UP" and told.count(state) == 1:
            if refused:
                raise SlurmError("Invalid node state specified")
            return
        original(nodes, state=state, reason=reason, **more)

    world.slurm.update_nodes = update  # type: ignore[method-assign,assignment]
    world.request(Mode.RESUME, "n1", source="operator")
    world.settle(60)
    assert world.slurm.node("n1").up and told.count("POWER_UP") == 2
    assert outcomes(world, "n1")[0] == ("resume", "done")


def test_an_operators_power_up_that_never_has_an_effect_ends() -> None:
    world = MemoryWorld.of(2)
    world.slurm.update_nodes = lambda nodes, **_: None  # type: ignore[method-assign,assignment]
    world.request(Mode.RESUME, "n1", source="operator")
    world.settle(120)
    assert outcomes(world, "n1")[0] == ("resume", "cancelled")


def test_an_operators_resume_of_a_node_that_is_up_changes_nothing() -> None:
    world = MemoryWorld.of(2)
    up(world, "n1")
    world.request(Mode.RESUME, "n1", source="operator")
    world.settle(60)
    assert outcomes(world, "n1")[-1] == ("resume", "done") and world.cloud.created == 1


def test_an_operator_takes_an_idle_node_down() -> None:
    world = MemoryWorld.of(2)
    world.slurm.end(up(world, "n1"))
    world.request(Mode.SUSPEND, "n1", source="operator")
    world.settle(60)
    assert servers(world) == {} and world.slurm.node("n1").has("POWERED_DOWN")
    assert_at_rest(world)


def test_an_operators_suspend_of_a_node_in_use_is_refused() -> None:
    world = MemoryWorld.of(2)
    up(world, "n1")
    world.request(Mode.SUSPEND, "n1", source="operator")
    world.settle(60)
    assert outcomes(world, "n1")[-1] == ("suspend", "refused")
    assert not world.slurm.node("n1").going_down and "n1" in servers(world)


def test_an_operators_resume_of_a_node_that_is_down_ends() -> None:
    world = MemoryWorld.of(2)
    world.slurm.set_flags("n1", "DOWN", "CLOUD", reason="bad DIMM")
    world.request(Mode.RESUME, "n1", source="operator")
    world.settle(120)
    assert world.slurm.node("n1").has("DOWN")
