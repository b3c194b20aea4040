"""Drain first: the one way in which a node of ours is taken out of service for good or for a change.

Who drains is journalled before Slurm is told, so that after a crash we know a DRAIN as ours; what
somebody else has set is neither overwritten nor ended.
"""

from collections.abc import Callable, Iterable

from slurm_powersave.commands.act_records import Acts
from slurm_powersave.decide.node import drain, guard
from slurm_powersave.decide.node.drain import Stage
from slurm_powersave.model.nodes import SlurmNode, SlurmSnapshot
from slurm_powersave.model.permit import Act, Permit
from slurm_powersave.model.records import Drain
from slurm_powersave.ports.journal import Journal
from slurm_powersave.ports.slurm import Slurm


class Drains:
    """The DRAINs that we have set."""

    def __init__(self, journal: Journal, slurm: Slurm, now: Callable[[], float]) -> None:
        self._journal, self._slurm, self._now = journal, slurm, now

    def stages(self, nodes: Iterable[str], slurm: SlurmSnapshot) -> dict[str, Stage]:
        """Tell how far nodes are; those that Slurm does not know are left out."""
        drains = self._journal.drains()
        working = {op.node for op in self._journal.open_operations()}
        found = {}
        for name in nodes:
            if name in slurm.unreadable:
                found[name] = Stage.UNREADABLE
            elif name in slurm.nodes:
                record = self._journal.node_record(name)
                served = name in working or bool(record and record.server_id)
                found[name] = drain.stage(slurm.nodes[name], drains.get(name), served=served)
        return found

    def drain(self, nodes: Iterable[SlurmNode], kind: str, by: str) -> None:
        """Set DRAIN on nodes that are OPEN.

        Raises:
            SlurmError: Slurm could not be told; a second call tells it again.
        """
        answers = [guard.set_state(node, Act.DRAIN) for node in nodes]
        permits = sorted((a for a in answers if isinstance(a, Permit)), key=lambda permit: permit.subject)
        names, reason = [permit.subject for permit in permits], drain.reason(kind, by)
        if names:
            self._journal.save_drains(Drain(name, by, reason) for name in names)
            Acts(self._journal, by, self._now).record(permits)
            self._slurm.update_nodes(names, state=Act.DRAIN, reason=reason, permits=permits)

    def release(self, nodes: Iterable[str], slurm: SlurmSnapshot) -> tuple[list[str], list[str]]:
        """End our DRAINs; return the nodes whose DRAIN was ended, and those that are to be tried again.

        One whose state or reason is no longer ours is just forgotten; one that can't be read is kept in mind.

        Raises:
            SlurmError: Slurm could not be told; a second call tells it again.
        """
        drains = self._journal.drains()
        ended, later = [], []
        for name in nodes:
            node = slurm.nodes.get(name)
            if name in slurm.unreadable or (node and node.has("POWER_DOWN")):
                later.append(name)  # RESUME is refused for a second; the DRAIN goes by itself then
                continue
            if node and drain.is_ours(node, drains.get(name)):
                self._end(node)
                ended.append(name)
            self._journal.drop_drains([name])
        return ended, later

    def _end(self, node: SlurmNode) -> None:
        """RESUME, but not of a node that is off.

        That would leave it NOT_RESPONDING, and after the next restart or reconfigure of slurmctld no job
        would get it any more; POWER_DOWN wipes the DRAIN as well, and the flag (22.05.8, measured).
        """
        if not node.has("POWERED_DOWN"):
            self._slurm.update_nodes([node.name], state="RESUME")
        if node.going_down:
            self._slurm.update_nodes([node.name], state="POWER_DOWN")
