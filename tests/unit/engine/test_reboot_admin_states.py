"""Reboot requests for nodes that an administrator has drained or set down."""

import pytest

from slurm_powersave.model import phases
from tests.permits import permits
from tests.unit.engine.checks import operations
from tests.unit.engine.reboot_stories import ROOMY, ask, boots, ready
from tests.unit.engine.stories import drained


def test_what_somebody_else_drained_is_not_reimaged_and_stays_drained() -> None:
    world = ready(2)
    world.slurm.update_nodes(["n1"], state="DRAIN", reason="bad DIMM", permits=permits("DRAIN", ["n1"]))
    world.run(40)
    before = boots(world)
    world.slurm.reboot(["n1"], reason="reimage image=other")  # typed by hand: takes the reason away
    world.run(1)
    world.settle(60)
    node = world.slurm.node("n1")
    assert operations(world, "n1")[-1].outcome == phases.REFUSED
    assert node.has("DRAIN") and node.reason == "bad DIMM"
    assert boots(world) == before
    assert ask(world, "n1", "reimage").outcome == phases.REFUSED
    assert boots(world) == before


@pytest.mark.parametrize("seen", [True, False])
@pytest.mark.parametrize("state", ["DRAIN", "DOWN"])
@pytest.mark.parametrize(
    "words", ["reimage", "reimage image=other", "reimage replace", "resize flavor=large"]
)
@pytest.mark.parametrize("version", ["22.05", "24.11", "26.05"])
def test_by_force_it_is_done_and_what_was_set_is_there_afterwards(
    version: str, words: str, state: str, seen: bool
) -> None:
    world = ready(2, **ROOMY)
    world.slurm.version = version
    drained(world, "n1", "prüfen: bad DIMM", state)
    if seen:
        world.run(40)
    before = boots(world)
    refused = ask(world, "n1", words)
    assert refused.outcome == phases.REFUSED and boots(world) == before
    assert "bad DIMM" in refused.text and "root" in refused.text and "--force" in refused.text
    op = ask(world, "n1", f"{words} force")
    assert op.outcome == phases.DONE and boots(world)["n1"] != before["n1"]
    node = world.slurm.node("n1")
    assert node.has(state) and node.reason == "prüfen: bad DIMM"
    assert any("--force although" in done.evidence for done in world.journal.acts(op.id))
    world.run(60)
    assert world.slurm.node("n1").reason == "prüfen: bad DIMM"


def test_force_is_a_word_of_an_operator_only() -> None:
    world = ready(2)
    drained(world, "n1", "bad DIMM")
    world.run(40)
    before = boots(world)
    world.slurm.reboot(["n1"], reason="reimage force")
    world.run(1)
    world.settle(60)
    assert operations(world, "n1")[-1].outcome == phases.REFUSED and boots(world) == before
    assert world.slurm.node("n1").reason == "bad DIMM"


def test_what_was_set_outlives_a_reimage_that_fails() -> None:
    world = ready(2)
    drained(world, "n1", "bad DIMM")
    world.playbooks.faults["n1"] = "not mounted"
    op = ask(world, "n1", "reimage force")
    assert op.outcome == phases.FAILED
    node = world.slurm.node("n1")
    assert node.has("DRAIN") and node.reason == "bad DIMM", node


@pytest.mark.parametrize("by_hand", [True, False])
def test_a_true_reboot_keeps_what_somebody_else_has_set(by_hand: bool) -> None:
    world = ready(2)
    world.slurm.update_nodes(["n1"], state="DRAIN", reason="bad DIMM", permits=permits("DRAIN", ["n1"]))
    world.run(40)
    before = boots(world)["n1"]
    if by_hand:
        world.slurm.reboot(["n1"], reason="reboot")
        world.run(1)
        world.settle(60)
    else:
        ask(world, "n1", "reboot")
    node = world.slurm.node("n1")
    assert boots(world)["n1"] != before
    assert node.has("DRAIN") and node.reason == "bad DIMM"
