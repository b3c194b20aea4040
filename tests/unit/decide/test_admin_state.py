"""Who has set a DRAIN, DOWN or FAIL: by real reasons of three versions of Slurm."""

import pytest

from slurm_powersave.decide.node.admin_state import state_by_admin
from slurm_powersave.model.nodes import SlurmNode


@pytest.mark.parametrize(
    ("flags", "reason", "by", "state"),
    [
        ("IDLE+CLOUD+DRAIN", "bad DIMM", "root", "DRAIN"),
        ("IDLE+CLOUD+DRAIN+POWERED_DOWN", "bad DIMM", "ops", "DRAIN"),
        ("DOWN+CLOUD", "burnt", "root", "DOWN"),
        ("DOWN+CLOUD", "Not responding", "slurm", ""),
        ("DOWN+CLOUD+POWERED_DOWN", "ResumeTimeout reached", "slurm", ""),
        ("IDLE+CLOUD+DRAIN", "slurm-powersave: (quota) none left", "root", ""),
        ("DOWN+CLOUD+DRAIN+REBOOT_ISSUED", "reimage : reboot issued", "slurm", ""),
        ("IDLE+CLOUD+DRAIN+REBOOT_REQUESTED", "reimage", "root", ""),
        ("IDLE+CLOUD", "bad DIMM", "root", ""),
        ("IDLE+CLOUD+DRAIN", "", "", "DRAIN"),
        ("IDLE+CLOUD+DRAIN+POWER_DOWN", "", "", ""),
        # Of the three versions' own reasons; Slurm's by their words and by SlurmUser.
        (
            "IDLE+CLOUD+DRAIN+INVALID_REG",
            "gres/gpu count reported lower than configured (0 < 2)",
            "slurm",
            "",
        ),
        ("IDLE+CLOUD+DRAIN+INVALID_REG", "", "root", ""),
        ("IDLE+CLOUD+DRAIN+INVALID_REG", "bad DIMM", "root", "DRAIN"),
        ("IDLE+CLOUD+DRAIN", "Low RealMemory (reported:900 < 100.00% of configured:1000)", "slurm", ""),
        ("IDLE+CLOUD+DRAIN", "Low socket*core*thread count, Low CPUs", "slurm", ""),
        ("IDLE+CLOUD+DRAIN", "Kill task failed", "slurm", ""),
        ("IDLE+CLOUD+DRAIN", "Prolog error", "slurm", ""),
        ("IDLE+CLOUD+DRAIN", "batch job complete failure", "slurm", ""),
        # Any other reason is an administrator's, also one that was given as SlurmUser.
        ("IDLE+CLOUD+DRAIN", "NHC: check_fs_mount: /scratch not mounted", "slurm", "DRAIN"),
        ("DOWN+CLOUD", "burnt", "slurm", "DOWN"),
        ("IDLE+CLOUD+DRAIN", "Kill task failed", "root", "DRAIN"),
        ("IDLE+CLOUD+DRAIN", "Prolog error", "alice", "DRAIN"),
        ("IDLE+CLOUD+DRAIN", "says Not responding", "slurm", "DRAIN"),
        ("IDLE+CLOUD+FAIL", "", "", "FAIL"),
        # After a reconfigure Slurm's own reasons are root's.
        ("DOWN+CLOUD", "Not responding", "root", ""),
        ("DOWN+CLOUD", "reimage : reboot issued : reboot timed out", "root", ""),
        ("IDLE+CLOUD+DRAIN", "patches : reboot issued", "root", ""),
    ],
)
def test_whose_a_drain_is(flags: str, reason: str, by: str, state: str) -> None:
    assert state_by_admin(SlurmNode("n1", frozenset(flags.split("+")), reason, by)) == state
