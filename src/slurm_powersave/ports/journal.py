"""The journal: what was asked for, what became of it, what each node is to be, and what is under way.

One protocol for each role, so that who receives a journal says what it needs of it; `Journal` joins them.
Each method that writes is one transaction: after a crash it is there whole, or not at all. While the engine
runs it is the only one that writes nodes' records; commands record requests, and what they do themselves.

Methods raise JournalError when the file can't be read or written now, as on a full disk.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from slurm_powersave.model.hardware import FirstNode
from slurm_powersave.model.modes import Mode
from slurm_powersave.model.nodes import AdminState, NodeBackoff, NodeRecord, Operation, Request, ShardRun
from slurm_powersave.model.records import Command, Done, Drain, FlavorBackoff, Notice, Pause
from slurm_powersave.model.seen import Seen


class Inbox(Protocol):
    """Requests of hooks and operators, and what became of each."""

    def add_request(self, request: Request, received: float) -> bool:
        """Record a request; return False for one whose id is there already.

        Args:
            request: what was asked for.
            received: now, in seconds since the epoch.
        """

    def unplanned_requests(self, limit: int = -1) -> list[Request]:
        """Return the requests that have no operations yet, oldest first, those of the hooks last."""

    def count_unplanned(self) -> int:
        """Count the requests that have no operations yet."""

    def request(self, request_id: str) -> Request | None:
        """Read one request."""

    def plan_request(
        self,
        request_id: str,
        operations: Iterable[Operation],
        refusals: Iterable[tuple[str, str]],
        now: float,
    ) -> None:
        """Record what became of a request, in one transaction: its operations, and (part, why) refused."""

    def refusals(self, request_id: str) -> list[tuple[str, str]]:
        """Return (part, why) for what of a request's hostlist was refused."""

    def purge(self, before: float) -> None:
        """Drop what was received before a moment and is only information by now.

        A request that has operations stays, with its id: a file that comes again from a spool must count
        once.
        """


class Operations(Protocol):
    """One node's way through one request, while it is under way."""

    def new_operation(self, request: str, node: str, mode: Mode, phase: str, now: float) -> Operation:
        """Make an operation value with an id that is free; it is recorded by `Inbox.plan_request`."""

    def save_operation(self, operation: Operation) -> None:
        """Write an operation's present phase, shard, server, failure and outcome.

        Raises:
            AssertionError: it has an outcome already, which is never changed.
        """

    def open_operations(self) -> list[Operation]:
        """Return the operations without an outcome, in the order of their requests."""


class History(Protocol):
    """Operations with their phases, also those that have ended."""

    def operation(self, operation_id: str) -> Operation | None:
        """Read one operation with its phases."""

    def operations_of(self, request_id: str) -> list[Operation]:
        """Return a request's operations with their phases."""

    def history(self, node: str | None = None, limit: int = 50) -> list[Operation]:
        """Return the newest operations with their phases, newest first."""

    def prune(self, before: float, most: int) -> int:
        """Drop the oldest of what ended before a moment; return how many operations, acts, commands.

        What is open stays, and so does a node's newest operation, with its request and its acts.

        Args:
            before: seconds since the epoch.
            most: operations, acts, and commands, that one call drops.
        """


class NodeRecords(Protocol):
    """What each node is to be and has, and what keeps nodes and flavors from being used."""

    def node_records(self) -> dict[str, NodeRecord]:
        """Return what is recorded of every node that ever had an operation or an address."""

    def node_record(self, name: str) -> NodeRecord | None:
        """Read what is recorded of one node."""

    def save_node(self, record: NodeRecord) -> None:
        """Write one node's record."""

    def save_nodes(self, records: Iterable[NodeRecord]) -> None:
        """Write nodes' records in one transaction."""

    def forget_nodes(self, names: Sequence[str]) -> None:
        """Forget nodes that have left the cluster, with all that is recorded for them here."""

    def first_nodes(self) -> list[FirstNode]:
        """Return what the first node of each pool with each flavor has said of its hardware."""

    def save_first_node(self, first: FirstNode) -> None:
        """Record it, in the place of what was there for its pool and flavor."""

    def node_backoffs(self) -> dict[str, NodeBackoff]:
        """Return the nodes that rest after a failure."""

    def save_node_backoff(self, backoff: NodeBackoff) -> None:
        """Record that a node rests, or that Slurm has been told so."""

    def drop_node_backoff(self, node: str) -> None:
        """Forget a node's rest."""

    def flavor_backoffs(self) -> list[FlavorBackoff]:
        """Return the flavors that clouds had no room for."""

    def save_flavor_backoff(self, rest: FlavorBackoff) -> None:
        """Record that a flavor rests."""

    def drop_flavor_backoff(self, cloud: str, zone: str, flavor: str) -> None:
        """Forget a flavor's rest."""

    def admin_states(self) -> dict[str, AdminState]:
        """Return the nodes that somebody else had drained or set down when they were last read."""

    def save_admin_states(self, found: Iterable[AdminState], gone: Iterable[str]) -> None:
        """Record what was seen, and forget what is no longer so."""

    def drains(self) -> dict[str, Drain]:
        """Return the nodes that we have drained, or were about to drain."""

    def save_drains(self, drains: Iterable[Drain]) -> None:
        """Record who drains nodes, before Slurm is told."""

    def drop_drains(self, nodes: Iterable[str]) -> None:
        """Forget drains that are over, or no longer ours."""


