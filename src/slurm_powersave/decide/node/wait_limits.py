"""What an operation waits for in each phase, for how long at most, and what happens then. Pure.

The one table of all waits: `status` says them, docs/reference/phases.md is made of it, and the engine
(engine/node/limits.py) holds every operation against those limits that are not its phase's own.
"""

from dataclasses import dataclass
from enum import Enum

from slurm_powersave.config.sections import PowerSave
from slurm_powersave.model import phases
from slurm_powersave.model.modes import Kind, Mode
from slurm_powersave.model.nodes import Operation

SAID_AFTER = 60.0
"""Seconds in a phase after which an operation says what keeps it, with the outside's own words."""
_ASKED = 600.0
"""Seconds in which Slurm must take up what a person has asked for."""
_TAKEN_BACK = 300.0
"""Seconds in which Slurm must take a node back."""
_UNKNOWN = 60.0
"""Seconds in which Slurm must know the node again: it is gone from slurm.conf."""


@dataclass(frozen=True)
class Wait:
    """A row of the table."""

    meaning: str
    what: str
    """What it waits for; `status` says it after "waits for"."""
    limit: str
    then: str


_READ = "Slurm and the cloud to be read"
_HALF = "half of `power_save.resume_timeout` from a resume's beginning"
_BACK = "the resume fails, so that Slurm's job goes to other nodes"
_DELETION = "no limit for a deletion, because Slurm wants the node off"
_SAID = "after 3 minutes it is told and the node rests; see [failing nodes](../how-to/failing-nodes.md)"
_PLAN = "5 minutes"
_APPLY = "`terraform.apply_timeout`"
_INTERRUPTED = "Terraform is interrupted, a minute later killed; state and cloud are read"

TABLE = {
    phases.WAITING: Wait(
        "another operation of the same node comes first",
        "an earlier operation of the node",
        f"{_HALF}; 3 minutes behind a deletion that does not end; others: that operation's own limits",
        f"{_BACK}; a person's is refused",
    ),
    phases.ASKING: Wait(
        "a person's request: Slurm is asked to power the node up or down, or to reboot it",
        "Slurm to be read, and to take the request",
        "10 minutes",
        "refused, with what Slurm said",
    ),
    phases.DRAINING: Wait(
        "Slurm was asked for a reboot; it waits for the node's jobs",
        "the node's jobs",
        "the jobs' own time limits; a minute if Slurm does not know the node",
        "Slurm sets the node down, and the reboot begins; `scontrol cancel_reboot` ends the wait. Refused if"
        " Slurm does not know the node",
    ),
    phases.CHECKING: Wait(
        "Slurm and the cloud are read: is it still wanted, and may it be done?",
        _READ,
        f"{_HALF}, as long in this phase for a reboot; {_DELETION}",
        f"{_BACK}; a reboot is refused and the node given back as it was, a restart is refused;"
        " a deletion says what keeps it",
    ),
    phases.QUEUED: Wait(
        "waits for the next batch, or for room in the quota while servers of ours are being deleted",
        "a shard, a flavor that the cloud has, and room in the quota",
        f"60 s for the quota; {_HALF}, as long in this phase for a replacement",
        _BACK,
    ),
    phases.PLANNING: Wait(
        "`terraform plan`, and the plan guard", "Terraform's plan", _PLAN, "planned once more, then failed"
    ),
    phases.APPLYING: Wait("`terraform apply`", "Terraform to make the server", _APPLY, _INTERRUPTED),
    phases.BOOTING: Wait(
        "the server exists; its sshd does not answer yet, or no play could begin for it yet",
        "the server's sshd and host key, then one of the plays",
        "`failure.boot_timeout` for the sshd, then `failure.configure_timeout` for the play",
        "failed; its server is deleted",
    ),
    phases.CONFIGURING: Wait(
        "the node's play", "the play", "`failure.configure_timeout`", "failed; its server is deleted"
    ),
    phases.REGISTERING: Wait(
        "slurmd runs; Slurm does not count the node as up yet",
        "slurmd's registration with Slurm",
        "`failure.registration_timeout`, by readings of Slurm; a minute if it does not know the node",
        "failed; its server is deleted",
    ),
    phases.UPDATE_QUEUED: Wait(
        "waits for the next batch of changes in place",
        "the node's shard",
        "60 s for the shard, then by server id; half of `power_save.resume_timeout` if unreadable",
        "refused; the node is given back as it was",
    ),
    phases.UPDATE_PLANNING: Wait(
        "`terraform plan` of the new image or flavor, and the plan guard",
        "Terraform's plan",
        _PLAN,
        "planned once more, then refused",
    ),
    phases.UPDATING: Wait("`terraform apply` of it", "Terraform to change the server", _APPLY, _INTERRUPTED),
    phases.RESTORING: Wait(
        "the change failed: what the server is now is read, and if it is as it was, it boots again",
        "the cloud to be done with the server",
        "`power_save.resume_timeout`",
        "failed; its server is deleted",
    ),
    phases.REFUSING: Wait(
        "nothing was touched; Slurm is told why, and gets the node back as it was",
        "Slurm to take the node back",
        "5 minutes in which Slurm can be read",
        "refused, and it is said that Slurm did not take the node back",
    ),
    phases.FAILING: Wait(
        "it failed; Slurm is being told",
        "Slurm to power the node down and drain it",
        "30 s for a node that Slurm does not know, 8 tries of what it refuses; none if Slurm is unreadable",
        "the node's server is deleted",
    ),
    phases.DELETE_QUEUED: Wait(
        "waits for the next batch of deletes; in a resume: what is left of a flavor without room goes before"
        " the next is tried",
        "the node's shard, or the cloud to accept the deletion",
        "60 s for the shard, then by server id, again and again",
        _SAID,
    ),
    phases.DELETE_PLANNING: Wait(
        "`terraform plan` of the delete, and the plan guard",
        "Terraform's plan",
        _PLAN,
        "deleted by server id",
    ),
    phases.DELETING: Wait(
        "`terraform apply` of the delete",
        "Terraform to delete the server",
        _APPLY,
        f"deleted by server id; {_SAID}",
    ),
    phases.VERIFYING: Wait(
        "the delete was accepted; the server's id must be gone",
        "the server to be gone",
        "none: the deletion is asked for again and again",
        _SAID,
    ),
    phases.RELEASING: Wait(
        "the server is gone; Slurm gets the node back",
        "Slurm to take the node back",
        "5 minutes in which Slurm can be read",
        "done; Slurm gives the node back by itself at `power_save.suspend_timeout`",
    ),
    phases.RECOVERING: Wait(
        "the engine ended while Terraform worked; state and cloud are read before anything is done",
        "the Terraform that still runs there, its state and the cloud",
        f"{_HALF}, all of it for a reboot; {_DELETION}",
        f"{_BACK}; a reboot fails, and its server is deleted; a deletion says what keeps it",
    ),
}


