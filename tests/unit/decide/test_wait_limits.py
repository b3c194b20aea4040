"""The table of waits: every phase has its words, and no wait is without an end or a word."""

from dataclasses import replace

import pytest

from slurm_powersave.config.sections import PowerSave
from slurm_powersave.decide.node import wait_limits
from slurm_powersave.decide.node.wait_limits import Counts, Limit, Then
from slurm_powersave.model import phases
from slurm_powersave.model.errors import FailureClass
from slurm_powersave.model.modes import Kind, Mode
from slurm_powersave.model.nodes import Operation

TIMES = PowerSave(resume_timeout=1000)
ALL = [value for name, value in vars(phases).items() if name.isupper() and isinstance(value, str)]
OUTCOMES = {phases.DONE, phases.FAILED, phases.REFUSED, phases.CANCELLED, phases.JOINED}
OF_THE_PHASE = {*phases.IN_BATCH, phases.BOOTING, phases.CONFIGURING, phases.REGISTERING, phases.FAILING}
"""Their limits are held by the parts that drive them."""
SLURM_WANTS_IT_OFF = {
    phases.CHECKING,
    phases.WAITING,
    phases.DELETE_QUEUED,
    phases.VERIFYING,
    phases.RECOVERING,
}
"""A deletion that Slurm has asked for is never given up; it says what keeps it."""


def operation(mode: Mode, phase: str, failure: FailureClass | None = None) -> Operation:
    """One in a phase."""
    return Operation("1a2b3c", "r1", "n1", mode, phase, 1.0, 2.0, failure=failure)


def test_every_phase_and_outcome_is_in_the_table() -> None:
    assert set(wait_limits.TABLE) == {*ALL} - OUTCOMES and set(wait_limits.OUTCOMES) == OUTCOMES
    for wait in wait_limits.TABLE.values():
        assert wait.meaning and wait.what and wait.limit and wait.then
        assert not wait.what.startswith("wait"), "status puts `waits for` before it"


@pytest.mark.parametrize("phase", sorted(wait_limits.TABLE.keys() - OF_THE_PHASE - {phases.DRAINING}))
def test_what_brings_a_node_up_has_a_limit_in_every_phase(phase: str) -> None:
    found = [wait_limits.limit(operation(mode, phase), TIMES) for mode in (Mode.RESUME, Mode.REBOOT)]
    assert any(found), "one of the two is never in some phases"
    assert all(limit is None or 0 < limit.seconds <= 1000 for limit in found)


@pytest.mark.parametrize("mode", [Mode.SUSPEND, Mode.RESUME_FAIL])
@pytest.mark.parametrize("phase", sorted(wait_limits.TABLE))
def test_a_deletion_is_not_given_up(mode: Mode, phase: str) -> None:
    limit = wait_limits.limit(operation(mode, phase), TIMES)
    assert limit is None or phase in {phases.ASKING, phases.RELEASING, phases.REFUSING, phases.RESTORING}


@pytest.mark.parametrize(
    ("mode", "phase", "limit"),
    [
        (Mode.RESUME, phases.CHECKING, Limit(500, Then.FAIL, Counts.WHOLE)),
        (Mode.RESUME, phases.VERIFYING, Limit(500, Then.FAIL, Counts.WHOLE)),
        (Mode.REBOOT, phases.CHECKING, Limit(500, Then.REFUSING)),
        (Mode.REBOOT, phases.QUEUED, Limit(500, Then.FAIL)),
        (Mode.REBOOT, phases.RESTORING, Limit(1000, Then.FAIL)),
        (Mode.REBOOT, phases.VERIFYING, None),
        (Mode.SUSPEND, phases.RELEASING, Limit(300, Then.DONE, Counts.HEARD)),
        (Mode.RESUME, phases.ASKING, Limit(600, Then.REFUSED)),
        (Mode.REBOOT, phases.DRAINING, Limit(60, Then.REFUSED, Counts.UNKNOWN)),
        (Mode.RESUME, phases.REGISTERING, Limit(60, Then.FAIL, Counts.UNKNOWN)),
    ],
)
def test_limits(mode: Mode, phase: str, limit: Limit | None) -> None:
    assert wait_limits.limit(operation(mode, phase), TIMES) == limit


def test_a_restart_that_can_not_begin_is_refused_and_slurm_is_told_nothing() -> None:
    restart = replace(operation(Mode.REBOOT, phases.CHECKING), action=Kind.RESTART)
    assert wait_limits.limit(restart, TIMES) == Limit(500, Then.REFUSED)


def test_a_failure_that_is_cleaned_up_has_none() -> None:
    assert wait_limits.limit(operation(Mode.RESUME, phases.VERIFYING, FailureClass.UNKNOWN), TIMES) is None
