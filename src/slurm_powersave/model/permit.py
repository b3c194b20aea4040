"""A permit for one destroying act on one thing, made only by decide/node/guard.py, used once."""

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from slurm_powersave.model.errors import RefusedError

LIFE = 60.0
"""Seconds after which a permit is too old: its evidence may no longer be true."""


class Act(StrEnum):
    """An act that destroys something, or can end jobs."""

    DELETE = "delete"
    REBUILD = "rebuild"
    RESIZE = "resize"
    REBOOT = "reboot"
    STOP = "stop"
    VANISHED = "remove from the state"
    FORCE = "POWER_DOWN_FORCE"
    """In Slurm; what runs on the node ends or is requeued."""
    POWER_DOWN = "POWER_DOWN"
    """In Slurm, for a person; what runs on the node runs on to its end."""
    DRAIN = "DRAIN"
    """In Slurm. While the node is POWERING_UP its jobs are requeued."""
    DOWN = "DOWN"
    """In Slurm. Its jobs are requeued."""


class Row(StrEnum):
    """The row of the table of evidence that an act rests on."""

    HOOK = "by hook"
    BEFORE_CREATION = "old server before a creation"
    FAILED_CREATION = "failed creation"
    FAILED_CHANGE = "failed rebuild, resize or reboot"
    REBOOT = "by scontrol reboot"
    JOB = "by sbatch --reboot"
    OWN = "on our own account"
    DEAD = "dead or silent server"
    PERSON = "by a person"
    BUILDER = "image build"
    GONE = "gone from the cloud"
    TEARDOWN = "teardown"
    LOGIN = "deploy --replace-login"
    ORPHAN = "interrupted deploy"
    FAILING = "a node that has failed"


@dataclass
class Permit:
    """Allows one act on one subject, once.

    Raises RefusedError where it is used for something else, a second time, or too late.
    """

    act: Act
    subject: str
    """A server's id; for what Slurm is told, the node's name."""
    node: str
    row: Row
    evidence: str
    """One line for the history that says what was seen."""
    readings: tuple[int, ...] = ()
    """The numbers of the readings of Slurm, and of the cloud, that it rests on."""
    issued: float = field(default_factory=time.monotonic)
    used: bool = False

    def use(self, act: Act, subject: str) -> None:
        """Use the permit up for this act; an adapter calls this before it does anything else.

        Raises:
            RefusedError: it is for something else, was used, or is older than LIFE.
        """
        why = ""
        if (self.act, self.subject) != (act, subject):
            why = f"it is for {self.act} of {self.subject}"
        elif self.used:
            why = "it was used before"
        elif time.monotonic() - self.issued > LIFE:
            why = f"it is older than {LIFE:.0f} s"
        if why:
            raise RefusedError(f"no permit for {act} of {subject}", why=why)
        self.used = True


_STATES = (Act.FORCE, Act.DRAIN, Act.DOWN)
"""States that can end jobs when Slurm is told to set them."""


def needs_permit(state: str) -> bool:
    """Tell whether Slurm may be told to set a state only with a permit for each node."""
    return state in _STATES


def use_for_state(permits: Iterable[Permit], state: str, nodes: Iterable[str]) -> None:
    """Use up the permits that setting a state in Slurm needs; most states need none.

    Raises:
        RefusedError: a node has no valid permit.
    """
    if needs_permit(state):
        use_all(permits, Act(state), nodes)


def use_all(permits: Iterable[Permit], act: Act, subjects: Iterable[str]) -> None:
    """Use up a permit for this act on each subject; an adapter calls this before it does anything else.

    Raises:
        RefusedError: a subject has no valid permit.
    """
    given = {permit.subject: permit for permit in permits if permit.act is act}
    for subject in subjects:
        if subject not in given:
            raise RefusedError(f"no permit for {act} of {subject}")
        given[subject].use(act, subject)
