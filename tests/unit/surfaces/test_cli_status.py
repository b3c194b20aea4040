"""`slurm-powersave status`, with Slurm and cloud readable and not."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from slurm_powersave.adapters import connect
from slurm_powersave.adapters.journal import SqliteJournal
from slurm_powersave.adapters.lock import EngineLock
from slurm_powersave.model.errors import CloudError, FailureClass, SlurmError
from slurm_powersave.model.images import BUILDER_TAG
from slurm_powersave.model.modes import Mode
from slurm_powersave.model.nodes import Flavor, Hold, Request, Server, SlurmNode, SlurmSnapshot

from .conftest import Command


@dataclass
class Outside:
    """A Slurm and a cloud at once."""

    slurm_error: str = ""
    cloud_error: str = ""

    def snapshot(self) -> SlurmSnapshot:
        if self.slurm_error:
            raise SlurmError(self.slurm_error, where="slurmctld")
        off = frozenset({"IDLE", "CLOUD", "POWERED_DOWN"})
        nodes = {f"demo-{number}": SlurmNode(f"demo-{number}", off) for number in (2, 3, 4)}
        return SlurmSnapshot(0.0, nodes | {"demo-1": SlurmNode("demo-1", frozenset({"IDLE", "CLOUD"}))})

    def flavors(self) -> dict[str, Flavor]:
        return {"small": Flavor("small", 1, 1024)}

    def servers(self) -> Sequence[Server]:
        if self.cloud_error:
            raise CloudError(self.cloud_error)
        builder = Server("s9", "demo-builder", "ACTIVE", tags=frozenset({BUILDER_TAG}))
        return [Server("s0", "demo-login", "ACTIVE"), Server("s1", "demo-1", "ACTIVE"), builder]


@pytest.fixture
def outside(monkeypatch: pytest.MonkeyPatch, journal: SqliteJournal) -> Outside:
    """What the command reads. The journal has an operation on demo-2 and a rest of demo-3."""
    found = Outside()
    monkeypatch.setattr(connect, "slurm", lambda cluster: found)
    monkeypatch.setattr(connect, "clouds", lambda cluster: {"local": found})
    operation = journal.new_operation("r1", "demo-2", Mode.RESUME, "queued", 1000.0)
    journal.plan_request("r1", [operation], [], 1000.0)
    journal.save_operation(replace(operation, phase="applying", since=1001.0))
    journal.save_hold(Hold("demo-3", "1a2b3c", FailureClass.QUOTA, "slurm-powersave: (quota) no room", 2e9))
    return found


def cells(text: str) -> dict[str, list[str]]:
    """Return each node's cells."""
    return {line.split()[0]: line.split()[1:] for line in text.splitlines() if line.startswith("demo-")}


def test_one_row_per_node(command: Command, outside: Outside, journal: SqliteJournal) -> None:
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


def test_slurm_and_cloud_unreadable(command: Command, outside: Outside) -> None:
    outside.slurm_error, outside.cloud_error = "no answer within 10 s", "401"
    result = command("status")
    assert result.exit_code == 0
    assert cells(result.stdout)["demo-1"][:2] == ["?", "?"]
    assert "slurm could not be read: slurmctld: no answer within 10 s" in result.stderr
    assert "cloud local could not be read: 401" in result.stderr


def test_a_cloud_without_adapter_is_unknown(
    command: Command, outside: Outside, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connect, "clouds", lambda cluster: {})
    assert cells(command("status").stdout)["demo-1"][:2] == ["IDLE+CLOUD", "?"]


def test_engine_line(command: Command, outside: Outside, journal: SqliteJournal, cluster_file: Path) -> None:
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


def test_json(command: Command, outside: Outside) -> None:
    outside.cloud_error = "401"
    value = json.loads(command("status", "--json").stdout)
    assert value.keys() == {"cluster", "engine", "waiting_requests", "nodes", "unreadable"}
    assert value["engine"] is None
    assert value["unreadable"] == {"cloud local": "401"}
    assert value["nodes"][1]["phase"] == "applying"
    assert value["nodes"][1]["since"] == 1001.0
