"""A process that outlives the engine, is polled, and can be followed again after a restart."""

from collections.abc import Sequence
from typing import Protocol

from slurm_powersave.model.nodes import NodeProgress, RunRecord, RunResult


class Run(Protocol):
    """A detached process of Terraform or Ansible."""

    @property
    def record(self) -> RunRecord:
        """What must be journalled to follow this run after a restart."""

    def progress(self) -> Sequence[NodeProgress]:
        """Return the nodes' news since the last call; after an adoption all of them again."""

    def poll(self) -> RunResult | None:
        """Return None while it runs."""

    def interrupt(self) -> None:
        """Send SIGINT once; a run that is still there after the grace is killed by `kill`."""

    def kill(self) -> None:
        """Send SIGKILL to the whole process group."""
