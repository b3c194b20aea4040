"""`slurm-powersave status`, with Slurm and cloud readable and not."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from slurm_powersave.adapters.journal.sqlite import SqliteJournal
from slurm_powersave.adapters.state_dir.lock import EngineLock
from slurm_powersave.model.errors import CloudError, FailureClass, SlurmError
from slurm_powersave.model.hardware import FirstNode, Hardware
from slurm_powersave.model.images import BUILDER_TAG
from slurm_powersave.model.modes import Mode
from slurm_powersave.model.nodes import Flavor, NodeBackoff, Request, Server, SlurmNode, SlurmSnapshot
from slurm_powersave.model.records import Notice
from slurm_powersave.model.slurm_version import Version
from slurm_powersave.surfaces.cli import render
from slurm_powersave.testing.site import put_in

from .conftest import Command


@dataclass
class Parts:
    """A Slurm and a cloud at once."""

    slurm_error: str = ""
    version: str = "22.05.8"
    """What slurmctld runs; empty: it does not tell."""
    cloud_error: str = ""

    def snapshot(self) -> SlurmSnapshot:
        if self.slurm_error:
            raise SlurmError(self.slurm_error, where="slurmctld")
        off = frozenset({"IDLE", "CLOUD", "POWERED_DOWN"})
        nodes = {f"demo-{number}": SlurmNode(f"demo-{number}", off) for number in (2, 3, 4)}
        return SlurmSnapshot(0.0, nodes | {"demo-1": SlurmNode("demo-1", frozenset({"IDLE", "CLOUD"}))})

    def running_version(self) -> Version:
        if self.slurm_error or not self.version:
            raise SlurmError(self.slurm_error or "Slurm does not tell its version", where="slurmctld")
        return Version.of(self.version)

    def flavors(self) -> dict[str, Flavor]:
        return {"small": Flavor("small", 1, 1024)}

    def servers(self) -> Sequence[Server]:
        if self.cloud_error:
            raise CloudError(self.cloud_error)
        builder = Server("s9", "demo-builder", "ACTIVE", tags=frozenset({BUILDER_TAG}))
        return [Server("s0", "demo-login", "ACTIVE"), Server("s1", "demo-1", "ACTIVE"), builder]


@pytest.fixture
def outside(monkeypatch: pytest.MonkeyPatch, journal: SqliteJournal) -> Parts:
    """What the command reads. The journal has an operation on demo-2 and a rest of demo-3."""
    found = Parts()
    put_in(monkeypatch.setattr, slurm=found, clouds={"local": found})
    operation = journal.new_operation("r1", "demo-2", Mode.RESUME, "queued", 1000.0)
    journal.plan_request("r1", [operation], [], 1000.0)
    journal.save_operation(replace(operation, phase="applying", since=1001.0))
    journal.save_node_backoff(
        NodeBackoff("demo-3", "1a2b3c", FailureClass.QUOTA, "slurm-powersave: (quota) no room", 2e9)
    )
    return found


def cells(text: str) -> dict[str, list[str]]:
    """Return each node's cells."""
    return {line.split()[0]: line.split()[1:] for line in text.splitlines() if line.startswith("demo-")}


def test_one_row_per_node(command: Command, outside: Parts, journal: SqliteJournal) -> None:
    operation = journal.open_operations()[0]
    result = command("status")
    assert result.exit_code == 0, result.stderr
    assert result.stdout.split()[:6] == ["NODE", "SLURM", "SERVER", "OPERATION", "PHASE", "SINCE"]
    rows = cells(result.stdout)
    assert list(rows) == ["demo-1", "demo-2", "demo-3", "demo-4"]
    assert rows["demo-1"] == ["IDLE+CLOUD", "s1", "ACTIVE", "-", "-", "-"]
    assert rows["demo-2"][:5] == ["IDLE+CLOUD+POWERED_DOWN", "-", "resume", operation.id, "applying"]
    assert rows["demo-3"][3:] == ["rests", "-", "slurm-powersave:", "(quota)", "no", "room"]
    assert "\x1b" not in result.stdout


