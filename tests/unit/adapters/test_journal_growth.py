"""The journal does not grow without end, and what is asked of it does not cost what it holds."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from slurm_powersave.adapters.journal.sqlite import SqliteJournal
from slurm_powersave.model.modes import Mode
from slurm_powersave.model.nodes import Operation, Request
from slurm_powersave.model.permit import Act, Row
from slurm_powersave.model.records import Done, FlavorBackoff
from slurm_powersave.testing.world import MemoryWorld
from tests.unit.engine.checks import coarsely
from tests.unit.engine.stories import up

GROW = ("requests", "refusals", "operations", "phases", "acts")
"""Tables that hold more, the longer a cluster is in service."""
DAY = 86400.0


@pytest.fixture
def journal() -> SqliteJournal:
    """An empty one."""
    return SqliteJournal(":memory:")


def ended(journal: SqliteJournal, request: str, node: str, at: float, outcome: str = "done") -> Operation:
    """Record a request with one operation, which has two phases and an act."""
    journal.add_request(Request(request, Mode.SUSPEND, node, at), at)
    op = journal.new_operation(request, node, Mode.SUSPEND, "checking", at)
    journal.plan_request(request, [op], [("x9", "not configured")], at)
    journal.add_act(Done(at, op.id, node, Act.DELETE, "id-1", Row.HOOK, "call 7"))
    if outcome:
        op = replace(op, outcome=outcome, since=at + 5)
        journal.save_operation(op)
    return op


def count(journal: SqliteJournal) -> dict[str, int]:
    """Table -> rows."""
    return {table: journal._rows(f"SELECT count(*) AS n FROM {table}")[0]["n"] for table in GROW}


def prune_all(journal: SqliteJournal, before: float, most: int = 10) -> int:
    """Prune until nothing more goes; return how many steps that took."""
    steps = 0
    while journal.prune(before, most):
        steps += 1
    return steps


def test_what_is_old_goes_in_small_steps_and_all_of_it(journal: SqliteJournal) -> None:
    for number in range(95):
        ended(journal, f"r{number}", "n1", number * DAY)
    assert journal.prune(50 * DAY, 10) == 20, "ten operations, and their acts"
    assert prune_all(journal, 50 * DAY) > 3
    assert [op.request for op in journal.history(limit=100)] == [f"r{n}" for n in range(94, 49, -1)]
    journal.purge(50 * DAY)
    assert count(journal) == {"requests": 45, "refusals": 45, "operations": 45, "phases": 90, "acts": 45}


def test_the_newest_of_each_node_and_what_is_open_stay(journal: SqliteJournal) -> None:
    old, newest = ended(journal, "r1", "n1", 1.0), ended(journal, "r2", "n1", 2.0)
    open_, after = ended(journal, "r3", "n2", 1.0, ""), ended(journal, "r4", "n2", 2.0)
    journal.add_request(Request("r5", Mode.RESUME, "n3", 1.0), 1.0)
    prune_all(journal, 1000 * DAY)
    assert {op.id for op in journal.history(limit=10)} == {newest.id, open_.id, after.id}
    assert journal.operation(old.id) is None and journal.request("r1") is None
    assert journal.acts(old.id) == [] and len(journal.acts(newest.id)) == len(journal.acts(open_.id)) == 1
    assert [request.id for request in journal.unplanned_requests()] == ["r5"]
    assert journal.request("r3") and [op.id for op in journal.open_operations()] == [open_.id]


def test_a_long_operation_counts_by_its_end(journal: SqliteJournal) -> None:
    op = ended(journal, "r1", "n1", 1.0, "")
    ended(journal, "r2", "n1", 2.0)
    journal.save_operation(replace(op, outcome="done", since=90 * DAY))
    prune_all(journal, 50 * DAY)
    assert journal.operation(op.id)


def test_a_request_stays_as_long_as_one_of_its_operations(journal: SqliteJournal) -> None:
    journal.add_request(Request("r1", Mode.SUSPEND, "n[1-2]", 1.0), 1.0)
    ops = [journal.new_operation("r1", node, Mode.SUSPEND, "checking", 1.0) for node in ("n1", "n2")]
    journal.plan_request("r1", ops, [], 1.0)
    for op in ops:
        journal.save_operation(replace(op, outcome="done", since=2.0))
    ended(journal, "r2", "n1", 3.0)
    prune_all(journal, DAY)
    assert [op.node for op in journal.operations_of("r1")] == ["n2"] and journal.request("r1")
    ended(journal, "r3", "n2", 4.0)
    prune_all(journal, DAY)
    assert journal.request("r1") is None


def test_acts_of_nobodys_operation_and_rests_go_too(journal: SqliteJournal) -> None:
    for at in (1.0, 80 * DAY):
        journal.add_act(Done(at, "", "n1", Act.DELETE, "id-1", Row.OWN, ""))
        journal.save_flavor_backoff(FlavorBackoff("mem", "", f"flavor-{at}", at, "no room"))
    prune_all(journal, 50 * DAY)
    assert [act.at for act in journal.newest_acts(None, 10)] == [80 * DAY]
    assert [rest.until for rest in journal.flavor_backoffs()] == [80 * DAY]


@contextmanager
def traced(journal: SqliteJournal) -> Iterator[list[str]]:
    """Collect the statements that are run, with their values in place."""
    found: list[str] = []
    journal._db.set_trace_callback(found.append)
    try:
        yield found
    finally:
        journal._db.set_trace_callback(None)


def test_a_thousand_operations_with_their_phases_are_one_query(journal: SqliteJournal) -> None:
    made = [ended(journal, f"r{number}", f"n{number % 7}", float(number)) for number in range(1000)]
    with traced(journal) as statements:
        found = journal.history(limit=1000)
    assert len(statements) == 1 and len(found) == 1000
    assert [op.id for op in found] == [op.id for op in reversed(made)]
    assert all([phase.phase for phase in op.phases] == ["checking", "done"] for op in found)
    assert [(phase.phase, phase.at) for phase in found[-2].phases] == [("checking", 1.0), ("done", 6.0)]
    with traced(journal) as statements:
        acts = journal.acts_of(op.id for op in found)
    assert len(statements) == 1 and acts == {op.id: journal.acts(op.id) for op in found}


def scans(journal: SqliteJournal, statements: list[str]) -> dict[str, str]:
    """Statement -> the step of its plan that reads a whole table which grows."""
    bad = {}
    for sql in dict.fromkeys(statements):
        if sql.split(" ", 1)[0] not in ("SELECT", "UPDATE", "DELETE", "INSERT"):
            continue
        for row in journal._db.execute(f"EXPLAIN QUERY PLAN {sql}"):
            words = row["detail"].split()
            if words[0] == "SCAN" and set(words[1:3]) & {*GROW} and "INDEX" not in words:
                bad[sql] = row["detail"]
    return bad


def test_no_statement_of_a_step_or_a_request_reads_a_table_that_grows() -> None:
    world = MemoryWorld.of(3)
    with traced(world.journal) as statements:
        world.cloud.create_faults["n3"] = "Quota exceeded for cores"
        world.slurm.submit("n3")
        world.slurm.end(up(world, "n1"))
        world.slurm.suspend("n1")
        world.settle(60)
        world.request(Mode.SUSPEND, "n2,x9", source="operator")
        world.request(Mode.REBOOT, "n1", source="operator")
        world.settle(60)
        coarsely(world, 2 * 3600, 5.0)  # past the purge, and the pruning
        world.crash()
        world.run(5)
    assert len(statements) > 200 and any(sql.startswith("DELETE FROM acts") for sql in statements)
    assert any("planned = 2" in sql for sql in statements)
    assert scans(world.journal, statements) == {}


def test_no_look_of_a_command_does_either(journal: SqliteJournal) -> None:
    op = ended(journal, "r1", "n1", 1.0)
    with traced(journal) as statements:
        journal.unplanned_requests()
        journal.count_unplanned()
        journal.refusals("r1")
        journal.operations_of("r1")
        journal.operation(op.id)
        journal.history("n1", 20)
        journal.acts(op.id)
        journal.acts_of([op.id])
        journal.newest_acts("n1", 20)
    assert len(statements) == 9 and scans(journal, statements) == {}


def test_a_scan_is_found(journal: SqliteJournal) -> None:
    assert scans(journal, ["SELECT part FROM refusals WHERE part = 'n1'"])


def test_a_journal_of_version_4_is_brought_up_to_date(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    journal = SqliteJournal(path)
    op = ended(journal, "r1", "n1", 1.0)
    journal.add_request(Request("r2", Mode.RESUME, "x9", 1.0), 1.0)
    journal.plan_request("r2", [], [("x9", "not configured")], 1.0)
    journal.close()
    with sqlite3.connect(path) as db:
        for column in ("joined", "waits"):
            db.execute(f"ALTER TABLE operations DROP COLUMN {column}")
        for column in ("host", "boot_id"):
            db.execute(f"ALTER TABLE runs DROP COLUMN {column}")
        db.execute("ALTER TABLE requests DROP COLUMN action")
        db.execute("ALTER TABLE seen ADD COLUMN off INTEGER NOT NULL DEFAULT 0")
        db.execute("UPDATE requests SET planned = 1")
        for index in ("refusals_request", "refusals_at", "requests_empty", "operations_created", "acts_node"):
            db.execute(f"DROP INDEX {index}")
        db.execute("PRAGMA user_version=4")
    db.close()
    again = SqliteJournal(path)
    assert again.operation(op.id) and not again.unplanned_requests()
    with traced(again) as statements:
        again.refusals("r2")
    assert scans(again, statements) == {}
    again.purge(DAY)
    assert again.request("r2") is None and again.request("r1"), "what came to nothing is known as such"
