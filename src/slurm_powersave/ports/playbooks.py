"""Ansible and SSH on the nodes."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from slurm_powersave.decide.node.host_keys import Pin
from slurm_powersave.model.nodes import NodeSpec, RunRecord
from slurm_powersave.ports.run import Run


class Playbooks(Protocol):
    """What configures nodes."""

    def configure(
        self,
        nodes: Sequence[NodeSpec],
        host_keys: Mapping[str, str],
        boot_ids: Mapping[str, str] | None = None,
        disks: Mapping[str, str] | None = None,
    ) -> Run:
        """Start the play for new nodes, limited to these; record the host keys first, as those of `disks`.

        A key that is recorded for the same disk stays, whatever is given.

        A node that is still in the boot of `boot_ids`, or that says that it runs another image, fails
        before anything is changed in it.
        """

    def pin(self, node: NodeSpec) -> Pin | None:
        """Return the host keys that are recorded of a node's name and address."""

    def reattach(self, record: RunRecord) -> Run:
        """Take up a run that an earlier engine started."""

    def forget(self, record: RunRecord) -> None:
        """Remove what a run left behind."""

    def reachable(self, node: NodeSpec) -> bool:
        """Tell whether the node's sshd answers (bounded to a fraction of a second)."""

    def answers_ssh(self, node: NodeSpec) -> bool | None:
        """Tell whether the node's sshd answers within 5 s; None if this host could not ask."""

    def runs_steps(self, node: NodeSpec) -> bool | None:
        """Ask the node whether a slurmstepd of a job runs there; None if it does not say (within 5 s)."""
