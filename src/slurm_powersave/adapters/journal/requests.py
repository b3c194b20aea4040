"""The journal's requests: what hooks and operators asked for, and for how long that is kept."""

from dataclasses import asdict

from slurm_powersave.adapters.journal import tables
from slurm_powersave.adapters.journal.database import Database, write
from slurm_powersave.model.nodes import Request
from slurm_powersave.model.printable import storable

_READ = (
    "SELECT id, mode, hostlist, time, source, job_id, features, action,"
    " substr(resume_file, 1, 1000) AS resume_file FROM requests"
)
"""A resume file has up to 1 MiB, and nobody needs more than to see that there was one."""
WAITS, WITH_OPERATIONS, WITHOUT = 0, 1, 2
"""What `planned` says of a request: not yet, it has operations, nothing of it was served."""
_RESUME_FILES = 256 << 20
"""Bytes of all resume files together that are kept; the oldest go first."""
_HOSTLIST = 1000
"""Characters of a hostlist that are kept of an old request: its nodes have operations of their own."""


class Requests(Database):
    """The table of requests."""

    def add_request(self, request: Request, received: float) -> bool:
        """Record a request; return False for one whose id is there already."""
        with self._write() as db:
            row = asdict(request) | {"received": received}
            for name in ("hostlist", "features", "resume_file", "action"):
                row[name] = storable(row[name])
            return write(db, "requests", [row], "INSERT OR IGNORE") == 1

    def unplanned_requests(self, limit: int = -1) -> list[Request]:
        """Return the requests that have no operations yet, oldest first, those of the hooks last."""
        order = "ORDER BY source = 'hook', rowid"
        # In two steps: hostlists may be long, and are not to be sorted.
        first = f"SELECT rowid FROM requests WHERE planned = 0 {order} LIMIT ?"
        rows = self._rows(f"{_READ} WHERE rowid IN ({first}) {order}", limit)
        return [tables.request(row) for row in rows]

    def count_unplanned(self) -> int:
        """Count the requests that have no operations yet."""
        return int(self._rows("SELECT count(*) AS number FROM requests WHERE planned = 0")[0]["number"])

    def request(self, request_id: str) -> Request | None:
        """Read one request."""
        rows = self._rows(f"{_READ} WHERE id = ?", request_id)
        return tables.request(rows[0]) if rows else None

    def received(self, request_id: str) -> float | None:
        """When a request was journalled, in seconds since the epoch."""
        rows = self._rows("SELECT received FROM requests WHERE id = ?", request_id)
        return float(rows[0]["received"]) if rows else None

    def purge(self, before: float) -> None:
        """Drop what was received before a moment and is only information by now.

        Resume files and long hostlists go; requests of which nothing was served go with their refusals. What
        has operations stays, with its id: a file that comes again from a spool must count once.
        """
        ended = (
            f"planned <> {WAITS} AND NOT EXISTS"
            " (SELECT 1 FROM operations WHERE request = requests.id AND outcome = '')"
        )
        long = f"{_size('hostlist')} > {_HOSTLIST}"
        with self._write() as db:
            db.execute("DELETE FROM refusals WHERE at < ?", (before,))
            db.execute(f"DELETE FROM requests WHERE planned = {WITHOUT} AND received < ?", (before,))
            # One statement each: so that either has an index of its own.
            db.execute(
                f"UPDATE requests SET resume_file = '' WHERE resume_file <> '' AND received < ? AND {ended}",
                (before,),
            )
            db.execute(
                f"UPDATE requests SET hostlist = substr(hostlist, 1, {_HOSTLIST})"
                f" WHERE {long} AND received < ? AND {ended}",
                (before,),
            )
            kept = 0
            sizes = db.execute(
                f"SELECT id, {_size('resume_file')} AS size FROM requests"
                f" WHERE resume_file <> '' AND {ended} ORDER BY received DESC"
            ).fetchall()
            for row in sizes:
                kept += row["size"]
                if kept > _RESUME_FILES:
                    db.execute("UPDATE requests SET resume_file = '' WHERE id = ?", (row["id"],))


def _size(column: str) -> str:
    """Return the SQL for a text's bytes; length() of a text ends before its first NUL."""
    return f"length(CAST({column} AS BLOB))"
