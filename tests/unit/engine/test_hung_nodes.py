"""A node that hangs costs its own time: the others are configured meanwhile, and nobody is judged for it."""

import pytest

from slurm_powersave.model import phases
from slurm_powersave.testing.terraform import MemoryRun
from slurm_powersave.testing.world import MemoryWorld
from tests.unit.engine.checks import operations, outcomes, servers
from tests.unit.engine.stories import run_until

HUNG = ("n1", "n2", "n3", "n4")


def hanging(nodes: int, **failure: int) -> MemoryWorld:
    """Four nodes that hang inside a play of their own each."""
    limits = {"boot_timeout": 120, "configure_timeout": 900} | failure
    world = MemoryWorld.of(nodes, failure=limits)
    world.slurm.resume_timeout = 7200
    world.playbooks.hangs |= {*HUNG}
    for name in HUNG:
        world.slurm.submit(name)
        run_until(world, name, phases.CONFIGURING)
    assert len(world.playbooks.runs) == len(HUNG), "a play for each"
    return world


def test_four_hung_nodes_do_not_hold_up_the_others() -> None:
    world = hanging(12)
    others = [f"n{number}" for number in range(5, 13)]
    world.slurm.submit(*others)
    world.run(60)
    assert all(world.slurm.node(name).up for name in others)
    assert all(operations(world, name)[-1].phase == phases.CONFIGURING for name in HUNG)


def test_a_node_that_answers_did_boot_however_long_it_waits_for_a_play() -> None:
    """As many hung plays as there may be at all: the others wait, and keep their servers."""
    world = hanging(20)
    for number in range(5, 17):
        world.playbooks.hangs.add(f"n{number}")
        world.slurm.submit(f"n{number}")
        world.run(40)
    assert len(world.playbooks.runs) == 16
    world.slurm.submit("n17", "n18")
    world.run(300)
    assert [operations(world, name)[-1].phase for name in ("n17", "n18")] == [phases.BOOTING] * 2
    assert {"n17", "n18"} <= set(servers(world)), "they answer, so they are not judged by boot_timeout"
    world.settle(1800)
    assert outcomes(world, "n17") == outcomes(world, "n18") == [("resume", "done")]
    assert outcomes(world, "n1")[0] == ("resume", "failed")


def test_no_play_for_a_node_that_answers_is_told_as_what_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MemoryRun, "kill", lambda run: None)  # nor can they be ended
    world = hanging(20, configure_timeout=200)
    for number in range(5, 17):
        world.playbooks.hangs.add(f"n{number}")
        world.slurm.submit(f"n{number}")
        world.run(40)
    assert len(world.playbooks.runs) == 16
    world.slurm.submit("n17")
    run_until(world, "n17", phases.FAILING)
    (op,) = operations(world, "n17")
    assert op.text == "it answers, and no play could begin for it within 200 s"


def test_a_node_that_never_answers_did_not_boot() -> None:
    world = hanging(6)
    world.cloud.never_boots.add("n5")
    world.slurm.submit("n5")
    run_until(world, "n5", phases.FAILING)
    assert operations(world, "n5")[-1].text == "did not boot: no SSH within 120 s"
