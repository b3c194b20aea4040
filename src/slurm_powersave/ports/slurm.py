"""Slurm: what is read of it, and what it is told."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

from slurm_powersave.model.job_note import JobNote
from slurm_powersave.model.nodes import SlurmSnapshot, SlurmStart
from slurm_powersave.model.permit import Permit
from slurm_powersave.model.slurm_version import Version


class Slurm(Protocol):
    """What is read from and told to slurmctld. Every method raises SlurmError."""

    def snapshot(self, nodes: Sequence[str] = (), jobs: Sequence[int] = ()) -> SlurmSnapshot:
        """Read these nodes, the jobs on them, and these jobs; all nodes and jobs if none are named."""

    def running_version(self) -> Version:
        """Read the version of the slurmctld that runs, which may be older than the installed programs."""

    def power_timers(self) -> Mapping[str, int]:
        """Read ResumeTimeout, SuspendTimeout and SuspendTime, in seconds, as slurmctld has loaded them.

        An infinite one is left out.
        """

    def suspend_exc_nodes(self) -> frozenset[str]:
        """Read which nodes slurmctld never suspends (SuspendExcNodes, as it has loaded it)."""

    def update_nodes(
        self,
        nodes: Sequence[str],
        *,
        state: str = "",
        reason: str = "",
        comment: str | None = None,
        permits: Sequence[Permit] = (),
    ) -> None:
        """Run `scontrol update nodename=... [state=...] [reason=...] [comment=...]`.

        POWER_DOWN_FORCE, DOWN and DRAIN can end jobs: they need a permit for each node; RefusedError without.
        """

    def reboot(self, nodes: Sequence[str], *, reason: str = "", admin_state: str = "") -> None:
        """Run `scontrol reboot`: ASAP nextstate=RESUME with this reason.

        `admin_state`: DRAIN or DOWN that an administrator has set for this reason; it is kept.
        """

    def job_note(self, job: int) -> JobNote:
        """Read a job's state and AdminComment; of one that has ended, too, while slurmctld remembers it."""

    def update_job(self, job: int, **fields: str) -> None:
        """Run `scontrol update jobid=... FIELD=...` (AdminComment, StartTime)."""

    def last_start(self) -> SlurmStart:
        """Read when slurmctld began to run."""

    def started_on(self, first: datetime, last: datetime) -> frozenset[str]:
        """Name the hosts that run, or should run, the scripts of jobs which began between these moments."""
