"""The journal: requests, operations, what each node is to be, and what is under way.

One table per kind of thing; how a row becomes a value stands in tables.py.
"""

import secrets
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

from slurm_powersave.adapters.journal import tables
from slurm_powersave.adapters.journal.commands import Commands
from slurm_powersave.adapters.journal.database import write
from slurm_powersave.adapters.journal.evidence import Evidence
from slurm_powersave.adapters.journal.history import History
from slurm_powersave.adapters.journal.requests import WITH_OPERATIONS, WITHOUT, Requests
from slurm_powersave.model.hardware import FirstNode
from slurm_powersave.model.modes import Mode
from slurm_powersave.model.nodes import AdminState, NodeBackoff, NodeRecord, Operation, ShardRun
from slurm_powersave.model.printable import printable
from slurm_powersave.model.records import Drain, FlavorBackoff

_TRIES = 20
"""Short ids that are tried for an operation."""
_MOVING = (
    "phase", "since", "outcome", "failure", "text", "shard", "server_id", "jobs", "action", "target", "waits"
)  # fmt: skip
"""What of an operation changes."""


class SqliteJournal(Requests, Evidence, Commands, History):
    """Implements ports.journal.Journal."""

    def __init__(self, path: Path | str) -> None:
        """Open or make the journal.

        Raises:
            ConfigError: the file is not a journal, or one of a later version.
        """
        super().__init__(path)
        self._given: set[str] = set()
        """Ids of operations that were handed out and may not be recorded yet."""

    # Planning

    def plan_request(
        self,
        request_id: str,
        operations: Iterable[Operation],
        refusals: Iterable[tuple[str, str]],
        now: float,
    ) -> None:
        """Record what became of a request, in one transaction: its operations, and (part, why) refused."""
        operations = list(operations)
        with self._write() as db:
            for operation in operations:
                self._insert(db, operation)
            db.executemany(
                "INSERT INTO refusals (request, part, why, at) VALUES (?,?,?,?)",
                [(request_id, printable(part), printable(why), now) for part, why in refusals],
            )
            planned = WITH_OPERATIONS if operations else WITHOUT
            db.execute("UPDATE requests SET planned = ? WHERE id = ?", (planned, request_id))
        self._given -= {operation.id for operation in operations}

    def refusals(self, request_id: str) -> list[tuple[str, str]]:
        """Return (part, why) for what of a request's hostlist was refused."""
        rows = self._rows("SELECT part, why FROM refusals WHERE request = ? ORDER BY rowid", request_id)
        return [(row["part"], row["why"]) for row in rows]

    def recent_refusals(self, limit: int = 50) -> list[tuple[str, str]]:
        """Return the newest (part, why) of all requests, newest first."""
        rows = self._rows("SELECT part, why FROM refusals ORDER BY rowid DESC LIMIT ?", limit)
        return [(row["part"], row["why"]) for row in rows]

    # Operations

    def new_operation(self, request: str, node: str, mode: Mode, phase: str, now: float) -> Operation:
        """Make an operation value with an id that is free; it is recorded by `plan_request`."""
        tries = 0
        while True:
            # Short ones are for people to read; when many of them are taken, long ones are free.
            operation_id = secrets.token_hex(3 if (tries := tries + 1) < _TRIES else 8)
            taken = self._rows("SELECT 1 FROM operations WHERE id = ?", operation_id)
            if operation_id not in self._given and not taken:
                self._given.add(operation_id)
                return Operation(operation_id, request, node, mode, phase, now, now)

    def _insert(self, db: sqlite3.Connection, operation: Operation) -> None:
        write(db, "operations", [tables.operation_row(operation)], "INSERT")
        db.execute(
            "INSERT INTO phases (operation, phase, at) VALUES (?,?,?)",
            (operation.id, operation.outcome or operation.phase, operation.since),
        )

    def save_operation(self, operation: Operation) -> None:
        """Write an operation's present phase, shard, server, failure and outcome.

        An outcome that is recorded is never changed: a second one is a fault of the caller.
        """
        with self._write() as db:
            old = db.execute("SELECT phase, outcome FROM operations WHERE id = ?", (operation.id,)).fetchone()
            if old["outcome"]:
                raise AssertionError(f"operation {operation.id} has ended: {old['outcome']}")
            changes = ", ".join(f"{name} = :{name}" for name in _MOVING)
            db.execute(f"UPDATE operations SET {changes} WHERE id = :id", tables.operation_row(operation))
            if operation.outcome or old["phase"] != operation.phase:
                db.execute(
                    "INSERT INTO phases (operation, phase, at) VALUES (?,?,?)",
                    (operation.id, operation.outcome or operation.phase, operation.since),
                )

    def open_operations(self) -> list[Operation]:
        """Return the operations without an outcome, in the order of their requests."""
        return [
            tables.operation(row)
            for row in self._rows("SELECT * FROM operations WHERE outcome = '' ORDER BY number")
        ]

    # Nodes

    def node_records(self) -> dict[str, NodeRecord]:
        """Return what is recorded of every node that ever had an operation or an address."""
        return {row["name"]: tables.node_record(row) for row in self._rows("SELECT * FROM nodes")}

    def node_record(self, name: str) -> NodeRecord | None:
        """Read what is recorded of one node."""
        rows = self._rows("SELECT * FROM nodes WHERE name = ?", name)
        return tables.node_record(rows[0]) if rows else None

    def forget_nodes(self, names: Sequence[str]) -> None:
        """Forget nodes that have left the cluster: record, rest, what was set aside, drain."""
        with self._write() as db:
            for table in ("nodes", "holds", "asides", "drains", "seen", "notices"):
                column = "name" if table == "nodes" else "node"
                db.executemany(f"DELETE FROM {table} WHERE {column} = ?", [(name,) for name in names])

    def save_node(self, record: NodeRecord) -> None:
        """Write one node's record."""
        self.save_nodes([record])

    def save_nodes(self, records: Iterable[NodeRecord]) -> None:
        """Write nodes' records in one transaction."""
        with self._write() as db:
            write(db, "nodes", map(tables.node_row, records))

    def first_nodes(self) -> list[FirstNode]:
        """Return what the first node of each pool with each flavor has said of its hardware."""
        rows = self._rows("SELECT * FROM first_nodes ORDER BY pool, flavor")
        return [found for row in rows if (found := tables.first_node(row))]

    def save_first_node(self, first: FirstNode) -> None:
        """Record it, in the place of what was there for its pool and flavor."""
        with self._write() as db:
            write(db, "first_nodes", [asdict(first) | {"hardware": str(first.hardware)}])

    # Backoffs

    def node_backoffs(self) -> dict[str, NodeBackoff]:
        """Return the nodes that are in backoff after a failure."""
        return {row["node"]: tables.backoff(row) for row in self._rows("SELECT * FROM holds")}

    def save_node_backoff(self, backoff: NodeBackoff) -> None:
        """Record a node's backoff, or that its DRAIN is set in Slurm."""
        with self._write() as db:
            write(db, "holds", [tables.hold_row(backoff)])

    def drop_node_backoff(self, node: str) -> None:
        """Forget a node's backoff."""
        with self._write() as db:
            db.execute("DELETE FROM holds WHERE node = ?", (node,))

    def flavor_backoffs(self) -> list[FlavorBackoff]:
        """Return the flavors that clouds had no room for."""
        return [tables.value(FlavorBackoff, row) for row in self._rows("SELECT * FROM flavor_rests")]

    def save_flavor_backoff(self, backoff: FlavorBackoff) -> None:
        """Record a flavor's backoff."""
        with self._write() as db:
            write(db, "flavor_rests", [asdict(backoff) | {"text": printable(backoff.text)}])

    def drop_flavor_backoff(self, cloud: str, zone: str, flavor: str) -> None:
        """Forget a flavor's backoff."""
        with self._write() as db:
            db.execute(
                "DELETE FROM flavor_rests WHERE (cloud, zone, flavor) = (?,?,?)", (cloud, zone, flavor)
            )

    # What administrators have set

    def admin_states(self) -> dict[str, AdminState]:
        """Return the nodes that somebody else had drained or set down when they were last read."""
        return {row["node"]: tables.value(AdminState, row) for row in self._rows("SELECT * FROM asides")}

    def save_admin_states(self, found: Iterable[AdminState], gone: Iterable[str]) -> None:
        """Record what was seen, and forget what is no longer so."""
        with self._write() as db:
            db.executemany("DELETE FROM asides WHERE node = ?", [(node,) for node in gone])
            write(db, "asides", map(asdict, found))

    # What we have drained

    def drains(self) -> dict[str, Drain]:
        """Return the nodes that we have drained, or were about to drain."""
        return {row["node"]: tables.value(Drain, row) for row in self._rows("SELECT * FROM drains")}

    def save_drains(self, drains: Iterable[Drain]) -> None:
        """Record who drains nodes, before Slurm is told."""
        with self._write() as db:
            write(db, "drains", map(asdict, drains))

    def drop_drains(self, nodes: Iterable[str]) -> None:
        """Forget drains that are over, or no longer ours."""
        with self._write() as db:
            db.executemany("DELETE FROM drains WHERE node = ?", [(node,) for node in nodes])

    # Detached processes and shards

    def save_run(self, run: ShardRun) -> None:
        """Record a detached process before anything depends on it."""
        with self._write() as db:
            write(db, "runs", [tables.run_row(run)])

    def drop_run(self, run_id: str) -> None:
        """Forget a process that has ended."""
        with self._write() as db:
            db.execute("DELETE FROM runs WHERE id = ?", (run_id,))

    def runs(self) -> list[ShardRun]:
        """Return the processes that were running when this was last written."""
        return [tables.run(row) for row in self._rows("SELECT * FROM runs ORDER BY rowid")]

    def dirty_shards(self) -> frozenset[str]:
        """Return the shards whose next plan must refresh, because servers went without Terraform."""
        return frozenset(row["name"] for row in self._rows("SELECT name FROM dirty_shards"))

    def set_dirty(self, shard: str, dirty: bool) -> None:
        """Mark a shard as one that must, or need no longer, be refreshed."""
        sql = (
            "INSERT OR IGNORE INTO dirty_shards VALUES (?)"
            if dirty
            else "DELETE FROM dirty_shards WHERE name = ?"
        )
        with self._write() as db:
            db.execute(sql, (shard,))
