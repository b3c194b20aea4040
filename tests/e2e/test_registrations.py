"""On the real chain: a node that Slurm does not take, and what Slurm shows when it calls SuspendProgram."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from slurm_powersave.model.errors import FailureClass
from tests.e2e.harness import OFF, Live


@contextmanager
def edited(live: Live, edit: str) -> Iterator[None]:
    """Edit the login node's slurm.conf with sed, and put it back."""
    kept = "/etc/slurm/slurm.conf.kept"
    live.login(
        f"cp -p /etc/slurm/slurm.conf {kept}; sed -i {edit} /etc/slurm/slurm.conf; scontrol reconfigure"
    )
    try:
        yield
    finally:
        live.login(f"cp -p {kept} /etc/slurm/slurm.conf; rm {kept}; scontrol reconfigure")


@pytest.mark.slow
@pytest.mark.parametrize("before", ["", " "], ids=["no reason", "a blank from an earlier failure"])
def test_a_registration_that_slurm_refuses_is_a_failure_with_slurms_words(live: Live, before: str) -> None:
    """Slurmctld expects more memory than the node finds; without config_overrides it compares."""
    if before:
        live.login(f"scontrol update nodename=e2e-1 reason='{before}'")
    with edited(live, "-e /^SlurmdParameters=/d -e 's/RealMemory=[0-9]*/RealMemory=9000000/'"):
        live.command("resume", "e2e-1", "--wait", "--timeout", "80", timeout=90, rc=1)
        op = live.newest("e2e-1")
        assert (op.outcome, op.failure) == ("failed", FailureClass.NODE_LOCAL), op
        # Over a blank 24.11 writes no reason of its own.
        assert "RealMemory" in op.text or (before and "INVALID_REG" in op.text), op
        live.wait("its server has gone", lambda: not live.servers(), 60)
        reason = live.node("e2e-1").reason
        assert reason.startswith("slurm-powersave: (node-local)"), reason
    live.login("scontrol update nodename=e2e-1 state=RESUME", check=False)


@pytest.mark.slow
def test_a_node_is_powering_down_already_when_suspendprogram_is_called(live: Live) -> None:
    """The guard takes POWERING_DOWN, or later POWERED_DOWN, as the proof of a Suspend call."""
    hook = live.login("scontrol show config | awk '/^SuspendProgram / {print $3}'").strip()
    look = r"/usr/bin/scontrol -o show node \"\$1\" >>/tmp/suspend-called 2>\&1"
    live.login(f'cp -p {hook} {hook}.kept; sed -i "2i {look}" {hook}; rm -f /tmp/suspend-called')
    try:
        live.job_done(live.sbatch("-w e2e-1"), 90)
        live.wait("it is off", lambda: OFF in live.node("e2e-1").flags and not live.servers(), 60)
        live.login("scontrol update nodename=e2e-2 state=POWER_UP")
        live.wait("it is up", lambda: live.up("e2e-2"), 60)
        live.login("scontrol update nodename=e2e-2 state=POWER_DOWN_FORCE")
        live.wait("it is off", lambda: OFF in live.node("e2e-2").flags and not live.servers(), 60)
        seen = live.login("cat /tmp/suspend-called")
    finally:
        live.login(f"mv {hook}.kept {hook}; rm -f /tmp/suspend-called")
    states = [word for word in seen.split() if word.startswith("State=")]
    assert len(states) >= 2, seen
    assert all("POWERING_DOWN" in state for state in states), seen