class Sights(Protocol):
    """What was last seen of each node."""

    def seen(self) -> dict[str, Seen]:
        """Return what was last seen of each node."""

    def save_seen(self, changed: Mapping[str, Seen]) -> None:
        """Write what has changed."""


class ActRecords(Protocol):
    """Destroying acts, recorded before they are begun."""

    def add_act(self, done: Done) -> None:
        """Record a destroying act before it is begun."""

    def add_acts(self, acts: Iterable[Done]) -> None:
        """Record destroying acts before they are begun, in one transaction."""

    def acts(self, operation: str) -> list[Done]:
        """Return what was destroyed for an operation, oldest first."""

    def acts_on(self, subject: str) -> list[Done]:
        """Return what was done to a server, oldest first."""

    def acts_of(self, operations: Iterable[str]) -> dict[str, list[Done]]:
        """Return the same of many operations, by operation; one without acts is left out."""

    def newest_acts(self, node: str | None, limit: int) -> list[Done]:
        """Return the last destroying acts, of one node or of all, newest first."""

    def acts_since(self, at: float, of_rows: Iterable[str]) -> list[Done]:
        """Return the acts of these rows of the table since a moment, in seconds since the epoch."""


class Clocks(Protocol):
    """How the clocks stood, and the dates that move when the wall clock is set."""

    def anchor(self) -> tuple[str, float, float] | None:
        """Return a boot of the host, and its wall and its monotonic clock at one moment; None: not known."""

    def save_anchor(self, anchor: tuple[str, float, float]) -> None:
        """Record both clocks as they are at one moment."""

    def move_backoffs(self, seconds: float, anchor: tuple[str, float, float]) -> None:
        """The wall clock was set by so much: move the ends of the rests with it, those that have one."""


class Marks(Sights, ActRecords, Clocks, Protocol):
    """Evidence for the guard, and what people are told or have said: brake, pauses, warnings."""

    def brake(self) -> str:
        """Return why the brake is on; empty while it is off."""

    def set_brake(self, why: str) -> None:
        """Set the brake, or with an empty text release it."""

    def confirmed(self) -> float:
        """Return when a person last released the brake, in seconds since the epoch; 0.0: never."""

    def confirm(self, at: float) -> None:
        """Release the brake because a person says so; what was destroyed before is no longer counted."""

    def pauses(self) -> dict[str, Pause]:
        """Return what is paused, by pool; "" is the whole cluster."""

    def save_pause(self, pause: Pause) -> None:
        """Pause a pool, or with "" the cluster."""

    def drop_pauses(self, pools: Iterable[str]) -> None:
        """End pauses."""

    def notices(self) -> dict[str, Notice]:
        """Return what `status` warns of, by node."""

    def save_notices(self, found: Iterable[Notice], gone: Iterable[str]) -> None:
        """Write warnings, and forget those of nodes with which nothing is the matter any more."""


class Runs(Protocol):
    """Detached processes, and the shards that they leave to be refreshed."""

    def save_run(self, run: ShardRun) -> None:
        """Record a detached process before anything depends on it."""

    def drop_run(self, run_id: str) -> None:
        """Forget a process that has ended."""

    def runs(self) -> list[ShardRun]:
        """Return the processes that were running when this was last written."""

    def dirty_shards(self) -> frozenset[str]:
        """Return the shards whose next plan must refresh, because servers went without Terraform."""

    def set_dirty(self, shard: str, dirty: bool) -> None:
        """Mark a shard as one that must, or need no longer, be refreshed."""


class Commands(Protocol):
    """What people have typed that changes something, and the cluster file as it was last used."""

    def save_command(self, command: Command, used: str) -> None:
        """Record a command and the cluster file that it uses; of one that is recorded, how it has ended."""

    def commands(self, limit: int) -> list[Command]:
        """Return the newest, newest first."""

    def used_file(self) -> str | None:
        """Return the cluster file as it was last used; None if that is not known."""


class Snapshots(Protocol):
    """A journal that can be backed up while others write to it."""

    def snapshot_to(self, path: Path) -> int:
        """Write the journal as it is at one moment to a new file that only its owner can read.

        Returns:
            The version of the journal in the file.

        Raises:
            JournalError: it can't be read, or the copy is not sound.
            OSError: the new file can't be made, or is there already.
        """


class Journal(Inbox, Operations, History, NodeRecords, Marks, Runs, Commands, Snapshots, Protocol):
    """All roles: what the engine and most commands receive."""

    def close(self) -> None:
        """Give up the connection."""
