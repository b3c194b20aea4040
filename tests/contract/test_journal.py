"""SQLite's journal against the cases: as a new file, converted from the first release, and after a kill."""

import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from slurm_powersave.adapters.journal.database import JournalFile
from slurm_powersave.adapters.journal.sqlite import SqliteJournal
from slurm_powersave.adapters.journal.tables import SCHEMA_VERSION
from slurm_powersave.model.errors import JournalError
from slurm_powersave.model.nodes import AdminState
from tests import first_release
from tests.contract.journal_cases import CASES, RECORD, Subject, asked, ours

# The transaction has deleted and written rows when its process is killed: more than SQLite keeps in memory.
KILLED = """
import os, signal, sys
from pathlib import Path
from slurm_powersave.adapters.journal.sqlite import SqliteJournal
from slurm_powersave.model.nodes import AdminState

def rows():
    for number in range(30_000):
        yield AdminState(f"k-{number}", "DRAIN", "x" * 100)

def kill(statement):
    if statement.startswith("INSERT OR REPLACE INTO asides") and "k-25000'" in statement:
        os.kill(os.getpid(), signal.SIGKILL)

journal = SqliteJournal(Path(sys.argv[1]))
journal.set_brake("the last word")
journal._db.set_trace_callback(kill)
journal.save_admin_states(rows(), ["k-kept"])
"""


class OnFile:
    """Implements Subject."""

    def __init__(self, path: Path, held: ExitStack) -> None:
        self._path, self._held, self.place = path, held, path.parent
        self.journal = self.another()

    def another(self) -> SqliteJournal:
        return self.snapshot(self._path)

    def snapshot(self, path: Path) -> SqliteJournal:
        return self._held.enter_context(closing(SqliteJournal(path)))


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The journal of a process that was killed in the middle of a transaction."""
    path = tmp_path_factory.mktemp("killed") / "journal.db"
    with closing(SqliteJournal(path)) as journal:
        journal.save_admin_states([AdminState("k-kept", "DOWN", "fan")], [])
    done = subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False, capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert path.with_name(f"{path.name}-wal").stat().st_size > 1 << 20, "part of it is on the disk"
    return path


@pytest.fixture(params=["new", "converted", "killed"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A journal's file: not there yet, of the first release, or of a process that was killed."""
    if request.param == "converted":
        return first_release.journal(tmp_path / "journal.db", tmp_path)
    if request.param == "killed":
        left_by(request.getfixturevalue("killed"), tmp_path)
    return tmp_path / "journal.db"


def left_by(killed: Path, place: Path) -> None:
    """Copy what a killed process has left; what SQLite shares between processes is made anew."""
    for name in ("journal.db", "journal.db-wal"):
        shutil.copy(killed.with_name(name), place)


@pytest.fixture
def subject(path: Path) -> Iterator[Subject]:
    with ExitStack() as held:
        yield OnFile(path, held)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_journal_in_sqlite(case: Callable[[Subject], None], subject: Subject) -> None:
    case(subject)


def test_a_kill_leaves_what_was_committed_and_nothing_of_the_rest(killed: Path, tmp_path: Path) -> None:
    left_by(killed, tmp_path)
    with closing(SqliteJournal(tmp_path / "journal.db")) as journal:
        assert journal.admin_states() == {"k-kept": AdminState("k-kept", "DOWN", "fan")}
        assert journal.brake() == "the last word"
        journal.snapshot_to(tmp_path / "copy.db")
    with closing(SqliteJournal(tmp_path / "copy.db")) as journal:
        assert [*journal.admin_states()] == ["k-kept"]


def test_a_snapshot_is_made_while_another_process_writes(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    with closing(SqliteJournal(path)) as journal:
        asked(journal)
        with sqlite3.connect(path, isolation_level=None) as other:
            other.execute("BEGIN IMMEDIATE")
            other.execute("DELETE FROM operations")
            JournalFile(path).snapshot_to(tmp_path / "copy.db")
            other.execute("COMMIT")
    with closing(SqliteJournal(tmp_path / "copy.db")) as copied:
        assert len(ours(copied)) == 1, "what was not committed then is not in it"


def test_a_backup_of_an_older_journal_does_not_convert_it(tmp_path: Path) -> None:
    path = first_release.journal(tmp_path / "journal.db", tmp_path)
    assert JournalFile(path).snapshot_to(tmp_path / "copy.db") == 3
    with sqlite3.connect(path) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (3,)
    with closing(SqliteJournal(tmp_path / "copy.db")) as copied:
        assert copied.snapshot_to(tmp_path / "again.db") == SCHEMA_VERSION


def test_a_damaged_journal_is_not_copied_as_if_it_were_sound(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    with closing(SqliteJournal(path)) as journal:
        for number in range(60):
            asked(journal, f"c-r{number}")
        journal.save_node(RECORD)
    whole = path.read_bytes()
    damaged = bytearray(whole)
    damaged[8192 : len(whole) - 8192] = b"\xff" * (len(whole) - 16384)
    path.write_bytes(damaged)
    with pytest.raises(JournalError, match="journal") as error:
        JournalFile(path).snapshot_to(tmp_path / "copy.db")
    assert error.value.where == str(path)
