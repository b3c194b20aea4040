"""`resume`, `suspend`, `history`, `follow` on a journal."""

import json
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from slurm_powersave.adapters.journal.sqlite import SqliteJournal
from slurm_powersave.adapters.state_dir.lock import EngineLock, FileLease
from slurm_powersave.commands import engine_served as served_module
from slurm_powersave.decide.node.reboot import FORCE
from slurm_powersave.model.errors import FailureClass, UnfinishedError
from slurm_powersave.model.modes import Mode
from slurm_powersave.model.nodes import NodeRecord, NodeSpec, Operation
from slurm_powersave.model.permit import Act, Row
from slurm_powersave.model.records import Done
from slurm_powersave.surfaces.cli import follow

from .conftest import Command


def operate(journal: SqliteJournal, request: str, node: str, outcome: str = "done") -> Operation:
    """Let an operation go through two phases to its end, 1.5 and 2.5 s long."""
    now = time.time() - 10
    operation = journal.new_operation(request, node, Mode.RESUME, "queued", now)
    journal.plan_request(request, [operation], [], now)
    journal.save_operation(operation := replace(operation, phase="applying", since=now + 1.5))
    if outcome:
        failure = FailureClass.QUOTA if outcome == "failed" else None
        text = "needs 64 cores, 12 left" if outcome == "failed" else ""
        operation = replace(operation, outcome=outcome, since=now + 4.0, failure=failure, text=text)
        journal.save_operation(operation)
    return operation


