"""Frozen values of the detached processes in which Terraform and Ansible run."""

from dataclasses import dataclass

from slurm_powersave.model.errors import FailureClass


@dataclass(frozen=True)
class RunRecord:
    """A detached process, as recorded so that a restarted engine can follow it."""

    id: str
    kind: str
    """init, plan, apply or configure."""
    directory: str
    pid: int
    start_ticks: int
    """Field 22 of /proc/PID/stat: with the pid it names a process of one boot for certain (proc(5))."""
    host: str = ""
    """Where it runs; empty in the record of an older version."""
    boot_id: str = ""
    """The boot of that host; empty likewise."""


@dataclass(frozen=True)
class RunResult:
    """How a detached process ended."""

    ok: bool
    text: str = ""
    """Why not, in the tool's own words."""
    failure: FailureClass = FailureClass.UNKNOWN
    machine: bool = False
    """Whether the control host's own trouble ended it (a full disk, no memory): no node is at fault."""
