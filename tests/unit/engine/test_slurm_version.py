"""The engine goes by the slurmctld that runs, and by the cluster file until it knows better."""

import pytest

from slurm_powersave.model.errors import SlurmError
from slurm_powersave.model.slurm_version import Version
from slurm_powersave.model.slurm_versions import Difference
from slurm_powersave.testing.world import MemoryWorld

TAKES = Difference.RECONFIGURE_TAKES_NODES


@pytest.mark.parametrize(
    ("file", "running", "takes"), [("22.05", "26.05.5", True), ("26.05", "22.05.8", False)]
)
def test_the_slurmctld_that_runs_counts(file: str, running: str, takes: bool) -> None:
    world = MemoryWorld.of(2, slurm_version=file)
    world.slurm.version = running
    shared = world.engine._world
    assert shared.slurm_has(TAKES) is not takes, "nothing was read yet: the cluster file's"
    world.run(60)
    assert shared.slurm_has(TAKES) is takes


def test_it_is_asked_for_once_and_again_after_slurm_was_away(monkeypatch: pytest.MonkeyPatch) -> None:
    world = MemoryWorld.of(2)
    asked: list[str] = []
    tells = world.slurm.running_version

    def running_version() -> Version:
        asked.append(world.slurm.version)
        return tells()

    monkeypatch.setattr(world.slurm, "running_version", running_version)
    world.slurm.submit("n1")
    world.settle()
    world.run(90)
    assert asked == ["22.05"]
    world.slurm.unreachable = "Unable to contact slurm controller"
    world.run(60)
    world.slurm.unreachable, world.slurm.version = "", "26.05.5"
    world.run(60)
    assert asked == ["22.05", "26.05.5"]
    assert world.engine._world.slurm_has(TAKES)


def test_a_version_that_is_not_told_holds_nothing_up(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    world = MemoryWorld.of(2)

    def running_version() -> Version:
        raise SlurmError("Slurm does not tell its version")

    monkeypatch.setattr(world.slurm, "running_version", running_version)
    world.slurm.submit("n1")
    world.settle()
    world.run(90)
    assert world.slurm.node("n1").up
    assert not world.engine._world.slurm_has(TAKES)
    assert caplog.text.count("the version of slurmctld could not be read") == 1
