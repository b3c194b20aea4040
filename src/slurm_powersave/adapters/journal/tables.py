"""The journal's tables, and what a row of each is as a value."""

import sqlite3
from dataclasses import asdict, fields
from typing import Any, TypeVar

from slurm_powersave.model.errors import FailureClass
from slurm_powersave.model.hardware import FirstNode, read
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
from slurm_powersave.model.printable import printable

SCHEMA_VERSION = 7

_Value = TypeVar("_Value")
_NOT_KEPT: dict[str, Any] = {"phases": (), "begun": 0, "asked": 0}
"""What of an operation is no column of its row, and what it is when it was just read."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS requests (
  id TEXT PRIMARY KEY, mode TEXT NOT NULL, hostlist TEXT NOT NULL, time REAL NOT NULL,
  source TEXT NOT NULL, job_id INTEGER, features TEXT NOT NULL, resume_file TEXT NOT NULL,
  received REAL NOT NULL, planned INTEGER NOT NULL DEFAULT 0, action TEXT NOT NULL DEFAULT '');
CREATE INDEX IF NOT EXISTS requests_open ON requests (planned) WHERE planned = 0;
CREATE INDEX IF NOT EXISTS requests_empty ON requests (received) WHERE planned = 2;
CREATE INDEX IF NOT EXISTS requests_files ON requests (received) WHERE resume_file <> '';
CREATE INDEX IF NOT EXISTS requests_long ON requests (received)
  WHERE length(CAST(hostlist AS BLOB)) > 1000;
CREATE TABLE IF NOT EXISTS refusals (
  request TEXT NOT NULL, part TEXT NOT NULL, why TEXT NOT NULL, at REAL NOT NULL);
CREATE INDEX IF NOT EXISTS refusals_request ON refusals (request);
CREATE INDEX IF NOT EXISTS refusals_at ON refusals (at);
CREATE TABLE IF NOT EXISTS operations (
  number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT UNIQUE NOT NULL, request TEXT NOT NULL,
  node TEXT NOT NULL, mode TEXT NOT NULL, phase TEXT NOT NULL, created REAL NOT NULL,
  since REAL NOT NULL, outcome TEXT NOT NULL DEFAULT '', failure TEXT, text TEXT NOT NULL DEFAULT '',
  shard TEXT NOT NULL DEFAULT '', server_id TEXT NOT NULL DEFAULT '',
  jobs TEXT NOT NULL DEFAULT '', action TEXT NOT NULL DEFAULT '', target TEXT NOT NULL DEFAULT '',
  joined TEXT NOT NULL DEFAULT '', waits TEXT NOT NULL DEFAULT '',
  UNIQUE (request, node));
CREATE INDEX IF NOT EXISTS operations_open ON operations (outcome) WHERE outcome = '';
CREATE INDEX IF NOT EXISTS operations_node ON operations (node);
CREATE INDEX IF NOT EXISTS operations_created ON operations (created);
CREATE TABLE IF NOT EXISTS phases (
  operation TEXT NOT NULL, phase TEXT NOT NULL, at REAL NOT NULL);
CREATE INDEX IF NOT EXISTS phases_operation ON phases (operation);
CREATE TABLE IF NOT EXISTS nodes (
  name TEXT PRIMARY KEY, pool TEXT NOT NULL, cloud TEXT NOT NULL, image TEXT NOT NULL,
  flavor TEXT NOT NULL, zone TEXT NOT NULL, address TEXT NOT NULL, generation INTEGER NOT NULL,
  shard TEXT NOT NULL DEFAULT '', server_id TEXT NOT NULL DEFAULT '', failures INTEGER NOT NULL DEFAULT 0,
  boot_id TEXT NOT NULL DEFAULT '', by_hand TEXT NOT NULL DEFAULT '',
  image_id TEXT NOT NULL DEFAULT '', flavor_id TEXT NOT NULL DEFAULT '');
CREATE TABLE IF NOT EXISTS holds (
  node TEXT PRIMARY KEY, operation TEXT NOT NULL, failure TEXT NOT NULL, reason TEXT NOT NULL,
  until REAL NOT NULL, told INTEGER NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS flavor_rests (
  cloud TEXT NOT NULL, zone TEXT NOT NULL, flavor TEXT NOT NULL, until REAL NOT NULL, text TEXT NOT NULL,
  PRIMARY KEY (cloud, zone, flavor));
CREATE TABLE IF NOT EXISTS runs (
  id TEXT PRIMARY KEY, kind TEXT NOT NULL, directory TEXT NOT NULL, pid INTEGER NOT NULL,
  start_ticks INTEGER NOT NULL, shard TEXT NOT NULL, operations TEXT NOT NULL,
  host TEXT NOT NULL DEFAULT '', boot_id TEXT NOT NULL DEFAULT '');
CREATE TABLE IF NOT EXISTS dirty_shards (name TEXT PRIMARY KEY);
CREATE TABLE IF NOT EXISTS asides (
  node TEXT PRIMARY KEY, state TEXT NOT NULL, reason TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS drains (
  node TEXT PRIMARY KEY, by TEXT NOT NULL, reason TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS seen (
  node TEXT PRIMARY KEY, registered INTEGER NOT NULL, used INTEGER NOT NULL,
  called INTEGER NOT NULL, resumed INTEGER NOT NULL, pushed INTEGER NOT NULL, forced INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS acts (
  number INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL, operation TEXT NOT NULL, node TEXT NOT NULL,
  act TEXT NOT NULL, subject TEXT NOT NULL, row TEXT NOT NULL, evidence TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS acts_operation ON acts (operation);
CREATE INDEX IF NOT EXISTS acts_at ON acts (at);
CREATE INDEX IF NOT EXISTS acts_subject ON acts (subject);
CREATE TABLE IF NOT EXISTS commands (
  number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT UNIQUE NOT NULL, at REAL NOT NULL, text TEXT NOT NULL,
  by TEXT NOT NULL, diff TEXT NOT NULL, outcome TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS commands_at ON commands (at);
CREATE TABLE IF NOT EXISTS notices (
  node TEXT PRIMARY KEY, server TEXT NOT NULL, text TEXT NOT NULL, command TEXT NOT NULL, at REAL NOT NULL,
  jobs TEXT NOT NULL DEFAULT '');
CREATE INDEX IF NOT EXISTS acts_node ON acts (node);
CREATE TABLE IF NOT EXISTS marks (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS pauses (
  pool TEXT PRIMARY KEY, why TEXT NOT NULL, by TEXT NOT NULL, at REAL NOT NULL);
CREATE TABLE IF NOT EXISTS first_nodes (
  pool TEXT NOT NULL, flavor TEXT NOT NULL, image TEXT NOT NULL, node TEXT NOT NULL,
  hardware TEXT NOT NULL, PRIMARY KEY (pool, flavor));
"""

