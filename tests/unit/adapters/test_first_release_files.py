"""What the first release leaves on a disk is read: journal, states, runs and cluster file."""

import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml

from slurm_powersave import wiring
from slurm_powersave.adapters.journal.sqlite import SqliteJournal
from slurm_powersave.adapters.journal.tables import SCHEMA_VERSION
from slurm_powersave.adapters.processes.process import exit_code
from slurm_powersave.adapters.ssh import known_hosts
from slurm_powersave.adapters.state_dir import own_files
from slurm_powersave.adapters.state_dir.store import StateDirectory
from slurm_powersave.adapters.terraform import state_file
from slurm_powersave.adapters.terraform.shards import ShardedTerraform
from slurm_powersave.config.settings import Cluster, load
from slurm_powersave.decide.node.host_keys import Pin, believed
from slurm_powersave.engine import slurm_conf_in_use
from slurm_powersave.model.errors import FailureClass
from slurm_powersave.model.modes import Mode
from slurm_powersave.model.nodes import NodeBackoff, NodeProgress, StateServer
from slurm_powersave.model.seen import Seen
from tests import first_release

SHARD, EMPTY = "local/nodes-001", "local/nodes-002"
MORE = """
INSERT INTO requests VALUES ('waits','suspend','up-5',5.0,'hook',NULL,'','',5.5,0);
INSERT INTO requests VALUES ('refused','resume','nobody',6.0,'cli',7,'disk','',6.5,1);
INSERT INTO refusals VALUES ('refused','nobody','no such node',6.6);
INSERT INTO operations (id,request,node,mode,phase,created,since,outcome,failure,text,jobs)
  VALUES ('f1','waits','up-6','resume','failing',1.0,2.0,'failed','quota','no cores','4 5');
INSERT INTO holds VALUES ('up-6','f1','quota','slurm-powersave: (quota) no cores [op f1]',1795909999.5,1);
INSERT INTO flavor_rests VALUES ('local','','small',1795909999.5,'no host has room');
INSERT INTO asides VALUES ('up-4','DRAIN','disk',3.0);
INSERT INTO drains VALUES ('up-6','f1','slurm-powersave: (quota)',4.0);
INSERT INTO dirty_shards VALUES ('local/nodes-002');
"""
"""Rows of the tables that were empty when the journal was recorded, as that release writes them."""


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return first_release.state_directory(tmp_path / "old")


@pytest.fixture
def cluster(state: Path) -> Cluster:
    return load(state.parent / "cluster.yml")


@pytest.fixture
def terraform(cluster: Cluster) -> ShardedTerraform:
    return wiring.site(cluster).terraform()


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A journal with rows in each of its tables."""
    path = first_release.journal(tmp_path / "state/journal.db", tmp_path)
    with closing(sqlite3.connect(path)) as db:
        db.executescript(MORE)
    return path


def rows(path: Path, columns: dict[str, list[str]] | None = None) -> dict[str, list[Any]]:
    """Table -> its rows, of the named columns."""
    with closing(sqlite3.connect(path)) as db:
        columns = columns or {table: names(db, table) for table in tables(db)}
        return {
            table: db.execute(f"SELECT {','.join(those)} FROM {table} ORDER BY rowid").fetchall()
            for table, those in columns.items()
        }


def tables(db: sqlite3.Connection) -> list[str]:
    found = db.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'")
    return [name for (name,) in found]


def names(db: sqlite3.Connection, table: str) -> list[str]:
    return [row[1] for row in db.execute(f"PRAGMA table_info({table})")]


DROPPED = {("runs", "deadline"), ("asides", "at"), ("drains", "at")}
"""Columns (table, name) of that release that nobody ever read."""


def columns(path: Path) -> dict[str, list[str]]:
    """Table -> the columns that must outlive a conversion."""
    with closing(sqlite3.connect(path)) as db:
        return {
            table: [name for name in names(db, table) if (table, name) not in DROPPED] for table in tables(db)
        }


def assert_whole(path: Path, before: dict[str, list[Any]], known: dict[str, list[str]]) -> None:
    """The journal is of our version, and holds all that it held."""
    SqliteJournal(path).close()
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    after = rows(path, known)
    # A request without operations, all of it refused, is marked so that it can be pruned.
    # What a person asked for has a column of its own.
    source, features = (known["requests"].index(name) for name in ("source", "features"))
    requests = [(*row[:-1], 2) if row[0] == "refused" else row for row in before["requests"]]
    before = before | {
        "requests": [
            row if row[source] == "hook" else (*row[:features], "", *row[features + 1 :]) for row in requests
        ]
    }
    assert after == before


# The journal


def test_each_row_of_the_journal_is_there_afterwards(old: Path) -> None:
    known = columns(old)
    before = rows(old, known)
    assert all(before.values()), "each table has rows"
    for _ in range(2):
        assert_whole(old, before, known)


def test_its_rows_are_values_of_ours(old: Path) -> None:
    with closing(SqliteJournal(old)) as journal:
        (open_op,) = journal.open_operations()
        assert (open_op.id, open_op.node, open_op.mode, open_op.phase) == (
            "194b62",
            "up-3",
            Mode.RESUME,
            "applying",
        )
        assert [(op.node, op.outcome) for op in journal.history(limit=10)] == [
            ("up-6", "failed"), ("up-3", ""), ("up-2", "done"), ("up-1", "done")
        ]  # fmt: skip
        (failed,) = journal.history("up-6", 1)
        assert (failed.failure, failed.jobs, failed.joined, failed.waits) == (
            FailureClass.QUOTA,
            (4, 5),
            "",
            "",
        )
        record = journal.node_records()["up-1"]
        assert (record.shard, record.node.generation, record.node.ref("image")) == (SHARD, 1, "default")
        assert [request.id for request in journal.unplanned_requests()] == ["waits"]
        assert journal.refusals("refused") == [("nobody", "no such node")]
        reason = "slurm-powersave: (quota) no cores [op f1]"
        assert journal.node_backoffs() == {
            "up-6": NodeBackoff("up-6", "f1", FailureClass.QUOTA, reason, 1795909999.5, True)
        }
        assert journal.flavor_backoffs()[0].until == 1795909999.5
        assert journal.admin_states()["up-4"].reason == "disk" and journal.drains()["up-6"].by == "f1"
        assert journal.dirty_shards() == {EMPTY}
        assert journal.seen() == {"up-3": Seen(registered=1, resumed=4)}, "the call of its open operation"
        assert journal.brake() == "", "as it was: the old release had none"
        (run,) = journal.runs()
        assert (run.record.id, run.operations, run.record.host, run.record.boot_id) == (
            "acb12c4a", ("194b62",), "", ""
        )  # fmt: skip


def killed_after(path: Path, statements: int) -> bool:
    """Convert the journal in a process that is killed after so many statements; tell whether it was."""
    script = f"""
