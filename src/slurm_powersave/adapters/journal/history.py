"""The journal's past: operations with their phases, and for how long what has ended is kept."""

import sqlite3
from collections.abc import Iterable
from dataclasses import replace
from itertools import groupby

from slurm_powersave.adapters.journal import tables
from slurm_powersave.adapters.journal.database import Database
from slurm_powersave.adapters.journal.requests import WAITS
from slurm_powersave.model.nodes import Operation, PhaseTime

_WITH_PHASES = (
    "SELECT chosen.*, phases.phase AS entered, phases.at AS entered_at FROM ({chosen}) AS chosen"
    " LEFT JOIN phases ON phases.operation = chosen.id ORDER BY chosen.number {order}, phases.rowid"
)


class History(Database):
    """Reads the tables `operations` and `phases`, and prunes what has ended."""

    def operation(self, operation_id: str) -> Operation | None:
        """Read one operation with its phases."""
        return next(iter(self._operations("WHERE id = ?", operation_id)), None)

    def operations_of(self, request_id: str) -> list[Operation]:
        """Return a request's operations with their phases."""
        return self._operations("WHERE request = ?", request_id)

    def history(self, node: str | None = None, limit: int = 50) -> list[Operation]:
        """Return the newest operations with their phases, newest first."""
        where, values = ("WHERE node = ?", [node]) if node else ("", [])
        return self._operations(f"{where} ORDER BY number DESC LIMIT ?", *values, limit, order="DESC")

    def _operations(self, which: str, *values: object, order: str = "ASC") -> list[Operation]:
        sql = _WITH_PHASES.format(chosen=f"SELECT * FROM operations {which}", order=order)
        by_number = groupby(self._rows(sql, *values), key=lambda row: row["number"])
        return [_operation(rows) for _, rows in by_number]

    def prune(self, before: float, most: int) -> int:
        """Drop the oldest of what ended before a moment; return how many operations, acts, commands.

        What is open stays, and so does a node's newest operation, with its request and its acts.

        Args:
            before: seconds since the epoch.
            most: operations, acts, and commands, that one call drops.
        """
        with self._write() as db:
            old = db.execute(
                "SELECT id, request FROM operations AS old"
                " WHERE created < ?1 AND since < ?1 AND outcome <> '' AND EXISTS"
                " (SELECT 1 FROM operations AS later"
                " WHERE later.node = old.node AND later.number > old.number)"
                " ORDER BY created LIMIT ?2",
                (before, most),
            ).fetchall()
            ids = [(row["id"],) for row in old]
            db.executemany("DELETE FROM phases WHERE operation = ?", ids)
            db.executemany("DELETE FROM operations WHERE id = ?", ids)
            db.executemany(
                f"DELETE FROM requests WHERE id = ? AND planned <> {WAITS}"
                " AND NOT EXISTS (SELECT 1 FROM operations WHERE request = requests.id)",
                [(row["request"],) for row in old],
            )
            acts = db.execute(
                "DELETE FROM acts WHERE number IN (SELECT number FROM acts WHERE at < ?1 AND NOT EXISTS"
                " (SELECT 1 FROM operations WHERE id = acts.operation) ORDER BY at LIMIT ?2)",
                (before, most),
            ).rowcount
            commands = db.execute(
                "DELETE FROM commands WHERE number IN"
                " (SELECT number FROM commands WHERE at < ? ORDER BY at LIMIT ?)",
                (before, most),
            ).rowcount
            db.execute("DELETE FROM flavor_rests WHERE until < ?", (before,))
        return len(old) + acts + commands


def _operation(rows: Iterable[sqlite3.Row]) -> Operation:
    """Make the value of an operation's rows, one a phase."""
    first, *more = rows
    entered = [row for row in (first, *more) if row["entered"] is not None]
    phases = tuple(PhaseTime(row["entered"], row["entered_at"]) for row in entered)
    return replace(tables.operation(first), phases=phases)