NEW = """
INSERT INTO marks VALUES ('brake', 'the journal is new');
"""
"""What a journal begins with that did not exist before."""

UPGRADES = {
    1: """
ALTER TABLE operations ADD COLUMN action TEXT NOT NULL DEFAULT '';
ALTER TABLE operations ADD COLUMN target TEXT NOT NULL DEFAULT '';
ALTER TABLE nodes ADD COLUMN boot_id TEXT NOT NULL DEFAULT '';
ALTER TABLE nodes ADD COLUMN by_hand TEXT NOT NULL DEFAULT '';
""",
    2: """
ALTER TABLE nodes ADD COLUMN image_id TEXT NOT NULL DEFAULT '';
ALTER TABLE nodes ADD COLUMN flavor_id TEXT NOT NULL DEFAULT '';
""",
    3: """
CREATE TABLE seen (
  node TEXT PRIMARY KEY, registered INTEGER NOT NULL, used INTEGER NOT NULL, off INTEGER DEFAULT 0,
  called INTEGER NOT NULL, resumed INTEGER NOT NULL, pushed INTEGER NOT NULL, forced INTEGER NOT NULL);
""",
    4: """
ALTER TABLE runs ADD COLUMN host TEXT NOT NULL DEFAULT '';
ALTER TABLE runs ADD COLUMN boot_id TEXT NOT NULL DEFAULT '';
ALTER TABLE operations ADD COLUMN joined TEXT NOT NULL DEFAULT '';
ALTER TABLE operations ADD COLUMN waits TEXT NOT NULL DEFAULT '';
UPDATE requests SET planned = 2 WHERE planned = 1
  AND NOT EXISTS (SELECT 1 FROM operations WHERE request = requests.id);
""",
    5: "",
    6: """
ALTER TABLE requests ADD COLUMN action TEXT NOT NULL DEFAULT '';
UPDATE requests SET action = features, features = '' WHERE source <> 'hook';
""",
}
"""From a version to the next one; tables that are new are made by SCHEMA."""