@pytest.fixture
def served(journal: SqliteJournal, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """An engine that serves every request while the command waits: node -> outcome, default done."""
    outcomes: dict[str, str] = {}

    def serve(seconds: float) -> None:
        for request in journal.unplanned_requests():
            node = request.hostlist
            if outcomes.get(node) == "not configured":
                journal.plan_request(request.id, [], [(node, "not a configured node")], time.time())
            else:
                operate(journal, request.id, node, outcomes.get(node, "done"))

    monkeypatch.setattr(follow.time, "sleep", serve)
    return outcomes


def test_resume_writes_a_request_of_the_operator(command: Command, journal: SqliteJournal) -> None:
    result = command("resume", "demo-[3-4],demo-3")
    (request,) = journal.unplanned_requests()
    assert (result.exit_code, result.stdout) == (0, f"{request.id}\n")
    assert (request.mode, request.hostlist, request.source) == (Mode.RESUME, "demo-[3-4]", "operator")
    assert abs(request.time - time.time()) < 60


def test_without_an_engine_it_says_so(command: Command, journal: SqliteJournal, cluster_file: Path) -> None:
    assert "no engine is running" in command("resume", "demo-2").stderr
    lock = EngineLock(cluster_file.parent / "state" / "engine.lock")
    assert command("resume", "demo-2").stderr == ""
    lock.release()


def test_suspend_json(command: Command, journal: SqliteJournal) -> None:
    result = command("suspend", "demo-2", "--json")
    (request,) = journal.unplanned_requests()
    assert request.mode is Mode.SUSPEND
    assert json.loads(result.stdout) == {"request": request.id, "operations": [], "joined": [], "refused": []}


def test_a_typo_asks_for_nothing(command: Command, journal: SqliteJournal) -> None:
    result = command("resume", "demo-1,demo-7")
    assert result.exit_code == 2
    assert "demo-7: not configured" in result.stderr
    assert not journal.unplanned_requests()


def test_without_a_journal_it_says_what_to_do(command: Command, cluster_file: Path) -> None:
    result = command("history")
    assert result.exit_code == 2
    assert "slurm-powersave deploy" in result.stderr
    assert not (cluster_file.parent / "state" / "journal.db").exists()


@pytest.mark.parametrize(
    ("outcome", "code"),
    [("done", 0), ("failed", 1), ("cancelled", 1), ("refused", 7), ("joined", 0), ("not configured", 7)],
)
def test_wait_leaves_with_the_outcome(
    command: Command, served: dict[str, str], outcome: str, code: int
) -> None:
    served["demo-2"] = outcome
    result = command("resume", "--wait", "demo-2")
    assert result.exit_code == code, result.stderr
    if outcome == "not configured":
        assert "refused: demo-2: not a configured node" in result.stderr
    else:
        first, second, last = result.stdout.splitlines()
        assert first.split()[1:4] == ["demo-2", "resume", "queued"]
        assert second.split()[3:] == ["applying", "+1.5", "s"]
        assert last.split()[3:6] == [outcome, "+4.0", "s"]


def test_wait_says_why_it_failed(command: Command, served: dict[str, str]) -> None:
    served["demo-2"] = "failed"
    assert "(quota) needs 64 cores, 12 left" in command("resume", "--wait", "demo-2").stdout
    value = json.loads(command("resume", "--wait", "--json", "demo-2").stdout)
    (operation,) = value["operations"]
    assert (operation["outcome"], operation["failure"]) == ("failed", "quota")
    assert [phase["phase"] for phase in operation["phases"]] == ["queued", "applying", "failed"]


def test_wait_ends_at_its_timeout(command: Command, journal: SqliteJournal) -> None:
    began = time.monotonic()
    result = command("resume", "demo-2", "--timeout", "1")
    assert result.exit_code == 11 and 1 < time.monotonic() - began < 5
    assert "has not ended within 1 s: the engine has not taken it up" in result.stderr
    assert "It goes on" in result.stderr
    assert len(journal.unplanned_requests()) == 1


def joins(
    journal: SqliteJournal, monkeypatch: pytest.MonkeyPatch, first: Operation, outcome: str, gone: bool = True
) -> None:
    """Let the command's request join an operation, which ends at the third look."""
    looks = iter(range(100))

    def serve(seconds: float) -> None:
        for request in journal.unplanned_requests():
            op = journal.new_operation(request.id, first.node, request.mode, "", time.time())
            joined = replace(op, outcome="joined", joined=first.id, text=f"operation {first.id} does it")
            journal.plan_request(request.id, [joined], [], time.time())
        if next(looks) == 2:
            if not gone:
                node = NodeSpec(first.node, "compute", "local", "default", "small", "", "10.0.1.2")
                journal.save_node(NodeRecord(node, server_id="id-1"))
            journal.save_operation(replace(first, outcome=outcome, since=time.time()))

    monkeypatch.setattr(follow.time, "sleep", serve)


@pytest.mark.parametrize(("outcome", "code"), [("done", 0), ("failed", 1), ("refused", 7), ("cancelled", 1)])
def test_wait_follows_the_operation_that_was_joined(
    command: Command, journal: SqliteJournal, monkeypatch: pytest.MonkeyPatch, outcome: str, code: int
) -> None:
    first = operate(journal, "r1", "demo-2", "")
    joins(journal, monkeypatch, first, outcome)
    result = command("resume", "--wait", "demo-2")
    assert result.exit_code == code, result.stderr
    assert f"operation {first.id} does it" in result.stdout
    told = [line.split()[3] for line in result.stdout.splitlines()]
    assert told == ["joined", "queued", "applying", outcome]


def test_wait_tells_in_json_what_was_joined(
    command: Command, journal: SqliteJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = operate(journal, "r1", "demo-2", "")
    joins(journal, monkeypatch, first, "done")
    value = json.loads(command("resume", "--wait", "--json", "demo-2").stdout)
    assert [(one["outcome"], one["joined"]) for one in value["operations"]] == [("joined", first.id)]
    assert [(one["id"], one["outcome"]) for one in value["joined"]] == [(first.id, "done")]


@pytest.mark.parametrize(("gone", "code"), [(True, 0), (False, 1)])
def test_a_suspend_that_joined_a_failed_resume_is_done_when_its_server_is_gone(
    command: Command, journal: SqliteJournal, monkeypatch: pytest.MonkeyPatch, gone: bool, code: int
) -> None:
    first = operate(journal, "r1", "demo-2", "")
    joins(journal, monkeypatch, first, "failed", gone)
    assert command("suspend", "--wait", "demo-2").exit_code == code


@pytest.mark.parametrize("argv", [("resume", "demo-2", "--wait"), ("follow", "--until-idle")])
def test_nobody_waits_for_ever_without_an_engine(
    command: Command, journal: SqliteJournal, monkeypatch: pytest.MonkeyPatch, argv: tuple[str, ...]
) -> None:
    monkeypatch.setattr(served_module, "PATIENCE", 1.5)
    operate(journal, "r1", "demo-1", "")
    result = command(*argv)
    assert result.exit_code == 11
    assert "no engine is running; " in result.stderr, "said at once"
    assert "no engine is running: waited" in result.stderr and "is kept" in result.stderr


def test_an_engine_that_is_restarted_is_waited_for(tmp_path: Path) -> None:
    now = [100.0]
    served = served_module.Served(FileLease(tmp_path / "lock"), lambda: now[0])
    served.require()
    now[0] += 14
    served.require()
    lock = EngineLock(tmp_path / "lock")
    now[0] += 2
    served.require()
    lock.release()
    now[0] += 600
    served.require()
    now[0] += 15
    with pytest.raises(UnfinishedError, match="no engine is running"):
        served.require()


def test_history_is_a_table_without_colours_in_a_pipe(command: Command, journal: SqliteJournal) -> None:
    operate(journal, "r1", "demo-1")
    operate(journal, "r2", "demo-2", "failed")
    result = command("history")
    header, newest, oldest = result.stdout.splitlines()
    assert "\x1b" not in result.stdout
    assert header.split()[:5] == ["STARTED", "NODE", "MODE", "OUTCOME", "TOOK"]
    assert newest.split()[1:6] == ["demo-2", "resume", "failed", "4.0", "s"]
    assert "queued 1.5 s, applying 2.5 s" in oldest
    assert "(quota) needs 64 cores, 12 left" in newest


def test_history_of_one_node(command: Command, journal: SqliteJournal) -> None:
    for number in range(5):
        operate(journal, f"r{number}", f"demo-{number % 2 + 1}")
    value = json.loads(command("history", "--node", "demo-1", "--limit", "2", "--json").stdout)
    assert [operation["request"] for operation in value] == ["r4", "r2"]
    assert command("history", "--node", "demo-9").exit_code == 2


def test_history_tells_the_evidence(command: Command, journal: SqliteJournal) -> None:
    operation = operate(journal, "r1", "demo-1")
    operate(journal, "r2", "demo-2")
    hook = Done(time.time(), operation.id, "demo-1", Act.DELETE, "s1", Row.HOOK, "call 7, POWERED_DOWN")
    own = Done(time.time(), "", "demo-2", Act.DELETE, "s2", Row.OWN, "the server is SHUTOFF")
    journal.add_act(hook)
    journal.add_act(own)
    other, first = json.loads(command("history", "--json").stdout)
    assert other["acts"] == [] and first["acts"] == [asdict(hook)]
    header, newest, oldest = command("history", "--evidence").stdout.splitlines()
    assert header.split() == ["WHEN", "NODE", "ACT", "BASIS", "OPERATION", "EVIDENCE"]
    assert newest.split()[1:] == [
        *("demo-2", "delete", "s2", "on", "our", "own", "account", "-"),
        *("the", "server", "is", "SHUTOFF"),
    ]
    assert oldest.split()[1:] == f"demo-1 delete s1 by hook {operation.id} call 7, POWERED_DOWN".split()
    assert "demo-2" not in command("history", "--evidence", "--node", "demo-1").stdout
    assert len(command("history", "--evidence", "--limit", "1").stdout.splitlines()) == 2
    assert json.loads(command("history", "--evidence", "--json").stdout) == [asdict(own), asdict(hook)]


def test_history_says_that_the_brake_is_on(command: Command, journal: SqliteJournal) -> None:
    assert (
        "the brake is on: the journal is new. To see which servers it keeps: slurm-powersave continue\n"
        in (command("history").stderr)
    )
    journal.set_brake("")
    assert command("history").stderr == ""


@pytest.mark.parametrize("name", ["suspend", "resume"])
def test_force_is_a_word_of_the_request(command: Command, journal: SqliteJournal, name: str) -> None:
    assert "--force" not in command(name, "demo-2").stderr
    forced = command(name, "demo-2", "--force")
    assert forced.exit_code == 0
    assert [request.action for request in journal.unplanned_requests()] == ["", FORCE]


def test_force_says_what_follows(command: Command, journal: SqliteJournal) -> None:
    text = command("suspend", "demo-[1-2]", "--force").stderr
    assert "jobs on these nodes are requeued" in text and "put back afterwards" in text
    assert "created again afterwards, because of min_nodes: demo-1\n" in text
    assert "min_nodes" not in command("suspend", "demo-2", "--force").stderr
    assert (
        "no job starts there until somebody ends that state" in command("resume", "demo-2", "--force").stderr
    )
    typo = command("suspend", "demo-9", "--force")
    assert typo.exit_code == 2 and "requeued" not in typo.stderr


def test_follow_until_idle_tells_open_operations(command: Command, journal: SqliteJournal) -> None:
    operation = operate(journal, "r1", "demo-1", outcome="")
    operate(journal, "r2", "demo-2")
    follower = follow.Follower(journal, time.time() - 5)
    assert [(event.node, event.phase) for event in follower.news()] == [
        ("demo-1", "queued"),
        ("demo-1", "applying"),
    ]
    assert follower.news() == []
    assert not follower.idle
    journal.save_operation(replace(operation, outcome="done", since=time.time()))
    assert [event.phase for event in follower.news()] == ["done"]
    assert follower.idle
    assert command("follow", "--until-idle").exit_code == 0


def test_follow_json_is_one_object_a_line(
    command: Command, journal: SqliteJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    operation = operate(journal, "r1", "demo-1", outcome="")
    monkeypatch.setattr(
        "slurm_powersave.surfaces.cli.operations.time.sleep",
        lambda _: journal.save_operation(replace(operation, outcome="done", since=time.time())),
    )
    lines = [json.loads(line) for line in command("follow", "--until-idle", "--json").stdout.splitlines()]
    assert [line["phase"] for line in lines] == ["queued", "applying", "done"]
    assert lines[0]["operation"] == operation.id
