"""The journal's file: SQLite in WAL mode with synchronous=FULL, so that what was accepted survives a crash.

One connection guarded by a lock serves the threads of a process; other processes (the command
line) open the same file.
"""

import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

from slurm_powersave.adapters.journal.tables import DROPS, FILLS, NEW, SCHEMA, SCHEMA_VERSION, UPGRADES
from slurm_powersave.config.plain_file import wrong_kind
from slurm_powersave.model.errors import ConfigError, JournalError

_RESTORE = (
    "Put a backup back (slurm-powersave restore). Without one move it aside, with the files -wal and -shm "
    "beside it, and run slurm-powersave deploy: servers are found again by their tags."
)


class Database:
    """Opens the file, brings an older one up to date, and tells trouble as an error of ours."""

    def __init__(self, path: Path | str) -> None:
        """Open or make the journal.

        Raises:
            ConfigError: the file is not a journal, or one of a later version.
            JournalError: it can't be opened now: a full disk, a file that this user may not write.
        """
        self._lock = threading.RLock()
        self._path = str(path)
        if path != ":memory:":
            self._make(Path(path))
        with self._with_our_errors():
            self._db = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
        self._db.row_factory = sqlite3.Row
        try:
            self._begin()
        except BaseException:
            self._db.close()
            raise

    def _make(self, path: Path) -> None:
        try:
            # Created with the right mode at once: the journal names jobs and users' reasons.
            path.touch(mode=0o600, exist_ok=True)
            kind = wrong_kind(path)
        except OSError as error:
            raise JournalError(
                "the journal can't be opened",
                where=self._path,
                why=str(error.strerror),
                todo="It must belong to the user that runs this, and its disk must have room.",
            ) from error
        if kind:
            raise ConfigError(f"is {kind}, and no journal", where=self._path, todo=_RESTORE)

    def _begin(self) -> None:
        try:
            with self._with_our_errors():
                self._db.execute("PRAGMA journal_mode=WAL")
                self._db.execute("PRAGMA synchronous=FULL")
                version = self._version()
        except JournalError as error:
            if isinstance(error.__cause__, sqlite3.OperationalError):
                raise
            raise ConfigError("not a journal", where=self._path, why=error.why, todo=_RESTORE) from error
        if version > SCHEMA_VERSION:
            raise ConfigError(
                f"journal of version {version}, this program writes version {SCHEMA_VERSION}",
                where=self._path,
                todo="Use the version of slurm-powersave that made it.",
            )
        if version < SCHEMA_VERSION:
            self._upgrade()

    def _version(self) -> int:
        return int(self._db.execute("PRAGMA user_version").fetchone()[0])

    def _upgrade(self) -> None:
        with self._write() as db:
            version = self._version()  # another process may have been quicker
            steps = range(version, SCHEMA_VERSION) if version > 0 else ()
            for step in steps:
                _run(db, UPGRADES[step])
            _run(db, SCHEMA)
            for step in steps:
                _run(db, FILLS.get(step, ""))
                _drop(db, DROPS.get(step, ()))
            if version == 0:
                _run(db, NEW)
            db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")

    def snapshot_to(self, path: Path) -> int:
        """Write the journal as it is at one moment to a new file; return its version."""
        with self._lock:
            return _snapshot(self._db, path, self._path)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()

    @contextmanager
    def _write(self) -> Iterator[sqlite3.Connection]:
        with self._lock, self._with_our_errors():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                # A full disk may have ended the transaction already.
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    @contextmanager
    def _with_our_errors(self) -> Iterator[None]:
        """Tell what SQLite says as an error of ours, so that who called can wait and try again."""
        try:
            yield
        except sqlite3.DatabaseError as error:
            # Of its subclasses only this one is about the file; of itself it says that the file is damaged.
            if not isinstance(error, sqlite3.OperationalError) and type(error) is not sqlite3.DatabaseError:
                raise
            raise JournalError(
                "the journal could not be read or written",
                where=self._path,
                why=str(error),
                todo="Check whether the disk is full. Nothing is lost: requests that are not in the "
                "journal stay in the spool."
                if isinstance(error, sqlite3.OperationalError)
                else _RESTORE,
            ) from error

    def _rows(self, sql: str, *values: object) -> list[sqlite3.Row]:
        with self._lock, self._with_our_errors():
            return self._db.execute(sql, values).fetchall()


class JournalFile:
    """Implements ports.journal.Snapshots for a file as it is: one of an older version is not converted."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def snapshot_to(self, path: Path) -> int:
        """Write the journal as it is at one moment to a new file; return its version."""
        try:
            with closing(sqlite3.connect(self._path, timeout=30)) as db:
                return _snapshot(db, path, str(self._path))
        except sqlite3.Error as error:
            raise _not_copied(str(self._path), str(error)) from error


def _snapshot(db: sqlite3.Connection, target: Path, source: str) -> int:
    """Copy page by page: others can read and write meanwhile, and nothing is sorted or built anew."""
    target.touch(mode=0o600, exist_ok=False)
    try:
        with closing(sqlite3.connect(target)) as new:
            db.backup(new)
            # One file: without this, whoever opens the copy needs a second and a third beside it.
            new.execute("PRAGMA journal_mode=DELETE")
            # Reads every page. Whether each index fits its table takes three times as long, and a copy of
            # pages can't change it: 0.6 GB are copied in 3 s and checked in 4 s, with 1.5 s of CPU.
            (found,) = new.execute("PRAGMA quick_check").fetchone()
            version = int(new.execute("PRAGMA user_version").fetchone()[0])
    except sqlite3.Error as error:
        raise _not_copied(source, str(error)) from error
    if found != "ok":
        raise JournalError("the copy of the journal is damaged", where=source, why=str(found))
    return version


def _not_copied(source: str, why: str) -> JournalError:
    return JournalError("the journal could not be copied", where=source, why=why)


def write(
    db: sqlite3.Connection,
    table: str,
    rows: Iterable[Mapping[str, object]],
    how: str = "INSERT OR REPLACE",
) -> int:
    """Write rows, each value under the name of its column; return how many were written.

    Args:
        db: inside of a transaction.
        table: its name.
        rows: column -> value; all of the same columns.
        how: SQLite's verb.
    """
    found = list(rows)
    if not found:
        return 0
    columns = ", ".join(found[0])
    places = ", ".join(f":{name}" for name in found[0])
    return db.executemany(f"{how} INTO {table} ({columns}) VALUES ({places})", found).rowcount


def _run(db: sqlite3.Connection, script: str) -> None:
    """Run statements inside of the caller's transaction; `executescript` would end it."""
    for statement in script.split(";"):
        if statement.strip():
            db.execute(statement)


def _drop(db: sqlite3.Connection, columns: Iterable[tuple[str, str]]) -> None:
    """Drop columns (table, name); a table that is newer than the journal was made without them."""
    for table, column in columns:
        if any(row["name"] == column for row in db.execute(f"PRAGMA table_info({table})")):
            db.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
