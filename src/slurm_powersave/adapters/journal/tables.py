"""The journal's tables, and what a row of each is as a value."""

import sqlite3

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

SCHEMA_VERSION = 7

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
  start_ticks INTEGER NOT NULL, shard TEXT NOT NULL, operations TEXT NOT NULL, deadline REAL NOT NULL,
  host TEXT NOT NULL DEFAULT '', boot_id TEXT NOT NULL DEFAULT '');
CREATE TABLE IF NOT EXISTS dirty_shards (name TEXT PRIMARY KEY);
CREATE TABLE IF NOT EXISTS asides (
  node TEXT PRIMARY KEY, state TEXT NOT NULL, reason TEXT NOT NULL, at REAL NOT NULL);
CREATE TABLE IF NOT EXISTS drains (
  node TEXT PRIMARY KEY, by TEXT NOT NULL, reason TEXT NOT NULL, at REAL NOT NULL);
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
  pool TEXT NOT NULL, flavor TEXT NOT NULL, image TEXT NOT NULL, node TEXT NOT NULL, at REAL NOT NULL,
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
ALTER TABLE seen DROP COLUMN off;
ALTER TABLE requests ADD COLUMN action TEXT NOT NULL DEFAULT '';
UPDATE requests SET action = features, features = '' WHERE source <> 'hook';
""",
}
"""From a version to the next one; tables that are new are made by SCHEMA."""

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


def request(row: sqlite3.Row) -> Request:
    """Make the value of a row."""
    return Request(
        row["id"],
        Mode(row["mode"]),
        row["hostlist"],
        row["time"],
        row["source"],
        row["job_id"],
        row["features"],
        row["resume_file"],
        row["action"],
    )


def operation(row: sqlite3.Row) -> Operation:
    """Make the value of a row."""
    return Operation(
        id=row["id"],
        request=row["request"],
        node=row["node"],
        mode=Mode(row["mode"]),
        phase=row["phase"],
        created=row["created"],
        since=row["since"],
        outcome=row["outcome"],
        failure=FailureClass(row["failure"]) if row["failure"] else None,
        text=row["text"],
        shard=row["shard"],
        server_id=row["server_id"],
        jobs=tuple(int(job) for job in row["jobs"].split()),
        action=row["action"],
        target=row["target"],
        joined=row["joined"],
        waits=row["waits"],
    )


def jobs(operation: Operation) -> str:
    """Write an operation's jobs as their column holds them."""
    return " ".join(map(str, operation.jobs))


def node_record(row: sqlite3.Row) -> NodeRecord:
    """Make the value of a row."""
    node = NodeSpec(
        row["name"],
        row["pool"],
        row["cloud"],
        row["image"],
        row["flavor"],
        row["zone"],
        row["address"],
        row["generation"],
        row["image_id"],
        row["flavor_id"],
    )
    by_hand = frozenset(row["by_hand"].split())
    return NodeRecord(node, row["shard"], row["server_id"], row["failures"], row["boot_id"], by_hand)


def first_node(row: sqlite3.Row) -> FirstNode | None:
    """Make the value of a row; None if its text is not one of ours."""
    hardware = read(row["hardware"])
    if hardware is None:
        return None
    return FirstNode(row["pool"], row["flavor"], row["image"], row["node"], row["at"], hardware)


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


def run(row: sqlite3.Row) -> ShardRun:
    """Make the value of a row."""
    fields = ("id", "kind", "directory", "pid", "start_ticks", "host", "boot_id")
    record = RunRecord(*(row[field] for field in fields))
    return ShardRun(record, row["shard"], tuple(row["operations"].split()), row["deadline"])
