"""Every error that a person may see: what failed, where, why as the outside said it, what to do next.

The exit codes are part of the command's contract (docs/reference/exit-codes.md).
"""

from enum import StrEnum


class FailureClass(StrEnum):
    """Why something outside failed. Each class has one policy (decide/node/failure_policy.py)."""

    CAPACITY = "capacity"
    QUOTA = "quota"
    AUTH = "auth"
    CONFIG = "config"
    NODE_LOCAL = "node-local"
    UNKNOWN = "unknown"
    INTERNAL = "internal"
    """An error of the engine itself that came again and again at this operation's step."""


class PowersaveError(Exception):
    """Base of all errors that are told to a person without a traceback."""

    exit_code = 1

    def __init__(self, what: str, *, where: str = "", why: str = "", todo: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.why = why
        self.todo = todo

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}" if self.where else self.what
        if self.why:
            text += f": {self.why}"
        return f"{text}\n  {self.todo}" if self.todo else text

    @property
    def line(self) -> str:
        """The same in one line: for the log, and where it becomes part of something else."""
        return "; ".join(filter(None, (line.strip() for line in str(self).split("\n"))))


class ConfigError(PowersaveError):
    """The cluster file or an argument is wrong; nothing was changed."""

    exit_code = 2


class HostlistError(ConfigError):
    """A hostlist expression is malformed, too large or names nodes that are not configured."""


class MachineError(PowersaveError):
    """The control host is in trouble: a full or broken disk, no memory, no more processes or open files."""


class OwnFileError(MachineError):
    """A file of the control host without which nothing works is missing: somebody has to put it back."""


class JournalError(MachineError):
    """The journal could not be read or written: a full disk, a lock that nobody gives back."""


class LockedError(PowersaveError):
    """Another engine or command holds the cluster."""

    exit_code = 3


class UnreachableError(PowersaveError):
    """The slurmctld host or a node could not be reached in time."""

    exit_code = 4


class SlurmError(UnreachableError):
    """Slurm did not answer, or refused a command."""


class TerraformError(PowersaveError):
    """Terraform failed, or a state could not be read."""

    exit_code = 5


class PlaybookError(PowersaveError):
    """Ansible failed."""

    exit_code = 6


class RefusedError(PowersaveError):
    """Refused: a plan holds a change that nobody asked for, something would be lost, or a node is in use."""

    exit_code = 7


class CloudError(PowersaveError):
    """The cloud adapter failed; `failure` says how."""

    exit_code = 8
    status: int = 0
    """The HTTP status of the answer; 0: there was none."""
    retry_after: float = 0.0
    """Seconds for which the cloud wants to be left alone (Retry-After)."""

    def __init__(
        self,
        what: str,
        *,
        failure: FailureClass = FailureClass.UNKNOWN,
        where: str = "",
        why: str = "",
        todo: str = "",
    ) -> None:
        super().__init__(what, where=where, why=why, todo=todo)
        self.failure = failure


class LeftAloneError(PowersaveError):
    """Part of it was not done: a node that somebody else has drained or set down was left alone."""

    exit_code = 10


class UnfinishedError(PowersaveError):
    """Not finished in time; what was done stays, and the same command continues from there."""

    exit_code = 11


class LeftoverError(PowersaveError):
    """Something of the cluster is left in the cloud; the error names it."""

    exit_code = 12


class MissingToolError(PowersaveError):
    """A program that is needed is absent, too old, or may not be run by this user."""

    exit_code = 9
