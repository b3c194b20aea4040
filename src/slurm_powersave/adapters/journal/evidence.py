"""What the journal holds for guard and people: what was seen and destroyed, brake, pauses, warnings."""

import json
import re
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields

from slurm_powersave.adapters.journal import tables
from slurm_powersave.adapters.journal.database import Database, write
from slurm_powersave.decide.node.failure_policy import FOREVER
from slurm_powersave.model.printable import printable
from slurm_powersave.model.records import Done, Notice, Pause
from slurm_powersave.model.seen import Seen

_BRAKE, _CONFIRMED, _ANCHOR = "brake", "confirmed", "clocks"
_MARK = re.compile(r"(\S{1,64}) ([0-9]{1,12}\.[0-9]{1,9}) ([0-9]{1,12}\.[0-9]{1,9})", re.ASCII)
_SEEN = ", ".join(field.name for field in fields(Seen))


class Evidence(Database):
    """The tables `seen`, `acts`, `marks`, `pauses`, `notices`; the dates that move with a clock's step."""

    def seen(self) -> dict[str, Seen]:
        """Return what was last seen of each node."""
        rows = self._rows(f"SELECT node, {_SEEN} FROM seen")
        return {row["node"]: tables.value(Seen, row) for row in rows}

    def save_seen(self, changed: Mapping[str, Seen]) -> None:
        """Write what has changed."""
        with self._write() as db:
            write(db, "seen", [{"node": node, **asdict(seen)} for node, seen in changed.items()])

    def add_act(self, done: Done) -> None:
        """Record a destroying act before it is begun."""
        self.add_acts([done])

    def add_acts(self, acts: Iterable[Done]) -> None:
        """Record destroying acts before they are begun, in one transaction."""
        with self._write() as db:
            rows = [asdict(one) | {"evidence": printable(one.evidence)} for one in acts]
            write(db, "acts", rows, "INSERT")

    def acts(self, operation: str) -> list[Done]:
        """Return what was destroyed for an operation, oldest first."""
        rows = self._rows("SELECT * FROM acts WHERE operation = ? ORDER BY number", operation)
        return [_done(row) for row in rows]

    def acts_on(self, subject: str) -> list[Done]:
        """Return what was done to a server, oldest first."""
        return [
            _done(row) for row in self._rows("SELECT * FROM acts WHERE subject = ? ORDER BY number", subject)
        ]

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
        # The + keeps SQLite from reading the whole table in the order of its numbers.
        rows = self._rows("SELECT * FROM acts WHERE at >= ? ORDER BY +number", at)
        return [done for done in map(_done, rows) if done.row in wanted]

    def brake(self) -> str:
        """Return why the brake is on; empty while it is off."""
        rows = self._rows("SELECT value FROM marks WHERE name = ?", _BRAKE)
        return str(rows[0]["value"]) if rows else ""

    def set_brake(self, why: str) -> None:
        """Set the brake, or with an empty text release it."""
        with self._write() as db:
            db.execute("DELETE FROM marks WHERE name = ?", (_BRAKE,))
            if why:
                db.execute("INSERT INTO marks (name, value) VALUES (?,?)", (_BRAKE, printable(why)))

    def confirmed(self) -> float:
        """Return when a person last released the brake, in seconds since the epoch; 0.0: never."""
        rows = self._rows("SELECT value FROM marks WHERE name = ?", _CONFIRMED)
        return float(rows[0]["value"]) if rows else 0.0

    def confirm(self, at: float) -> None:
        """Release the brake because a person says so; what was destroyed before is no longer counted."""
        with self._write() as db:
            db.execute("DELETE FROM marks WHERE name = ?", (_BRAKE,))
            db.execute("INSERT OR REPLACE INTO marks (name, value) VALUES (?,?)", (_CONFIRMED, repr(at)))

    def anchor(self) -> tuple[str, float, float] | None:
        """Return a boot of the host, and its wall and its monotonic clock at one moment; None: not known."""
        rows = self._rows("SELECT value FROM marks WHERE name = ?", _ANCHOR)
        found = _MARK.fullmatch(str(rows[0]["value"])) if rows else None
        return (found[1], float(found[2]), float(found[3])) if found else None

    def save_anchor(self, anchor: tuple[str, float, float]) -> None:
        """Record both clocks as they are at one moment."""
        with self._write() as db:
            db.execute("INSERT OR REPLACE INTO marks (name, value) VALUES (?,?)", _mark(anchor))

    def move_backoffs(self, seconds: float, anchor: tuple[str, float, float]) -> None:
        """The wall clock was set by so much: move the ends of the backoffs with it, those that have one."""
        with self._write() as db:
            db.execute("UPDATE holds SET until = until + ? WHERE until < ?", (seconds, FOREVER))
            db.execute("UPDATE flavor_rests SET until = until + ?", (seconds,))
            db.execute("INSERT OR REPLACE INTO marks (name, value) VALUES (?,?)", _mark(anchor))

    def pauses(self) -> dict[str, Pause]:
        """Return what is paused, by pool; "" is the whole cluster."""
        return {row["pool"]: tables.value(Pause, row) for row in self._rows("SELECT * FROM pauses")}

    def save_pause(self, pause: Pause) -> None:
        """Pause a pool, or with "" the cluster."""
        with self._write() as db:
            said = {"why": printable(pause.why), "by": printable(pause.by)}
            write(db, "pauses", [asdict(pause) | said])

    def drop_pauses(self, pools: Iterable[str]) -> None:
        """End pauses."""
        with self._write() as db:
            db.executemany("DELETE FROM pauses WHERE pool = ?", [(pool,) for pool in pools])

    def notices(self) -> dict[str, Notice]:
        """Return what `status` warns of, by node."""
        rows = self._rows("SELECT * FROM notices ORDER BY node")
        return {row["node"]: _notice(row) for row in rows}

    def save_notices(self, found: Iterable[Notice], gone: Iterable[str]) -> None:
        """Write warnings, and forget those of nodes with which nothing is the matter any more."""
        with self._write() as db:
            db.executemany("DELETE FROM notices WHERE node = ?", [(node,) for node in gone])
            write(db, "notices", map(_notice_row, found))


def _notice(row: sqlite3.Row) -> Notice:
    return tables.value(Notice, row, jobs=tuple(map(int, row["jobs"].split())))


def _notice_row(notice: Notice) -> dict[str, object]:
    jobs = " ".join(map(str, notice.jobs))
    return asdict(notice) | {"text": printable(notice.text), "jobs": jobs}


def _mark(anchor: tuple[str, float, float]) -> tuple[str, str]:
    boot, wall, monotonic = anchor
    return _ANCHOR, f"{boot} {wall:.6f} {monotonic:.6f}"


def _done(row: sqlite3.Row) -> Done:
    return tables.value(Done, row)
