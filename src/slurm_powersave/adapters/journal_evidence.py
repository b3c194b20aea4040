"""What the journal holds for the guard: what was seen, what was destroyed and why, brake and pauses."""

import json
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import astuple, fields

from slurm_powersave.adapters.journal_db import Database
from slurm_powersave.model.printable import printable
from slurm_powersave.model.records import Done, Pause
from slurm_powersave.model.seen import Seen

_BRAKE, _CONFIRMED = "brake", "confirmed"
_SEEN = ", ".join(field.name for field in fields(Seen))


class Evidence(Database):
    """The tables `seen`, `acts`, `marks` and `pauses`."""

    def seen(self) -> dict[str, Seen]:
        """Return what was last seen of each node."""
        rows = self._rows(f"SELECT node, {_SEEN} FROM seen")
        return {row["node"]: Seen(*tuple(row)[1:]) for row in rows}

    def save_seen(self, changed: Mapping[str, Seen]) -> None:
        """Write what has changed."""
        with self._write() as db:
            places = ",".join("?" * (1 + len(fields(Seen))))
            db.executemany(
                f"INSERT OR REPLACE INTO seen (node, {_SEEN}) VALUES ({places})",
                [(node, *astuple(seen)) for node, seen in changed.items()],
            )

    def add_act(self, done: Done) -> None:
        """Record a destroying act before it is begun."""
        values = (done.at, done.operation, done.node, done.act, done.subject, done.row)
        with self._write() as db:
            db.execute(
                "INSERT INTO acts (at, operation, node, act, subject, row, evidence) VALUES (?,?,?,?,?,?,?)",
                (*values, printable(done.evidence)),
            )

    def acts(self, operation: str) -> list[Done]:
        """Return what was destroyed for an operation, oldest first."""
        rows = self._rows("SELECT * FROM acts WHERE operation = ? ORDER BY number", operation)
        return [_done(row) for row in rows]

    def acts_of(self, operations: Iterable[str]) -> dict[str, list[Done]]:
        """Return the same of many operations, by operation; one without acts is left out."""
        found: dict[str, list[Done]] = {}
        for row in self._rows(
            "SELECT * FROM acts WHERE operation IN (SELECT value FROM json_each(?)) ORDER BY number",
            json.dumps(list(operations)),
        ):
            found.setdefault(row["operation"], []).append(_done(row))
        return found

    def newest_acts(self, node: str | None, limit: int) -> list[Done]:
        """Return the last destroying acts, of one node or of all, newest first."""
        where, values = ("", ()) if node is None else ("WHERE node = ?", (node,))
        rows = self._rows(f"SELECT * FROM acts {where} ORDER BY number DESC LIMIT ?", *values, limit)
        return [_done(row) for row in rows]

    def acts_since(self, at: float, of_rows: Iterable[str]) -> list[Done]:
        """Return the acts of these rows of the table since a moment, in seconds since the epoch."""
        wanted = set(of_rows)
        rows = self._rows("SELECT * FROM acts WHERE at >= ? ORDER BY number", at)
        return [done for done in map(_done, rows) if done.row in wanted]

    def brake(self) -> str:
        """Return why nothing is destroyed on our own account; empty while it may be."""
        rows = self._rows("SELECT value FROM marks WHERE name = ?", _BRAKE)
        return str(rows[0]["value"]) if rows else ""

    def set_brake(self, why: str) -> None:
        """Set the brake, or with an empty text release it."""
        with self._write() as db:
            db.execute("DELETE FROM marks WHERE name = ?", (_BRAKE,))
            if why:
                db.execute("INSERT INTO marks VALUES (?,?)", (_BRAKE, printable(why)))

    def confirmed(self) -> float:
        """When a person last let it go on, in seconds since the epoch; 0.0: never."""
        rows = self._rows("SELECT value FROM marks WHERE name = ?", _CONFIRMED)
        return float(rows[0]["value"]) if rows else 0.0

    def confirm(self, at: float) -> None:
        """Release the brake on a person's word; what was destroyed before counts no more."""
        with self._write() as db:
            db.execute("DELETE FROM marks WHERE name = ?", (_BRAKE,))
            db.execute("INSERT OR REPLACE INTO marks VALUES (?,?)", (_CONFIRMED, repr(at)))

    def pauses(self) -> dict[str, Pause]:
        """Return what is paused, by pool; "" is the whole cluster."""
        return {row["pool"]: Pause(*row) for row in self._rows("SELECT pool, why, by, at FROM pauses")}

    def save_pause(self, pause: Pause) -> None:
        """Pause a pool, or with "" the cluster."""
        with self._write() as db:
            values = (pause.pool, printable(pause.why), printable(pause.by), pause.at)
            db.execute("INSERT OR REPLACE INTO pauses VALUES (?,?,?,?)", values)

    def drop_pauses(self, pools: Iterable[str]) -> None:
        """End pauses."""
        with self._write() as db:
            db.executemany("DELETE FROM pauses WHERE pool = ?", [(pool,) for pool in pools])


def _done(row: sqlite3.Row) -> Done:
    names = [field.name for field in fields(Done)]
    return Done(*(row[name] for name in names))
