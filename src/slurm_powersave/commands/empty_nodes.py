"""Empty the nodes before a teardown: no job may run there, and none may start."""

from collections.abc import Callable
from dataclasses import dataclass

from slurm_powersave.commands.cluster_contents import running
from slurm_powersave.commands.drain_nodes import Drains
from slurm_powersave.decide.commands.lost_jobs import jobs_queued
from slurm_powersave.decide.node.drain import Stage
from slurm_powersave.model.errors import SlurmError, UnfinishedError
from slurm_powersave.model.hostlist import fold
from slurm_powersave.model.nodes import SlurmSnapshot
from slurm_powersave.ports.clock import Clock
from slurm_powersave.ports.journal import Journal
from slurm_powersave.ports.slurm import Slurm

_POLL = 0.5
_DRAIN_SECONDS = 30.0
"""Seconds to wait until nodes that are powering down accept a DRAIN."""
BY = "teardown"


@dataclass
class DrainForTeardown:
    """Drains all nodes and waits for their jobs."""

    slurm: Slurm
    journal: Journal | None
    """None where it is lost: a DRAIN that nobody could tell as ours is not set."""
    clock: Clock
    wait: Callable[[float], None]
    say: Callable[[str], None]

    def __post_init__(self) -> None:
        self._drains = Drains(self.journal, self.slurm, self.clock.wall) if self.journal else None

    def and_wait(self, *, force: bool, seconds: float, queued: int | None = None) -> None:
        """Drain the nodes, so that no job starts in the meantime, and wait for the jobs that run.

        Args:
            force: do not wait for jobs.
            seconds: how long to wait for jobs.
            queued: how many jobs may be queued at the end; None: any number.

        Raises:
            UnfinishedError: jobs have not ended, or more are queued; the drains are ended again.
            SlurmError: Slurm does not answer; the drains are ended again.
        """
        began = self.clock.monotonic()
        try:
            while True:
                snapshot = self.slurm.snapshot()
                free = self._drain(snapshot)
                jobs, late = running(snapshot), self.clock.monotonic() - began
                unread = sorted(snapshot.unreadable)
                if force or (not jobs and not unread and (not free or late > _DRAIN_SECONDS)):
                    self._refuse_more(snapshot, queued)
                    return
                if unread and late > seconds:
                    raise UnfinishedError(
                        f"what Slurm says of these nodes can't be read: {fold(unread)}",
                        todo="Nobody can tell whether jobs run there. Look at them, or use --force.",
                    )
                if jobs and late > seconds:
                    raise UnfinishedError(
                        f"jobs are still running: {', '.join(jobs[:20])}",
                        todo="The drains are ended. Wait longer (--wait), cancel them, or use --force.",
                    )
                self.wait(_POLL)
        except (SlurmError, UnfinishedError) as error:
            if isinstance(error, SlurmError) and force:
                self.say(str(error))
                return
            self._release()
            raise

    def _refuse_more(self, snapshot: SlurmSnapshot, agreed: int | None) -> None:
        """The person agreed to lose the jobs that were queued at the question, not later ones."""
        waiting = sum(job.waiting for job in snapshot.jobs)
        if agreed is not None and waiting > agreed:
            raise UnfinishedError(
                f"{jobs_queued(waiting)} now; you were asked about {agreed}",
                todo="Nothing was deleted. Run teardown again, or use --discard-queue.",
            )

    def _drain(self, snapshot: SlurmSnapshot) -> list[str]:
        """Drain the nodes that may get jobs, and name them."""
        if self._drains is None:
            return []
        stages = self._drains.stages(snapshot.nodes, snapshot)
        free = [name for name, stage in stages.items() if stage is Stage.OPEN]
        self._drains.drain([snapshot.nodes[name] for name in free], BY, BY)
        return free

    def _release(self) -> None:
        """Nothing was deleted: the nodes get jobs again."""
        if self._drains is None or self.journal is None:
            return
        ours = [drain.node for drain in self.journal.drains().values() if drain.by == BY]
        try:
            self._drains.release(ours, self.slurm.snapshot())
        except SlurmError as error:
            self.say(str(error))