import os, signal
from slurm_powersave.adapters.journal import database
left = {statements}
def run(db, script):
    global left
    for statement in filter(str.strip, script.split(";")):
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        db.execute(statement)
        left -= 1
database._run = run
database.Database({str(path)!r})
"""
    return subprocess.run([sys.executable, "-c", script], check=False).returncode == -signal.SIGKILL


@pytest.mark.parametrize("statements", [0, 1, 2, 4, 5, 9, 20])
def test_a_conversion_that_is_killed_is_done_by_the_next_one(old: Path, statements: int) -> None:
    known = columns(old)
    before = rows(old, known)
    assert killed_after(old, statements)
    assert_whole(old, before, known)


# States and runs


def test_the_shards_are_read(terraform: ShardedTerraform) -> None:
    assert terraform.shards("local") == [SHARD, EMPTY]
    for shard, servers, nodes in (
        (SHARD, {
            "up-1": StateServer("721dd3d0-ddb1-4352-8f36-e4227b7c7eb0"),
            "up-2": StateServer("7d34c144-d4eb-48bf-b1a3-34fec1cfc9b9"),
        }, ["up-1", "up-2", "up-3"]),
        (EMPTY, {}, []),
    ):  # fmt: skip
        assert terraform.initialised(shard) and not terraform.is_broken(shard)
        assert not terraform.busy(shard), "the lock's file alone locks nothing: its process is gone"
        assert terraform.servers(shard) == servers and [*terraform.nodes(shard)] == nodes
    entry = terraform.nodes(SHARD)["up-3"]
    assert (entry.operation, entry.node.address, entry.node.ref("flavor")) == (
        "194b62",
        "10.150.1.3",
        "small",
    )


@pytest.mark.parametrize("shard", [SHARD, EMPTY])
def test_a_shard_s_files_say_the_same_when_we_write_them(
    terraform: ShardedTerraform, state: Path, shard: str
) -> None:
    """Its root module stays the one that it was made with, and gets the variables that this one declares."""
    directory = state / "terraform" / shard
    before = {path.name: path.read_text() for path in directory.iterdir() if path.is_file()}
    terraform.write_nodes(shard, terraform.nodes(shard))
    assert {path.name: path.read_text() for path in directory.iterdir() if path.is_file()} == before
    declared = re.findall(r'variable "(\w+)"', before["variables.tf"])
    assert sorted(yaml.safe_load(before["nodes.auto.tfvars.json"])) == sorted(declared)
    assert terraform.contract(shard).resource in re.sub('" "', ".", before["main.tf"])


def test_a_state_that_is_spoiled_is_replaced_by_terraform_s_own_copy(
    terraform: ShardedTerraform, state: Path
) -> None:
    """That release made no copy of its own before an apply."""
    (state / "terraform" / SHARD / "terraform.tfstate").write_text("")
    assert terraform.is_broken(SHARD)
    assert "terraform.tfstate.backup is in its place" in terraform.put_back(SHARD)
    assert [*terraform.servers(SHARD)] == ["up-1"]


def test_the_base_state_names_the_login_node(cluster: Cluster) -> None:
    login = state_file.outputs(cluster.layout.base)["login"]
    assert login["address"] == cluster.login.address and login["id"].startswith("882727c3")
    own_files.refuse(cluster)


def test_its_host_keys_are_known_and_say_no_disk(cluster: Cluster) -> None:
    """So a key is kept until the disk is made anew."""
    pins = known_hosts.pins(cluster.layout.known_hosts)
    assert sorted(name for name, _ in pins) == ["up-1", "up-2", "up-login"]
    pin = pins["up-1", "10.150.1.1"]
    assert pin == Pin(frozenset({f"ssh-ed25519 {first_release.key('up-1')}"}))
    assert believed(pin, "721dd3d0", kept=True) and not believed(pin, "721dd3d0", kept=False)


def test_what_slurmctld_was_last_given_is_known(cluster: Cluster) -> None:
    found = slurm_conf_in_use.load(StateDirectory(cluster.layout))
    assert "ClusterName=up\n" in found.slurm_conf and found.memory == {}
    assert found.node_lines[0].startswith("NodeName=up-[1-6] NodeAddr=10.150.1.[1-6] ")
    cluster.layout.slurm_conf_in_use.unlink()
    assert slurm_conf_in_use.load(StateDirectory(cluster.layout)).same(found), "as the inventory has it"


def test_a_run_whose_process_is_gone_is_told_as_killed(terraform: ShardedTerraform, state: Path) -> None:
    with closing(SqliteJournal(state / "journal.db")) as journal:
        (saved,) = journal.runs()
    assert Path(saved.record.directory) == state / "runs/acb12c4a"
    run = terraform.reattach(saved.record)
    assert run.progress() == []
    result = run.poll()
    assert result and (result.ok, result.text) == (False, "terraform was killed")


def test_a_run_that_ended_while_no_engine_looked_is_read_to_its_end(
    terraform: ShardedTerraform, state: Path
) -> None:
    with closing(SqliteJournal(state / "journal.db")) as journal:
        (saved,) = journal.runs()
    directory = Path(saved.record.directory)
    with (directory / "stdout.jsonl").open("a") as out:
        out.write(
            '{"type":"apply_complete","hook":{"resource":{"resource_key":"up-3"},"id_key":"id",'
            '"id_value":"5b0b42a8-2a1c-4d6c-9f39-2f2f2d1f7c11"}}\n'
        )
    (directory / "rc").write_text("0\n")
    run = terraform.reattach(saved.record)
    assert run.progress() == [NodeProgress("up-3", True, server_id="5b0b42a8-2a1c-4d6c-9f39-2f2f2d1f7c11")]
    result = run.poll()
    assert result and result.ok


def test_a_run_that_goes_on_is_waited_for_and_can_be_ended(terraform: ShardedTerraform, state: Path) -> None:
    """Started as that release starts its runs: a shell whose first argument is the file for the exit code."""
    with closing(SqliteJournal(state / "journal.db")) as journal:
        (saved,) = journal.runs()
    rc = f"{saved.record.directory}/rc"
    keep = 'rc=$0; trap : INT TERM; "$@"; echo $? >"$rc.new" && mv "$rc.new" "$rc"'
    process = subprocess.Popen(
        ["/bin/sh", "-c", keep, rc, "sh", "-c", "echo; exec sleep 60"],
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        assert process.stdout and process.stdout.readline() == b"\n", "it runs"
        ticks = int(Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[19])
        record = type(saved.record)("acb12c4a", "apply", saved.record.directory, process.pid, ticks)
        run = terraform.reattach(record)
        assert run.poll() is None
        run.interrupt()
        process.wait(10)
        result = run.poll()
        assert exit_code(record) == 130 and result and not result.ok
    finally:
        process.kill()
        process.communicate()


# The cluster file


def flat(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Path of a key -> its value."""
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from flat(inner, f"{path}.{key}" if path else key)
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        for number, inner in enumerate(value):
            yield from flat(inner, f"{path}.{number}")
    else:
        yield path, value


def test_the_cluster_file_means_what_it_meant(cluster: Cluster, state: Path) -> None:
    """That release has written all its settings, defaults included, into the inventory."""
    before = yaml.safe_load((state / "inventory/group_vars/all/slurm_powersave.yml").read_text())
    written = {
        key: value for key, value in before.items() if not key.startswith(("ansible_", "slurm_powersave"))
    }
    ours = dict(flat(cluster.model_dump(mode="json", exclude={"file"})))
    assert dict(flat(written)).items() <= ours.items()
    new = {key: value for key, value in ours.items() if key not in dict(flat(written))}
    assert new == {
        "login.jump": None,
        "failure.rest.internal": 300,
        "failure.unclaimed_after": 900,
        "failure.restart_after": 300,
        "failure.silent_after": 1800,
        "history.keep_days": 400,
    }, "a key that the old cluster file lacks has this value"
