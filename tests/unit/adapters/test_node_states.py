"""Slurm's node states: tests/cases/node_states.yml."""

from pathlib import Path

import pytest
import yaml

from slurm_powersave.adapters.slurm.slurm_text import parse_node

CASES = yaml.safe_load(Path(__file__).parents[2].joinpath("cases/node_states.yml").read_text())
WORDS = ("powering_up", "up", "ready", "in_use", "going_down")


@pytest.mark.parametrize(
    ("state", "true"),
    [(state, true) for states in CASES.values() for state, true in states.items()],
    ids=[f"{version} {state}" for version, states in CASES.items() for state in states],
)
def test_what_a_state_means(state: str, true: list[str]) -> None:
    node = parse_node(f"NodeName=n1 Arch=x86_64 State={state} ThreadsPerCore=1 BootTime=None")
    assert node is not None
    assert [word for word in WORDS if getattr(node, word)] == [word for word in WORDS if word in true]
