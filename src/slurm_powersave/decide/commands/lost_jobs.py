"""The jobs that are lost with a login node, by `deploy --replace-login` and by `teardown`. Pure."""

from slurm_powersave.model.errors import RefusedError
from slurm_powersave.model.hostlist import fold
from slurm_powersave.model.nodes import SlurmSnapshot

LOST = (
    "slurmctld's state: the queue with all jobs that wait, all running jobs, the count of the job ids (they "
    "begin at 1 again), reservations; and what else is on the login node's disk, /home and the shared "
    "directory too unless another server has them"
)
"""What is lost with a login node."""


def refuse_jobs(slurm: SlurmSnapshot | None, *, name: str, why: str, force: bool) -> str:
    """Refuse to replace a login node while jobs are queued or running; otherwise say what is lost.

    Args:
        slurm: a reading of all nodes and jobs; None: Slurm could not be asked.
        name: the login node's.
        why: why it could not be asked.
        force: --force: replace it even if Slurm can't be asked.

    Raises:
        RefusedError: jobs are queued or running, or Slurm can't be asked and `force` is not given.
    """
    if slurm and slurm.jobs:
        jobs = ", ".join(str(job.id) for job in slurm.jobs[:20])
        raise RefusedError(
            f"jobs are queued or running: {jobs}{' ...' if len(slurm.jobs) > 20 else ''}",
            where=name,
            why="they are lost with the login node",
            todo="Wait for them, or cancel them (scancel). If Slurm's answer is wrong, switch the login "
            "node off in the cloud and use --force, which needs a Slurm that can't be asked.",
        )
    if slurm and not slurm.unreadable:
        return ""
    if slurm:
        why = f"what Slurm says of {fold(slurm.unreadable)} can't be read"
    if force:
        return f"{why}. Lost with {name} is {LOST}."
    raise RefusedError(
        "Slurm can't be asked whether jobs are queued or running",
        where=name,
        why=why,
        todo=f"With --force the login node is replaced anyway. Lost with it is {LOST}.",
    )


def refuse_queue(waiting: int | None, *, unasked: bool, discard: bool, force: bool) -> None:
    """Refuse a teardown with --yes while jobs are queued, unless --discard-queue allows their loss.

    Args:
        waiting: how many jobs are queued and will be lost; None: Slurm can't be asked.
        unasked: --yes is given, so that no question names the jobs.
        discard: --discard-queue.
        force: --force, which is enough where Slurm can't be asked.

    Raises:
        RefusedError: it says how many jobs are queued.
    """
    if waiting == 0 or not unasked or discard or (waiting is None and force):
        return
    raise RefusedError(
        _loss(waiting), todo="--yes does not cover them. If they may be lost: teardown --yes --discard-queue"
    )


def question(waiting: int | None) -> str:
    """Return the question of a teardown; it names how many queued jobs will be lost."""
    return "Delete all of this?" if waiting == 0 else f"{_loss(waiting)}. Delete all of this?"


def _loss(waiting: int | None) -> str:
    if waiting is None:
        return "Slurm can't be asked what is queued; it will be lost with the login node"
    return f"{jobs_queued(waiting)}, and will be lost with the login node"


def jobs_queued(count: int) -> str:
    """Say how many jobs are queued."""
    return "1 job is queued" if count == 1 else f"{count} jobs are queued"
