"""Processes of Terraform and Ansible that an engine has left behind."""

import signal
from typing import Protocol

from slurm_powersave.model.nodes import RunRecord


class Processes(Protocol):
    """Those of this host."""

    def alive(self, record: RunRecord) -> bool:
        """Tell whether the recorded process (not a later one with its pid) still runs."""

    def signal(self, record: RunRecord, number: signal.Signals) -> None:
        """Signal the whole group of a recorded process, if it is still that process."""
