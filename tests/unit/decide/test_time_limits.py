"""Limits that come too late, and limits with which slurmctld does not run."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from slurm_powersave.config.cluster import Cluster
from slurm_powersave.decide.preflight.findings import Severity
from slurm_powersave.decide.preflight.time_limits import findings

Make = Callable[..., Cluster]


def found(make: Make, running: Mapping[str, int] | None = None, **changes: Any) -> dict[str, str]:
    """Where -> what is wrong there, and what would be right."""
    listed = list(findings(make(changes), running or {}))
    assert all(one.severity is Severity.WARNING for one in listed)
    return {one.where: f"{one.wrong}. {one.right}" for one in listed}


def test_the_defaults_are_right(make: Make) -> None:
    assert found(make) == {}
    assert found(make, {"ResumeTimeout": 1800, "SuspendTimeout": 600}) == {}


@pytest.mark.parametrize("key", ["boot_timeout", "configure_timeout", "registration_timeout"])
def test_what_takes_as_long_as_slurms_patience(make: Make, key: str) -> None:
    short = {"boot_timeout": 10, "configure_timeout": 10, "registration_timeout": 10}
    assert found(make, power_save={"resume_timeout": 180}, failure=short | {key: 179}) == {}
    told = found(make, power_save={"resume_timeout": 180}, failure=short | {key: 180})
    assert list(told) == [f"failure.{key}"]
    text = told[f"failure.{key}"]
    assert "Slurm gives a node up after 180 s" in text
    assert f"failure.{key} of less than 180, or power_save.resume_timeout of more than 180." in text


def test_a_partition_may_have_less_patience(make: Make) -> None:
    options = {"ResumeTimeout": "300"}
    partitions = [{"name": "main", "pools": ["compute", "big"], "options": options}]
    told = found(make, partitions=partitions)
    assert list(told) == ["failure.boot_timeout", "failure.configure_timeout"]
    assert "partitions[0].options.ResumeTimeout of more than 600" in told["failure.boot_timeout"]


def test_nodes_of_no_partition_are_not_to_be_suspended(make: Make) -> None:
    told = found(make, {"ResumeTimeout": 1800, "SuspendTimeout": 600, "SuspendTime": 300})
    assert list(told) == ["power_save.suspend_time"]
    assert "slurmctld runs with SuspendTime=300 for all nodes" in told["power_save.suspend_time"]


def test_slurmctld_runs_with_others(make: Make) -> None:
    told = found(make, {"ResumeTimeout": 60, "SuspendTimeout": 30})
    assert "1800 s, and slurmctld runs with ResumeTimeout=60" in told["power_save.resume_timeout"]
    assert "600 s, and slurmctld runs with SuspendTimeout=30" in told["power_save.suspend_timeout"]
    assert "slurm-powersave deploy" in told["power_save.resume_timeout"]
    assert "slurmctld's ResumeTimeout of more than 600" in told["failure.boot_timeout"]
