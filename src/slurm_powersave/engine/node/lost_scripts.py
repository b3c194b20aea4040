"""Batch scripts that slurmctld did not send because it was about to end.

When a PrologSlurmctld ends while slurmctld is ending, slurmctld lets the job go if its nodes are up, and
loses the order to run the script: the job is RUNNING and nothing runs. Measured on 22.05.8 and 24.11.5 with a
prolog that ends at the TERM of `systemctl restart`, and on 26.05.5, which ends every prolog at a restart and
at `scontrol reconfigure`.

Slurm requeues such a job when its node registers the next time, which may be half an hour later
(src/slurmctld/job_mgr.c, _purge_missing_jobs; ping_nodes.c). So the engine asks the nodes of all jobs that
began just before to register at once. Whether a script is missing is left to Slurm: a node that runs its job
only registers.
"""

import logging
from datetime import datetime, timedelta

from slurm_powersave.engine.operations import Operations
from slurm_powersave.engine.world import World
from slurm_powersave.model.errors import SlurmError
from slurm_powersave.model.hostlist import fold
from slurm_powersave.model.nodes import SlurmNode, SlurmStart

log = logging.getLogger("slurm_powersave")

_MARGIN = 5.0
"""Seconds more than Slurm's own patience, because it compares whole seconds."""
_BEFORE = timedelta(seconds=30)
"""So long before the new slurmctld began the old one may have let a job go: it had to save its state yet."""
_AFTER = timedelta(seconds=1)
_TOO_LATE = 3600.0
"""Seconds after which every node has registered by itself."""
_OUT_OF_SERVICE = ("DRAIN", "DOWN", "FAIL", "REBOOT_REQUESTED", "REBOOT_ISSUED")


class LostScripts:
    """Looks after each start of slurmctld for jobs whose script may be lost."""

    def __init__(self, world: World, operations: Operations) -> None:
        self._world, self._ops = world, operations
        self._due = float("-inf")
        self._seen: datetime | None = None
        self._found: tuple[datetime | None, float] = None, 0.0
        """The start that was found last, and when, on the monotonic clock."""
        self._failed = False

    def step(self) -> None:
        """Look, if it is time; what Slurm refuses is tried again until it is too late to be of use."""
        now = self._world.now()
        if now < self._due:
            return
        self._due = now + self._world.timing.slurmctld_look
        try:
            start = self._world.slurm.last_start()
            if start.at != self._found[0]:
                self._found = start.at, now
            # Its clock may have been set since: not longer than if it had begun when it was found.
            wait = start.patience + _MARGIN - max(start.age, now - self._found[1])
            if start.at != self._seen and wait > 0:
                self._due = now + wait
            elif start.at != self._seen:
                if start.age < _TOO_LATE:
                    self._let_register(start)
                self._seen = start.at
        except SlurmError as error:
            if not self._failed:
                log.warning("can't look for lost scripts: %s", error)
            self._failed = True
        else:
            self._failed = False

    def _let_register(self, start: SlurmStart) -> None:
        hosts = self._world.slurm.started_on(start.at - _BEFORE, start.at + _AFTER)
        wanted = sorted(hosts & set(self._world.names))
        if not wanted:
            return
        nodes = self._world.slurm.snapshot(wanted).nodes
        names = [name for name in wanted if name in nodes and self._may_be_asked(nodes[name])]
        if names:
            # This is all that UNDRAIN does to a node without a DRAIN (node_mgr.c, _require_node_reg).
            self._world.slurm.update_nodes(names, state="UNDRAIN")
            text = "slurmctld began %.0f s ago: nodes=%s asked to register, for jobs whose script may be lost"
            log.info(text, start.age, fold(names))

    def _may_be_asked(self, node: SlurmNode) -> bool:
        return node.up and node.in_use and not node.has(*_OUT_OF_SERVICE) and not self._ops.queue(node.name)