DROPS = {
    6: (
        ("seen", "off"),
        ("runs", "deadline"),
        ("asides", "at"),
        ("drains", "at"),
        ("first_nodes", "at"),
    ),
}
"""From a version to the next one: (table, column) that nobody reads."""

FILLS = {
    3: """
INSERT INTO seen (node, registered, used, called, resumed, pushed, forced)
SELECT operations.node, 1, 0,
  MAX(CASE WHEN operations.mode <> 'resume' AND source = 'hook' THEN number + 1 ELSE 0 END),
  MAX(CASE WHEN operations.mode = 'resume' THEN number + 1 ELSE 0 END), 0, 0
FROM operations JOIN requests ON requests.id = operations.request
WHERE outcome = '' AND operations.mode IN ('resume', 'suspend', 'resume-fail') GROUP BY operations.node;
""",
}
"""From a version to the next one: what goes into a new table. Up to version 3 only the open operations tell
which calls there were: in the order of their numbers, and after whatever a node was seen in before."""


def value(kind: type[_Value], row: sqlite3.Row, **other: object) -> _Value:
    """Make a dataclass of a row: each field is the column of its name, but for those in `other`.

    Raises:
        IndexError: there is no such column.
    """
    names = [field.name for field in fields(kind)]  # type: ignore[arg-type]
    return kind(**{name: row[name] for name in names if name not in other}, **other)


def request(row: sqlite3.Row) -> Request:
    """Make the value of a row."""
    return value(Request, row, mode=Mode(row["mode"]))


def operation(row: sqlite3.Row) -> Operation:
    """Make the value of a row."""
    return value(
        Operation,
        row,
        mode=Mode(row["mode"]),
        failure=FailureClass(row["failure"]) if row["failure"] else None,
        jobs=tuple(int(job) for job in row["jobs"].split()),
        **_NOT_KEPT,
    )


def operation_row(operation: Operation) -> dict[str, object]:
    """Column -> value."""
    row = {name: value for name, value in vars(operation).items() if name not in _NOT_KEPT}
    return row | {
        "jobs": " ".join(map(str, operation.jobs)),
        "text": printable(operation.text),
        "waits": printable(operation.waits),
    }


def node_record(row: sqlite3.Row) -> NodeRecord:
    """Make the value of a row."""
    by_hand = frozenset(row["by_hand"].split())
    return value(NodeRecord, row, node=value(NodeSpec, row), by_hand=by_hand)


def node_row(record: NodeRecord) -> dict[str, object]:
    """Column -> value."""
    row = asdict(record)
    node: dict[str, object] = row.pop("node")
    return node | row | {"by_hand": " ".join(sorted(record.by_hand))}


def first_node(row: sqlite3.Row) -> FirstNode | None:
    """Make the value of a row; None if its text is not one of ours."""
    hardware = read(row["hardware"])
    if hardware is None:
        return None
    return value(FirstNode, row, hardware=hardware)


def backoff(row: sqlite3.Row) -> NodeBackoff:
    """Make the value of a row."""
    return NodeBackoff(
        row["node"],
        row["operation"],
        FailureClass(row["failure"]),
        row["reason"],
        row["until"],
        bool(row["told"]),
    )


def hold_row(backoff: NodeBackoff) -> dict[str, object]:
    """Column -> value."""
    return {
        "node": backoff.node,
        "operation": backoff.operation,
        "failure": backoff.failure,
        "reason": backoff.reason,
        "until": backoff.until,
        "told": backoff.in_slurm,
    }


def run(row: sqlite3.Row) -> ShardRun:
    """Make the value of a row."""
    return ShardRun(value(RunRecord, row), row["shard"], tuple(row["operations"].split()))


def run_row(run: ShardRun) -> dict[str, object]:
    """Column -> value."""
    return asdict(run.record) | {"shard": run.shard, "operations": " ".join(run.operations)}