def test_slurm_and_cloud_unreadable(command: Command, outside: Parts) -> None:
    outside.slurm_error, outside.cloud_error = "no answer within 10 s", "401"
    result = command("status")
    assert result.exit_code == 0
    assert cells(result.stdout)["demo-1"][:2] == ["?", "?"]
    assert "slurm could not be read: slurmctld: no answer within 10 s" in result.stderr
    assert "cloud local could not be read: 401" in result.stderr


def test_a_cloud_without_adapter_is_unknown(
    command: Command, outside: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_in(monkeypatch.setattr, slurm=outside, clouds={})
    assert cells(command("status").stdout)["demo-1"][:2] == ["IDLE+CLOUD", "?"]


def test_engine_line(command: Command, outside: Parts, journal: SqliteJournal, cluster_file: Path) -> None:
    journal.add_request(Request("r2", Mode.RESUME, "demo-4", 1.0), 1.0)
    text = command("status").stdout
    assert "engine: not running\nrequests waiting for it: 1\n" in text
    lock = EngineLock(cluster_file.parent / "state" / "engine.lock")
    assert "engine: process " in command("status").stdout
    lock.tell("not connected: Connection refused")
    assert "requests from demo-login: not connected: Connection refused\n" in command("status").stdout
    lock.tell("connected")
    engine = json.loads(command("status", "--json").stdout)["engine"]
    assert engine.keys() == {"pid", "host", "since", "intake"}
    lock.release()


def test_what_an_engine_in_trouble_waits_for(
    command: Command, outside: Parts, journal: SqliteJournal, cluster_file: Path
) -> None:
    lock = EngineLock(cluster_file.parent / "state" / "engine.lock")
    assert "errors" not in command("status").stdout
    lock.tell_trouble("database or disk is full", 7)
    text = command("status").stdout
    assert "engine waits, and tries again by itself: database or disk is full\n" in text
    assert "errors after which the engine began anew: 7 (see its log)\n" in text
    assert "requests from demo-login: not connected: the engine begins anew\n" in text
    engine = json.loads(command("status", "--json").stdout)["engine"]
    assert (engine["trouble"], engine["errors"]) == ("database or disk is full", 7)
    text = "comparing (3 errors, tried again after 60 s): KeyError: x"
    lock.tell_left_alone(text)
    said = f"engine leaves alone what always fails: {text}\n"
    assert said in command("status").stdout
    lock.tell_left_alone("")
    assert "leaves alone" not in command("status").stdout
    lock.tell_trouble("", 7)
    text = command("status").stdout
    assert "waits, and tries" not in text and "began anew: 7" in text
    lock.release()


def test_json(command: Command, outside: Parts) -> None:
    outside.cloud_error = "401"
    value = json.loads(command("status", "--json").stdout)
    assert value.keys() == {
        *("cluster", "engine", "waiting_requests", "pauses", "brake", "warnings"),
        *("nodes", "slurm_version", "hardware", "older_root_modules", "unreadable"),
    }
    assert value["engine"] is None
    assert value["unreadable"] == {"cloud local": "401"}
    assert value["nodes"][1]["phase"] == "applying"
    assert value["nodes"][1]["since"] == 1001.0


def test_a_first_node_with_less_than_the_file_promises(
    command: Command, outside: Parts, journal: SqliteJournal, cluster_file: Path
) -> None:
    assert "the first node" not in command("status").stdout
    hardware = Hardware(1, 1, 1, 1, 1, 780)
    journal.save_first_node(FirstNode("compute", "small", "default", "demo-1", hardware))
    told = "the first node with flavor small (demo-1) has 780"
    wrong = f"pool compute: the cluster file says RealMemory 800, {told}"
    cluster_file.write_text(cluster_file.read_text().replace("real_memory: 400", "real_memory: 800"))
    assert f"{wrong}\n  Slurm drains a node" in command("status").stdout
    (found,) = json.loads(command("status", "--json").stdout)["hardware"]
    assert found["wrong"] == wrong and found["where"] == "node_pools[0].real_memory"


def test_slurmctld_was_upgraded(command: Command, outside: Parts, cluster_file: Path) -> None:
    outside.version = "26.05.5"
    wrong = "slurmctld on demo-login runs Slurm 26.05.5, the cluster file says 22.05"
    right = (
        f'Set slurm_version: "26.05" in {cluster_file} and run slurm-powersave deploy; '
        "until then slurm.conf stays as it is."
    )
    result = command("status")
    assert result.exit_code == 0
    assert f"{wrong}\n  {right}\n" in result.stdout
    assert json.loads(command("status", "--json").stdout)["slurm_version"] == {
        "cluster_file": "22.05",
        "running": "26.05.5",
        "standing": "tested",
        "wrong": wrong,
        "right": right,
        "unreadable": "",
    }
    cluster_file.write_text(cluster_file.read_text() + 'slurm_version: "26.05"\n')
    assert "runs Slurm" not in command("status").stdout


def test_versions_that_agree_are_no_news(command: Command, outside: Parts) -> None:
    result = command("status")
    assert "Slurm 22" not in result.stdout + result.stderr
    found = json.loads(command("status", "--json").stdout)["slurm_version"]
    assert (found["running"], found["wrong"], found["right"]) == ("22.05.8", "", "")


def test_a_version_that_slurmctld_does_not_tell_is_no_error(command: Command, outside: Parts) -> None:
    outside.version = ""
    result = command("status")
    assert result.exit_code == 0 and "runs Slurm" not in result.stdout
    why = "slurmctld: Slurm does not tell its version"
    assert f"slurmctld's version could not be read: {why}\n" in result.stderr
    found = json.loads(command("status", "--json").stdout)["slurm_version"]
    assert (found["running"], found["wrong"], found["unreadable"]) == (None, "", why)


def test_a_slurm_that_can_not_be_read_is_said_once(command: Command, outside: Parts) -> None:
    outside.slurm_error = "no answer within 10 s"
    assert command("status").stderr.count("no answer within 10 s") == 1


def test_a_newer_slurmctld_than_any_that_was_tested(command: Command, outside: Parts) -> None:
    outside.version = "27.05.1"
    found = json.loads(command("status", "--json").stdout)["slurm_version"]
    assert found["standing"] == "newer than all that were tested"
    assert 'slurm_version: "27.05"' in found["right"]


def test_nodes_that_slurm_can_not_reach(command: Command, outside: Parts, journal: SqliteJournal) -> None:
    replaces = "slurm-powersave suspend"
    journal.save_notices(
        [
            Notice("demo-2", "s2", "silent", replaces, 1000.0),
            Notice("demo-3", "s3", "silent", replaces, 990.0, (7,)),
            Notice("demo-4", "", "its server is gone", "", 1000.0),
            Notice("demo-1", "s1", "it answers again: Slurm shows it in service", replaces, 1000.0),
        ],
        [],
    )
    text = command("status").stdout
    at = render.clock(990.0)
    assert f"warning: demo-[2-3] since {at}: silent\n" in text
    assert "  To replace the server now: slurm-powersave suspend demo-[2-3]\n" in text
    assert "demo-4 since" in text and "answers again" not in text
    value = json.loads(command("status", "--json").stdout)["warnings"]
    assert [one["node"] for one in value] == ["demo-2", "demo-3", "demo-4"]
    assert value[1] == {
        "node": "demo-3", "server": "s3", "text": "silent", "since": 990.0,
        "command": "slurm-powersave suspend demo-3", "jobs": [7],
    }  # fmt: skip
    assert (value[2]["server"], value[2]["command"]) == (None, None)


def test_while_slurm_can_not_be_read_all_warnings_stay(
    command: Command, outside: Parts, journal: SqliteJournal
) -> None:
    journal.save_notices([Notice("demo-1", "s1", "silent", "", 1000.0)], [])
    outside.slurm_error = "no answer within 10 s"
    assert "warning: demo-1" in command("status").stdout
