"""The journal: what is in it survives, is there once, and never changes its mind."""

import multiprocessing
import os
import sqlite3
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from slurm_powersave.adapters.journal.sqlite import SqliteJournal
from slurm_powersave.model.errors import ConfigError, FailureClass, JournalError
from slurm_powersave.model.hardware import FirstNode, Hardware
from slurm_powersave.model.modes import Mode
from slurm_powersave.model.nodes import (
    NodeBackoff,
    NodeRecord,
    NodeSpec,
    Operation,
    Request,
    RunRecord,
    ShardRun,
)
from slurm_powersave.model.records import Drain, FlavorBackoff, Notice


def request(request_id: str = "r1") -> Request:
    """A request with all that one can have."""
    return Request(request_id, Mode.RESUME, "n[1-2]", 5.5, "hook", 7, "gpu", '{"jobs": []}')


def planned(journal: SqliteJournal, node: str = "n1", request_id: str = "r1") -> Operation:
    """Record a request with one operation."""
    journal.add_request(request(request_id), 6.0)
    op = journal.new_operation(request_id, node, Mode.RESUME, "checking", 7.0)
    journal.plan_request(request_id, [op], [("x9", "not configured")], 7.0)
    return op


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the journal is."""
    return tmp_path / "journal.db"


def test_everything_is_there_after_reopening(path: Path) -> None:
    journal = SqliteJournal(path)
    op = planned(journal)
    record = NodeRecord(
        NodeSpec("n1", "compute", "mem", "img", "small", "az1", "10.0.1.1", 3), "mem/nodes-001", "id-1", 2
    )
    journal.save_node(record)
    backoff = NodeBackoff("n1", op.id, FailureClass.QUOTA, "why; \"quoted\" 'ß'", 99.0, True)
    journal.save_node_backoff(backoff)
    run = ShardRun(RunRecord("run1", "apply", "/d", 12, 345), "mem/nodes-001", (op.id, "b"))
    journal.save_run(run)
    journal.set_dirty("mem/nodes-001", True)
    first = FirstNode("compute", "small", "img", "n1", Hardware(2, 1, 1, 2, 1, 3788, "gpu:1"))
    journal.save_first_node(replace(first, node="n9"))
    journal.save_first_node(first)
    journal.close()

    again = SqliteJournal(path)
    assert again.request("r1") == request() and again.received("r1") == 6.0
    assert again.unplanned_requests() == []
    assert again.refusals("r1") == [("x9", "not configured")]
    assert again.open_operations() == [op]
    assert again.node_records() == {"n1": record}
    assert again.node_backoffs() == {"n1": backoff}
    assert again.runs() == [run]
    assert again.dirty_shards() == {"mem/nodes-001"}
    assert again.first_nodes() == [first]


def test_a_request_counts_once(path: Path) -> None:
    journal = SqliteJournal(path)
    assert journal.add_request(request(), 6.0)
    assert not journal.add_request(request(), 8.0)
    assert journal.received("r1") == 6.0
    assert [one.id for one in journal.unplanned_requests()] == ["r1"]


def test_a_request_is_planned_whole_or_not_at_all(path: Path) -> None:
    journal = SqliteJournal(path)
    journal.add_request(request(), 6.0)
    op = journal.new_operation("r1", "n1", Mode.RESUME, "checking", 7.0)
    with pytest.raises(sqlite3.IntegrityError):
        journal.plan_request("r1", [op, op], [], 7.0)
    assert journal.open_operations() == [] and len(journal.unplanned_requests()) == 1
    journal.plan_request("r1", [op], [], 8.0)
    assert journal.open_operations() == [op]


def test_one_operation_a_node_and_request(path: Path) -> None:
    journal = SqliteJournal(path)
    planned(journal)
    second = journal.new_operation("r1", "n1", Mode.RESUME, "checking", 7.0)
    with pytest.raises(sqlite3.IntegrityError):
        journal.plan_request("r1", [second], [], 7.0)


def test_an_outcome_is_recorded_once(path: Path) -> None:
    from dataclasses import replace

    journal = SqliteJournal(path)
    op = planned(journal)
    done = replace(op, outcome="done", since=9.0)
    journal.save_operation(done)
    with pytest.raises(AssertionError, match="has ended: done"):
        journal.save_operation(replace(op, outcome="failed"))
    stored = journal.operation(op.id)
    assert stored and stored.outcome == "done"
    assert [phase.phase for phase in stored.phases] == ["checking", "done"]


def test_it_is_readable_by_its_owner_only(path: Path) -> None:
    journal = SqliteJournal(path)
    planned(journal)
    for file in path.parent.glob("journal.db*"):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file


def test_a_file_that_is_none_is_refused_and_left_alone(path: Path) -> None:
    path.write_bytes(b"this is not a database, but long enough to look like one" * 20)
    before = path.read_bytes()
    with pytest.raises(ConfigError, match="not a journal"):
        SqliteJournal(path)
    assert path.read_bytes() == before


def test_a_later_version_is_refused(path: Path) -> None:
    SqliteJournal(path).close()
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version=99")
    db.close()
    with pytest.raises(ConfigError, match="version 99"):
        SqliteJournal(path)


def test_an_older_version_is_brought_up_to_date(path: Path) -> None:
    """As version 1 was: without what later ones have added."""
    journal = SqliteJournal(path)
    op = planned(journal)
    journal.save_node(
        NodeRecord(NodeSpec("n1", "p", "c", "i", "f", "", "10.0.0.1"), by_hand=frozenset({"image"}))
    )
    journal.close()
    db = sqlite3.connect(path)
    for table, column in (
        ("operations", "action"),
        ("operations", "target"),
        ("operations", "joined"),
        ("operations", "waits"),
        ("nodes", "boot_id"),
        ("nodes", "by_hand"),
        ("nodes", "image_id"),
        ("nodes", "flavor_id"),
        ("runs", "host"),
        ("runs", "boot_id"),
        ("requests", "action"),
    ):
        db.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
    for table in ("first_nodes", "seen"):
        db.execute(f"DROP TABLE {table}")
    db.execute("PRAGMA user_version=1")
    db.commit()
    db.close()
    again = SqliteJournal(path)
    assert again.open_operations() == [op]
    record = again.node_records()["n1"]
    assert not record.by_hand and again.first_nodes() == []
    again.save_node(replace(record, by_hand=frozenset({"image", "flavor"})))
    assert SqliteJournal(path).node_records()["n1"].by_hand == {"image", "flavor"}


def test_what_was_asked_for_with_an_older_version_is_still_done(path: Path) -> None:
    """Up to version 6 a person's words stood in the column of the hooks' second argument."""
    journal = SqliteJournal(path)
    mine = Request("mine", Mode.REBOOT, "n1", 1.0, "operator", action="reimage image=new")
    ours = Request("ours", Mode.REBOOT, "n2", 2.0, "reconcile", action="restart")
    hook = Request("hook", Mode.RESUME, "n3", 3.0, features="ib")
    for request in (mine, ours, hook):
        journal.add_request(request, request.time)
    assert journal.unplanned_requests() == [mine, ours, hook]
    journal.close()
    db = sqlite3.connect(path)
    db.execute("UPDATE requests SET features = action WHERE source <> 'hook'")
    db.execute("ALTER TABLE requests DROP COLUMN action")
    db.execute("ALTER TABLE seen ADD COLUMN off INTEGER NOT NULL DEFAULT 0")
    db.execute("PRAGMA user_version=6")
    db.commit()
    db.close()
    assert SqliteJournal(path).unplanned_requests() == [mine, ours, hook]


def test_runs_of_an_older_version_name_no_host(path: Path) -> None:
    journal = SqliteJournal(path)
    record = RunRecord("run1", "apply", "/d", 12, 345, "control", "b00t")
    journal.save_run(ShardRun(record, "mem/nodes-001", ("a", "b")))
    assert journal.runs()[0].record == record
    journal.close()
    db = sqlite3.connect(path)
    for table, column in (
        ("runs", "host"),
        ("runs", "boot_id"),
        ("operations", "joined"),
        ("operations", "waits"),
        ("requests", "action"),
    ):
        db.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
    db.execute("ALTER TABLE seen ADD COLUMN off INTEGER NOT NULL DEFAULT 0")
    db.execute("PRAGMA user_version=4")
    db.commit()
    db.close()
    again = SqliteJournal(path)
    assert again.runs() == [ShardRun(replace(record, host="", boot_id=""), "mem/nodes-001", ("a", "b"))]
    again.save_run(ShardRun(record, "mem/nodes-001", ()))
    assert again.runs()[0].record == record


@pytest.mark.parametrize(
    "said",
    [
        sqlite3.OperationalError("database or disk is full"),
        sqlite3.OperationalError("disk I/O error"),
        sqlite3.OperationalError("unable to open database file"),
        sqlite3.DatabaseError("database disk image is malformed"),
    ],
)
def test_what_sqlite_says_of_the_file_is_told_as_the_journal_s_trouble(
    path: Path, said: sqlite3.Error
) -> None:
    journal = SqliteJournal(path)
    with pytest.raises(JournalError, match=str(said)) as error, journal._with_our_errors():
        raise said
    assert error.value.where == str(path) and error.value.todo
    with pytest.raises(sqlite3.IntegrityError), journal._with_our_errors():
        raise sqlite3.IntegrityError("UNIQUE constraint failed")


@pytest.mark.parametrize("kind", ["garbage", "directory", "FIFO"])
def test_what_is_no_journal_is_told_with_what_to_do(path: Path, kind: str) -> None:
    if kind == "garbage":
        path.write_bytes(b"garbage" * 1000)
    elif kind == "directory":
        path.mkdir()
    else:
        os.mkfifo(path)
    before = os.listdir("/proc/self/fd")
    with pytest.raises(ConfigError, match="journal") as error:
        SqliteJournal(path)
    assert error.value.where == str(path) and "restore" in error.value.todo
    assert set(os.listdir("/proc/self/fd")) <= set(before)


def test_a_truncated_journal_is_refused(path: Path) -> None:
    journal = SqliteJournal(path)
    for number in range(50):
        planned(journal, request_id=f"r{number}")
    journal.close()
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(ConfigError, match="journal"):
        SqliteJournal(path).unplanned_requests()


def _add(path: str, first: int, count: int) -> None:
    journal = SqliteJournal(Path(path))
    for number in range(first, first + count):
        journal.add_request(request(f"r{number}"), 6.0)
    journal.close()


def test_processes_that_make_and_write_it_at_once_lose_nothing(path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    processes = [spawn.Process(target=_add, args=(str(path), first, 60)) for first in (0, 30, 60)]
    for one in processes:
        one.start()
    for one in processes:
        one.join(60)
    assert [one.exitcode for one in processes] == [0, 0, 0]
    journal = SqliteJournal(path)
    assert {one.id for one in journal.unplanned_requests()} == {f"r{number}" for number in range(120)}


def test_another_process_sees_what_was_written(path: Path) -> None:
    engine, command = SqliteJournal(path), SqliteJournal(path)
    op = planned(engine)
    assert command.open_operations() == [op]
    command.add_request(request("r2"), 9.0)
    assert [one.id for one in engine.unplanned_requests()] == ["r2"]


def test_a_write_that_failed_does_not_block_the_next(path: Path, tmp_path: Path) -> None:
    journal = SqliteJournal(path)
    with pytest.raises(sqlite3.ProgrammingError):
        journal.save_run(
            ShardRun(RunRecord("x", "apply", "d", object(), 1), "s", ())  # type: ignore[arg-type]
        )
    assert journal.add_request(request(), 6.0)


def test_who_drained_a_node_is_kept_until_it_is_over_or_the_node_has_left(path: Path) -> None:
    journal = SqliteJournal(path)
    one, two = (Drain(name, "resize 1a2b", "slurm-powersave: shrink [resize 1a2b]") for name in "ab")
    journal.save_drains([one, two])
    assert SqliteJournal(path).drains() == {"a": one, "b": two}
    journal.drop_drains(["a", "never"])
    assert journal.drains() == {"b": two}
    record = NodeRecord(NodeSpec("b", "p", "c", "i", "f", "", "10.0.0.1"))
    journal.save_node(record)
    assert (journal.node_record("b"), journal.node_record("a")) == (record, None)
    journal.forget_nodes(["b"])
    assert (journal.node_record("b"), journal.drains()) == (None, {})


def test_the_rests_of_flavors_outlive_the_process(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    journal = SqliteJournal(path)
    small = FlavorBackoff("os", "az1", "small", 1000.0, "No valid host was found")
    journal.save_flavor_backoff(small)
    journal.save_flavor_backoff(replace(small, zone="az2"))
    journal.save_flavor_backoff(replace(small, until=2000.0))
    journal.close()
    journal = SqliteJournal(path)
    assert {(rest.zone, rest.until) for rest in journal.flavor_backoffs()} == {
        ("az1", 2000.0),
        ("az2", 1000.0),
    }
    journal.drop_flavor_backoff("os", "az1", "small")
    assert [rest.zone for rest in journal.flavor_backoffs()] == ["az2"]


def test_warnings_are_kept_until_they_are_over(path: Path) -> None:
    journal = SqliteJournal(path)
    one, other = (
        Notice("n1", "s1", "silent\x1b", "slurm-powersave suspend", 5.0, (7, 8)),
        Notice("n2", "", "gone", "", 6.0),
    )
    journal.save_notices([one, other], [])
    found = SqliteJournal(path).notices()
    assert found == {"n1": replace(one, text=r"silent\x1b"), "n2": other}
    journal.save_notices([replace(other, text="off")], ["n1"])
    assert [notice.text for notice in journal.notices().values()] == ["off"]
    journal.forget_nodes(["n2"])
    assert not journal.notices()


@pytest.mark.parametrize(
    "value",
    [
        "",
        "boot",
        "boot 1.0",
        "boot nan inf",
        "boot 1e9 5.0",
        "b 1.0 2.0 3.0",
        "b\n1.0 2.0",
        "b 1.0 ٢.0",
        "b" * 70,
    ],
)
def test_clocks_that_make_no_sense_are_not_known(path: Path, value: str) -> None:
    """The journal may come from a backup that somebody has made up."""
    journal = SqliteJournal(path)
    journal.save_anchor(("boot", 1700000000.5, 12.25))
    assert journal.anchor() == ("boot", 1700000000.5, 12.25)
    with sqlite3.connect(path) as db:
        db.execute("UPDATE marks SET value = ? WHERE name = 'clocks'", (value,))
    assert journal.anchor() is None
