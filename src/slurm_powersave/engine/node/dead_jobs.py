"""Tells the owners of jobs that were lost with their node why: in AdminComment (`scontrol show job`)."""

import logging
from collections import defaultdict

from slurm_powersave.decide.node import failure_policy
from slurm_powersave.decide.node.guard import is_used
from slurm_powersave.engine.world import World
from slurm_powersave.model.errors import SlurmError
from slurm_powersave.model.nodes import SlurmSnapshot

log = logging.getLogger("slurm_powersave")

_AT_ONCE = 10
"""Jobs that are told of at one reading: each takes two calls of slurmctld."""
_LONGEST = 240
"""Characters of an AdminComment."""
_ENDED_OTHERWISE = frozenset(
    {"COMPLETED", "FAILED", "TIMEOUT", "CANCELLED", "OUT_OF_MEMORY", "DEADLINE", "PREEMPTED", "REVOKED"}
)
"""How a job ends for which its node is not to blame."""


def comment(world: World, job: int, text: str) -> None:
    """Write a job's AdminComment, unless somebody else has.

    Raises:
        SlurmError: slurmctld refuses, or has forgotten the job.
    """
    note = world.slurm.job_note(job)
    others = note.admin_comment and not failure_policy.is_ours(note.admin_comment)
    if note.state not in _ENDED_OTHERWISE and note.admin_comment != text and not others:
        world.slurm.update_job(job, AdminComment=text)


class DeadJobs:
    """Remembers which jobs ran on which node when Slurm last showed it in use."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._ran: dict[str, tuple[int, ...]] = {
            one.node: one.jobs for one in world.journal.notices().values() if one.jobs
        }
        self._listed: dict[str, set[int]] = {}

    def take_in(self, snapshot: SlurmSnapshot) -> None:
        """Take in a reading of all nodes and jobs."""
        listed: dict[str, set[int]] = defaultdict(set)
        for job in snapshot.jobs:
            for name in () if job.waiting or job.state == "COMPLETING" else job.nodes:
                listed[name].add(job.id)
        self._listed = listed
        for name, node in snapshot.nodes.items():
            if is_used(node):
                self._ran[name] = tuple(sorted(listed[name]))
            elif not node.has("DOWN"):
                self._ran.pop(name, None)

    def on(self, node: str) -> tuple[int, ...]:
        """Return the jobs that were last seen on a node."""
        return self._ran.get(node, ())

    def explain(self, node: str, why: str) -> None:
        """Tell the owners of the jobs that ran on a node which Slurm has set DOWN since, each once."""
        lost = [job for job in self._ran.get(node, ()) if job not in self._listed.get(node, ())]
        text = failure_policy.plain(
            f"{failure_policy.REASON_PREFIX} {node} died while this job ran there: {why}", _LONGEST
        )
        for job in lost[:_AT_ONCE]:
            try:
                comment(self._world, job, text)
            except SlurmError as error:
                log.warning("job=%d node=%s AdminComment: %s", job, node, error.line)
        commented = set(lost[:_AT_ONCE])
        if left := tuple(job for job in self._ran.get(node, ()) if job not in commented):
            self._ran[node] = left
        else:
            self._ran.pop(node, None)