OUTCOMES = {
    phases.DONE: "as asked",
    phases.FAILED: "it could not be done; class and text say why",
    phases.REFUSED: "it may not be done: nothing was changed",
    phases.CANCELLED: "a later request made it pointless before it began",
    phases.JOINED: "an operation of an earlier request does it already; `--wait` follows that one",
}

COMMANDS = (
    ("`resume --wait`, `suspend --wait`", "the operations", "`--timeout`, an hour", "exit code 11"),
    (
        "`reboot --wait`, `reimage --wait`",
        "the nodes' jobs, then the operations",
        "`--timeout`, a day",
        "exit code 11",
    ),
    ("`resize`", "the nodes' jobs, and servers to come and go", "`--timeout`, a day", "exit code 11"),
    (
        "`reimage --outdated`",
        "the nodes' jobs, some nodes at a time",
        "the jobs' own time limits",
        "the same command goes on when it is run again",
    ),
    ("`follow --until-idle`", "all operations", "the operations' own limits", "it ends"),
)
"""Which command waits for what the engine does, for how long, and what happens then."""


class Then(Enum):
    """What comes after a limit that the engine holds for a phase."""

    FAIL = "fail"
    """Slurm is told, and what is there of a server is deleted."""
    REFUSING = "refusing"
    """Nothing was touched: Slurm gets the node back as it was."""
    REFUSED = "refused"
    DONE = "done"


class Counts(Enum):
    """Which seconds count."""

    PHASE = "phase"
    """Since the phase began."""
    WHOLE = "whole"
    """Since the operation began."""
    HEARD = "heard"
    """Those of the phase since when Slurm could be read without a break."""
    UNKNOWN = "unknown"
    """Those in which Slurm was read and did not know the node."""


@dataclass(frozen=True)
class Limit:
    """A limit and what comes then."""

    seconds: float
    then: Then
    counts: Counts = Counts.PHASE


_BEFORE_CREATION = frozenset(
    {phases.WAITING, phases.CHECKING, phases.QUEUED, phases.RECOVERING}
    | {phases.DELETE_QUEUED, phases.VERIFYING}
)
_BEFORE_CHANGE = frozenset({phases.CHECKING, phases.UPDATE_QUEUED})


def limit(op: Operation, times: PowerSave) -> Limit | None:
    """Return the limit of an operation's wait; None where its phase has its own, or where it must not end."""
    half = times.resume_timeout / 2
    if op.phase == phases.ASKING:
        return Limit(_ASKED, Then.REFUSED)
    if op.phase == phases.REFUSING:
        return Limit(_TAKEN_BACK, Then.REFUSED, Counts.HEARD)
    if op.phase == phases.RELEASING:
        return Limit(_TAKEN_BACK, Then.DONE, Counts.HEARD)
    if op.failure is not None:
        return None
    if op.mode is Mode.REBOOT and op.phase == phases.DRAINING:
        return Limit(_UNKNOWN, Then.REFUSED, Counts.UNKNOWN)
    if op.mode.brings_up and op.phase == phases.REGISTERING:
        return Limit(_UNKNOWN, Then.FAIL, Counts.UNKNOWN)
    if op.phase == phases.RESTORING or (op.phase == phases.RECOVERING and op.mode is Mode.REBOOT):
        return Limit(times.resume_timeout, Then.FAIL)
    if op.mode is Mode.RESUME and op.phase in _BEFORE_CREATION:
        return Limit(half, Then.FAIL, Counts.WHOLE)
    if op.mode is Mode.REBOOT and op.phase == phases.QUEUED:
        return Limit(half, Then.FAIL)
    if op.mode is Mode.REBOOT and op.phase in _BEFORE_CHANGE:
        # A restart is the engine's own wish: Slurm was not asked for it, and has nothing to take back.
        return Limit(half, Then.REFUSED if op.kind is Kind.RESTART else Then.REFUSING)
    return None
