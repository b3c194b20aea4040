"""A node's state is printed as scontrol prints it."""

import re
from pathlib import Path

import pytest

from slurm_powersave.model.node_state import joined
from slurm_powersave.model.nodes import SlurmNode

RECORDED = sorted(
    {
        state
        for path in (Path(__file__).parents[2] / "recorded").rglob("*")
        if path.is_file()
        for state in re.findall(r"\bState=([A-Z]+(?:\+[A-Z_]+)+)\b", path.read_text(errors="replace"))
    }
)


def test_there_are_recorded_states() -> None:
    assert len(RECORDED) >= 5


@pytest.mark.parametrize("state", RECORDED)
def test_the_order_is_that_of_scontrol(state: str) -> None:
    assert joined(frozenset(state.split("+"))) == state
    assert SlurmNode("n", frozenset(state.split("+"))).state == state


def test_flags_that_are_not_known_come_last() -> None:
    assert joined({"NEW_FLAG", "CLOUD", "ANOTHER", "MIXED"}) == "MIXED+CLOUD+ANOTHER+NEW_FLAG"
