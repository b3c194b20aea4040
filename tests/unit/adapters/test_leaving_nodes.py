"""The module leaving_nodes: what stands against a slurm.conf that leaves nodes or partitions out."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest

PATH = Path(__file__).parents[3] / "roles/leaving/library/leaving_nodes.py"
OFF, DRAINED = "IDLE+CLOUD+POWERED_DOWN", "IDLE+CLOUD+DRAIN+POWERED_DOWN"


@pytest.fixture(scope="module")
def module() -> Any:
    """The module, imported as a file."""
    spec = importlib.util.spec_from_file_location("leaving_nodes", PATH)
    assert spec and spec.loader
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


@pytest.mark.parametrize(
    ("state", "drained", "says"),
    [
        (OFF, False, ""),
        (DRAINED, True, ""),
        ("IDLE+CLOUD+DRAIN+POWERING_DOWN", True, ""),
        (OFF, True, "not drained"),
        ("IDLE+CLOUD", False, "not powered down"),
        ("IDLE+CLOUD+DRAIN", True, "not powered down"),
        ("ALLOCATED+CLOUD+POWERING_UP", False, "have a job"),
        ("IDLE+CLOUD+COMPLETING+POWERING_DOWN", False, "have a job"),
        ("IDLE+DRAIN", True, ""),  # no cloud node: the site's own
    ],
)
def test_nodes(module: Any, state: str, drained: bool, says: str) -> None:
    nodes = module.parse([f"NodeName=n1 Arch=x NodeAddr=10.0.0.1 State={state} ThreadsPerCore=1"])
    found = "; ".join(module.mistakes(nodes, [], [], [], drained))
    assert says in found and bool(says) == bool(found)


def test_servers_and_jobs(module: Any) -> None:
    nodes = module.parse([f"NodeName=n1 NodeAddr=10.0.0.1 State={OFF}"])
    assert nodes["n1"][1] == "10.0.0.1"
    assert "still answer: n1" in module.mistakes(nodes, ["n1"], [], [], False)[0]
    assert (
        "loses long, and Slurm with it these jobs: 7 8"
        in module.mistakes({}, [], ["long"], ["7", "8"], False)[0]
    )
    assert module.mistakes({}, [], ["long"], [], False) == []


def test_names_of_both_kinds(module: Any) -> None:
    text = "NodeName=n[1-2],m NodeAddr=x\nPartitionName=a Nodes=n1\n# NodeName=no\nnodename=p1 State=CLOUD\n"
    assert module.names(text, "NodeName") == ["n[1-2],m", "p1"]
    assert module.names(text, "PartitionName") == ["a"]
