"""No job is to run, and none to begin, on nodes that are about to be deleted."""

from collections.abc import Callable
from dataclasses import dataclass

from slurm_powersave.adapters.journal import SqliteJournal
from slurm_powersave.decide.drain import Stage
from slurm_powersave.decide.lost_jobs import jobs_queued
from slurm_powersave.engine.drains import Drains
from slurm_powersave.engine.survey import running
from slurm_powersave.model.errors import SlurmError, UnfinishedError
from slurm_powersave.model.hostlist import fold
from slurm_powersave.model.nodes import SlurmSnapshot
from slurm_powersave.ports import Clock, Slurm

_POLL = 0.5
_DRAIN_SECONDS = 30.0
"""In which nodes that Slurm is powering down take a DRAIN."""
BY = "teardown"


@dataclass
class Emptying:
    """Drains all nodes and waits for their jobs."""

    slurm: Slurm
    journal: SqliteJournal | None
    """None where it is lost: a DRAIN that nobody could tell as ours is not set."""
    clock: Clock
    wait: Callable[[float], None]
    say: Callable[[str], None]

    def __post_init__(self) -> None:
        self._drains = Drains(self.journal, self.slurm, self.clock.wall) if self.journal else None

    def empty(self, *, force: bool, seconds: float, queued: int | None = None) -> None:
        """Drain, so that no job begins in the meantime; one that has begun is waited for.

        Args:
            force: jobs do not matter.
            seconds: how long to wait for them.
            queued: how many jobs may be queued at the end; None: any number.

        Raises:
            UnfinishedError: they have not ended, or more are queued; the nodes get jobs again.
            SlurmError: Slurm does not answer; likewise.
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
                        todo="Their nodes get jobs again. Wait longer (--wait), cancel them, or use --force.",
                    )
                self.wait(_POLL)
        except (SlurmError, UnfinishedError) as error:
            if isinstance(error, SlurmError) and force:
                self.say(str(error))
                return
            self._release()
            raise

    def _refuse_more(self, snapshot: SlurmSnapshot, told: int | None) -> None:
        """The person has agreed to lose the jobs that were queued then, not those that came since."""
        waiting = sum(job.waiting for job in snapshot.jobs)
        if told is not None and waiting > told:
            raise UnfinishedError(
                f"{jobs_queued(waiting)} by now; when it was asked there were {told}",
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
