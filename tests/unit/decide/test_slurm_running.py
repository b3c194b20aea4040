"""What follows when slurmctld runs another version than the cluster file names."""

from collections.abc import Callable

import pytest

from slurm_powersave.config.cluster import Cluster
from slurm_powersave.decide.preflight.slurm_running import Running, asked, disagreement, findings, refuse
from slurm_powersave.model.errors import ConfigError
from slurm_powersave.model.slurm_version import Version

Make = Callable[..., Cluster]
UNREADABLE = Running(trouble="slurmctld: no answer")


def runs(text: str) -> Running:
    """A slurmctld that tells its version."""
    return Running(Version.of(text))


@pytest.mark.parametrize(
    ("file", "running"),
    [
        ("22.05", runs("22.05.8")),
        ("22.05.3", runs("22.05.8")),
        ("26.05", runs("26.05.0-0rc1")),
        ("24.11.0-1", runs("24.11.5")),
        ("26.11", runs("26.11.0")),
        ("26.05", UNREADABLE),
        ("26.05", Running()),
    ],
)
def test_versions_that_agree_or_are_not_known(make: Make, file: str, running: Running) -> None:
    cluster = make({"slurm_version": file})
    assert disagreement(cluster, running) is None
    refuse(cluster, running)
    assert not [one for one in findings(cluster, running) if one.severity == "error"]


@pytest.mark.parametrize(
    ("file", "running", "wanted"),
    [
        ("22.05", "24.11.5", "24.11"),
        ("24.11", "26.05.5", "26.05"),
        ("26.05", "22.05.8", "22.05"),
        ("22.05", "23.02.0-0rc1", "23.02"),
        ("26.05", "27.05.1", "27.05"),
        ("26.11", "26.05.5", "26.05"),
    ],
)
def test_versions_that_disagree(make: Make, file: str, running: str, wanted: str) -> None:
    cluster = make({"slurm_version": file})
    found = [one for one in findings(cluster, runs(running)) if one.severity == "error"]
    assert [one.where for one in found] == ["slurm_version"]
    wrong = f"slurmctld on demo-login runs Slurm {running}, the cluster file says {file}"
    right = f'Set slurm_version: "{wanted}" in {cluster.file} and run slurm-powersave deploy; until then'
    assert found[0].wrong == wrong and found[0].right.startswith(right)
    with pytest.raises(ConfigError) as caught:
        refuse(cluster, runs(running))
    assert caught.value.exit_code == 2
    assert (caught.value.what, caught.value.todo) == (wrong, found[0].right)
    assert caught.value.where == f"{cluster.file}: slurm_version"


def test_what_the_cluster_file_could_not_say_is_not_asked_for(make: Make) -> None:
    found = disagreement(make(), runs("20.11.9"))
    assert found and found.right == "Upgrade slurmctld: Slurm 21.08 or later is needed."


def test_a_newer_version_than_any_that_was_tested_is_a_warning(make: Make) -> None:
    cluster = make({"slurm_version": "26.11"})
    for running in (Running(), UNREADABLE, runs("26.11.1")):
        found = list(findings(cluster, running))
        assert [(one.severity, one.where) for one in found] == [("warning", "slurm_version")]
        assert found[0].wrong == "Slurm 26.11 is newer than 26.05, the newest version that was tested"
        assert found[0].right.startswith("It is treated like 26.05.")
    assert not list(findings(make({"slurm_version": "26.05"}), Running()))


@pytest.mark.parametrize(
    ("running", "lines"),
    [
        (Running(), []),
        (runs("24.11.5"), ["slurmctld on demo-login: Slurm 24.11.5 (tested)"]),
        (runs("23.11.4"), ["slurmctld on demo-login: Slurm 23.11.4 (by the table, not tested)"]),
        (runs("26.11.0"), ["slurmctld on demo-login: Slurm 26.11.0 (newer than all that were tested)"]),
        (UNREADABLE, ["slurmctld on demo-login: its version could not be read: slurmctld: no answer"]),
    ],
)
def test_what_was_asked(make: Make, running: Running, lines: list[str]) -> None:
    assert asked(make(), running) == lines
