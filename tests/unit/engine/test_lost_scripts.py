"""Jobs that are RUNNING and whose script was lost in a restart of slurmctld."""

from dataclasses import replace

import pytest

from slurm_powersave.model.errors import SlurmError
from slurm_powersave.testing.world import MemoryWorld
from tests.unit.engine.stories import up


def begun(world: MemoryWorld, *nodes: str) -> int:
    """Let a job begin on nodes that have just come up."""
    job = up(world, *nodes)
    world.slurm.start(job)
    return job


def asked(world: MemoryWorld, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Note from now on which nodes are asked to register."""
    calls: list[list[str]] = []
    update = world.slurm.update_nodes

    def noting(nodes: list[str], **given: str) -> None:
        if given.get("state") == "UNDRAIN":
            calls.append(list(nodes))
        update(nodes, **given)

    monkeypatch.setattr(world.slurm, "update_nodes", noting)
    return calls


def test_slurm_learns_soon_that_a_script_is_missing() -> None:
    world = MemoryWorld.of(2)
    job = begun(world, "n1", "n2")
    world.slurm.restart(job)
    world.run(60)
    assert world.slurm.jobs[job].state == "PENDING"


def test_a_slurmctld_whose_clock_was_set_back_is_not_waited_for_longer() -> None:
    world = MemoryWorld.of(1)
    job = begun(world, "n1")
    world.slurm.restart(job)
    tell = world.slurm.last_start
    world.slurm.last_start = lambda: replace(tell(), age=tell().age - 7200)  # type: ignore[method-assign]
    world.run(120)
    assert world.slurm.jobs[job].state == "PENDING"


def test_a_job_whose_script_runs_goes_on() -> None:
    world = MemoryWorld.of(2)
    job = begun(world, "n1")
    world.slurm.restart()
    world.run(60)
    assert world.slurm.jobs[job].state == "RUNNING" and world.slurm.node("n1").up


def test_once_for_a_restart_and_not_before_slurm_has_lost_its_patience(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = MemoryWorld.of(2)
    begun(world, "n1")
    calls = asked(world, monkeypatch)
    world.slurm.restart()
    world.run(20)
    assert not calls
    world.run(100)
    assert calls == [["n1"]]
    begun(world, "n2")
    world.slurm.restart()
    world.run(100)
    assert calls == [["n1"], ["n2"]]


def test_only_the_nodes_of_jobs_that_began_just_before(monkeypatch: pytest.MonkeyPatch) -> None:
    world = MemoryWorld.of(3)
    begun(world, "n1")
    world.run(60)
    begun(world, "n2")
    calls = asked(world, monkeypatch)
    world.slurm.restart()
    world.run(5)
    begun(world, "n3")
    world.run(100)
    assert calls == [["n2"]]


@pytest.mark.parametrize("flag", ["DRAIN", "DOWN", "REBOOT_REQUESTED", "POWER_DOWN"])
def test_a_node_that_somebody_has_set_aside_is_left_alone(flag: str, monkeypatch: pytest.MonkeyPatch) -> None:
    world = MemoryWorld.of(1)
    begun(world, "n1")
    calls = asked(world, monkeypatch)
    world.slurm.restart()
    world.slurm.set_flags("n1", "ALLOCATED", "CLOUD", flag, reason="disk")
    world.run(100)
    assert not calls


def test_an_engine_that_begins_later_looks_too() -> None:
    world = MemoryWorld.of(1)
    job = begun(world, "n1")
    world.slurm.restart(job)
    world.clock.advance(300)
    world.crash()
    world.run(5)
    assert world.slurm.jobs[job].state == "PENDING"


def test_a_restart_of_long_ago_is_none_of_its_business(monkeypatch: pytest.MonkeyPatch) -> None:
    world = MemoryWorld.of(1)
    begun(world, "n1")
    world.slurm.restart()
    world.clock.advance(7200)
    world.crash()
    calls = asked(world, monkeypatch)
    world.run(60)
    assert not calls


def test_what_slurm_does_not_answer_is_asked_again_and_told_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = MemoryWorld.of(1)
    job = begun(world, "n1")
    world.slurm.restart(job)

    def refuse(*_: object) -> None:
        raise SlurmError("no answer")

    with monkeypatch.context() as patch:
        patch.setattr(world.slurm, "started_on", refuse)
        world.run(120)
    assert [record.message for record in caplog.records].count("can't look for lost scripts: no answer") == 1
    world.run(60)
    assert world.slurm.jobs[job].state == "PENDING"
