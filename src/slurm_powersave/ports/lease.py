"""Who may act for a cluster: one engine, and one command that changes servers or files, at any moment.

A lease ends with its holder, however that one ends. Beside it stands a status record: what the holder says of
itself, for `status` and for commands that wait for it.
"""

from typing import Protocol, TypedDict


class Status(TypedDict, total=False):
    """What the holder says of itself.

    What it does not say, or says in a form that can't be right, is left out.
    """

    pid: int
    host: str
    since: float
    """Seconds since the epoch."""
    command: str
    """What a command that changes things was called with."""
    user: str
    """Who called it."""
    intake: str
    """Words on the stream of requests."""
    file: str
    """Digest of the cluster file that the engine has in force."""
    trouble: str
    """What the engine waits for; empty: for nothing."""
    left_alone: str
    """Parts of the engine that always fail; empty: none."""
    errors: int
    """How often the engine began anew after an error."""


class StatusRecord(Protocol):
    """Where the holder says how it is; what can't be written now is written with its next word."""

    def tell(self, intake: str) -> None:
        """Say for `status` whether requests can come."""

    def tell_file(self, digest: str) -> None:
        """Say for `resize` which content of the cluster file is in force."""

    def tell_trouble(self, text: str, count: int) -> None:
        """Say for `status` what the engine waits for (empty: nothing), and how many errors it has met."""

    def tell_left_alone(self, text: str) -> None:
        """Say for `status` which parts of the engine are left alone after errors (empty: none)."""


class Held(StatusRecord, Protocol):
    """A lease that this process holds."""

    def is_current(self) -> bool:
        """Tell whether others who ask for the lease find this one: its place may have been moved away."""

    def release(self) -> None:
        """Give it back."""


class Lease(Protocol):
    """The right to act, which one process at a time holds."""

    @property
    def where(self) -> str:
        """Where a person finds it, for messages."""

    def take(self, *, command: str = "", user: str = "") -> Held:
        """Take it; `command` and `user` are told to others.

        Raises:
            LockedError: another process holds it; the text says which.
            MachineError: it can't be taken or the status record can't be written, as on a full disk.
        """

    def holder(self) -> Status | None:
        """Return what its holder says of itself; None if nobody holds it."""

    def describe(self) -> str:
        """Word who holds it; empty if nobody does."""

    def interrupt(self, seconds: float) -> bool:
        """Ask a holder on this host to end; tell whether the lease is free, now or within the time.

        A holder that does not say who it is, or is on another host, is waited for only.
        """
