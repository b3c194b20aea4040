"""What engine and commands rely on in a journal, as cases for each implementation and each way it came about.

A journal may hold rows already: cases use nodes and ids of their own.
"""

import stat
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import pytest

from slurm_powersave.model.errors import FailureClass
from slurm_powersave.model.hardware import FirstNode, Hardware
from slurm_powersave.model.modes import Mode
from slurm_powersave.model.nodes import (
    AdminState,
    NodeBackoff,
    NodeRecord,
    NodeSpec,
    Operation,
    Request,
    RunRecord,
    ShardRun,
)
from slurm_powersave.model.records import Command, Done, Drain, FlavorBackoff, Notice, Pause
from slurm_powersave.model.seen import Seen
from slurm_powersave.ports.journal import Journal

NOW = 1_800_000_000.0
"""Later than whatever a journal holds."""
NODE = NodeSpec("c-1", "c", "mem", "img", "small", "az1", "10.0.1.1", 3, "i-1", "f-1")
RECORD = NodeRecord(NODE, "mem/nodes-001", "id-1", 2, "b00t", frozenset({"image", "flavor"}))


class Subject(Protocol):
    """A journal to be tried."""

    journal: Journal

    def another(self) -> Journal:
        """Open the same journal as another process does."""

    def snapshot(self, path: Path) -> Journal:
        """Open what `snapshot_to` has written."""

    place: Path
    """A directory for the case."""


def asked(journal: Journal, request_id: str = "c-r1", nodes: Sequence[str] = ("c-1",)) -> list[Operation]:
    """Record a request with one operation a node."""
    journal.add_request(Request(request_id, Mode.RESUME, "c-[1-2]", 5.5, "hook", 7, "gpu", "{}"), NOW)
    found = [journal.new_operation(request_id, node, Mode.RESUME, "checking", NOW) for node in nodes]
    journal.plan_request(request_id, found, [("x9", "not configured")], NOW)
    return found


def ours(journal: Journal) -> list[Operation]:
    """The open operations of the cases."""
    return [op for op in journal.open_operations() if op.request.startswith("c-")]


def a_request_counts_once(subject: Subject) -> None:
    one = Request("c-r1", Mode.RESUME, "c-1", 5.5, "hook", 7, "gpu", '{"jobs": []}')
    waiting = subject.journal.count_unplanned()
    assert subject.journal.add_request(one, NOW) and not subject.journal.add_request(one, NOW + 1)
    assert not subject.another().add_request(replace(one, hostlist="c-2"), NOW + 2)
    assert subject.journal.request("c-r1") == one and subject.journal.request("c-r2") is None
    assert [found for found in subject.journal.unplanned_requests() if found.id == "c-r1"] == [one]
    assert subject.journal.count_unplanned() == waiting + 1


def an_operator_s_request_comes_before_those_of_hooks(subject: Subject) -> None:
    for request_id, source in (("c-r1", "hook"), ("c-r2", "operator"), ("c-r3", "operator")):
        subject.journal.add_request(Request(request_id, Mode.RESUME, "c-1", 5.5, source), NOW)
    known = [found.id for found in subject.journal.unplanned_requests()]
    assert [one for one in known if one.startswith("c-")] == ["c-r2", "c-r3", "c-r1"]
    assert [found.id for found in subject.journal.unplanned_requests(2)] == known[:2]


def a_request_is_planned_whole_or_not_at_all(subject: Subject) -> None:
    journal = subject.journal
    journal.add_request(Request("c-r1", Mode.RESUME, "c-1", 5.5), NOW)
    op = journal.new_operation("c-r1", "c-1", Mode.RESUME, "checking", NOW)
    second = journal.new_operation("c-r1", "c-1", Mode.RESUME, "checking", NOW)
    assert op.id != second.id
    with pytest.raises(Exception, match="UNIQUE"):
        journal.plan_request("c-r1", [op, second], [("x9", "no")], NOW)
    assert not journal.operations_of("c-r1") and not journal.refusals("c-r1")
    assert "c-r1" in {one.id for one in journal.unplanned_requests()}
    journal.plan_request("c-r1", [op], [("x9", "no")], NOW)
    assert ours(subject.another()) == [op] and journal.refusals("c-r1") == [("x9", "no")]
    assert "c-r1" not in {one.id for one in journal.unplanned_requests()}


def an_outcome_is_never_changed(subject: Subject) -> None:
    (op,) = asked(subject.journal)
    moved = replace(op, phase="applying", since=NOW + 1, shard="mem/nodes-001", jobs=(4, 5), waits="room")
    subject.journal.save_operation(moved)
    subject.journal.save_operation(replace(moved, waits=""))
    done = replace(moved, outcome="failed", failure=FailureClass.QUOTA, text="none left", since=NOW + 2)
    subject.journal.save_operation(done)
    with pytest.raises(AssertionError, match="has ended: failed"):
        subject.another().save_operation(replace(done, outcome="done"))
    found = subject.another().operation(op.id)
    assert found and replace(found, phases=()) == done and ours(subject.journal) == []
    assert [(one.phase, one.at - NOW) for one in found.phases] == [
        ("checking", 0),
        ("applying", 1),
        ("failed", 2),
    ]


def operations_are_told_in_their_order(subject: Subject) -> None:
    first = asked(subject.journal, "c-r1", ["c-2", "c-1"])
    second = asked(subject.journal, "c-r2", ["c-1"])
    assert ours(subject.another()) == [*first, *second]
    assert [op.id for op in subject.journal.operations_of("c-r1")] == [op.id for op in first]
    assert [op.id for op in subject.journal.history("c-1")] == [second[0].id, first[1].id]
    assert [op.id for op in subject.journal.history(limit=2)] == [second[0].id, first[1].id]


def what_nodes_are_to_be_is_there_for_another_process(subject: Subject) -> None:
    (op,) = asked(subject.journal)
    backoff = NodeBackoff("c-1", op.id, FailureClass.QUOTA, "why; \"quoted\" 'ß'", NOW + 99, True)
    first = FirstNode("c", "small", "img", "c-1", Hardware(2, 1, 1, 2, 1, 3788, "gpu:1"))
    rest = FlavorBackoff("mem", "az1", "small", NOW + 99, "no room")
    admin_state, drain = AdminState("c-1", "DRAIN", "disk"), Drain("c-1", "resize 1a2b", "shrink")
    journal = subject.journal
    journal.save_node(replace(RECORD, server_id="id-0"))
    journal.save_nodes([RECORD, replace(RECORD, node=replace(NODE, name="c-2"))])
    journal.save_node_backoff(backoff)
    journal.save_first_node(replace(first, node="c-9"))
    journal.save_first_node(first)
    journal.save_flavor_backoff(rest)
    journal.save_admin_states([admin_state], [])
    journal.save_drains([drain])
    other = subject.another()
    assert other.node_record("c-1") == other.node_records()["c-1"] == RECORD
    assert (
        other.node_backoffs()["c-1"] == backoff
        and other.admin_states()["c-1"] == admin_state
        and other.drains()["c-1"] == drain
    )
    assert [one for one in other.first_nodes() if one.pool == "c"] == [first]
    assert [one for one in other.flavor_backoffs() if one.cloud == "mem"] == [rest]
    other.drop_flavor_backoff("mem", "az1", "small")
    other.forget_nodes(["c-1"])
    assert journal.node_record("c-1") is None and journal.node_record("c-2")
    assert not {"c-1"} & {
        *journal.node_backoffs(),
        *journal.admin_states(),
        *journal.drains(),
        *journal.seen(),
    }
    assert "mem" not in {one.cloud for one in journal.flavor_backoffs()}


def evidence_is_there_for_another_process(subject: Subject) -> None:
    journal, seen = subject.journal, Seen(1, 2, 3, 4, 5, 6)
    one = Done(NOW, "c-op", "c-1", "delete", "c-id", "hook", "call 7")
    other_one = Done(NOW + 1, "", "c-2", "reboot", "c-id", "operator", "asked for")
    notice = Notice("c-1", "id-1", "silent", "slurm-powersave suspend", NOW, (7, 8))
    journal.save_seen({"c-1": Seen(), "c-2": seen})
    journal.save_seen({"c-1": seen})
    journal.add_act(one)
    journal.add_acts([other_one])
    journal.save_notices([notice, replace(notice, node="c-2")], [])
    journal.save_notices([], ["c-2"])
    journal.save_pause(Pause("c", "upgrade", "ann", NOW))
    journal.set_brake("too many")
    journal.save_anchor(("b00t", NOW + 0.5, 12.25))
    other = subject.another()
    assert other.seen()["c-1"] == other.seen()["c-2"] == seen
    assert other.acts("c-op") == [one] and other.acts_on("c-id") == [one, other_one]
    assert other.acts_of(["c-op", "c-none"]) == {"c-op": [one]}
    assert other.newest_acts(None, 2) == [other_one, one] and other.newest_acts("c-1", 5) == [one]
    assert other.acts_since(NOW, ["hook"]) == [one] and other.acts_since(NOW + 1, ["hook"]) == []
    assert other.notices()["c-1"] == notice and "c-2" not in other.notices()
    assert other.pauses()["c"] == Pause("c", "upgrade", "ann", NOW)
    assert other.brake() == "too many" and other.anchor() == ("b00t", NOW + 0.5, 12.25)
    other.confirm(NOW)
    other.drop_pauses(["c"])
    assert (journal.brake(), journal.confirmed()) == ("", NOW) and "c" not in journal.pauses()


def the_ends_of_rests_move_with_the_wall_clock(subject: Subject) -> None:
    subject.journal.save_node_backoff(NodeBackoff("c-1", "c-op", FailureClass.QUOTA, "why", NOW))
    subject.journal.save_flavor_backoff(FlavorBackoff("mem", "", "small", NOW, "no room"))
    subject.journal.move_backoffs(-3600.0, ("b00t", NOW, 5.0))
    other = subject.another()
    assert other.node_backoffs()["c-1"].until == NOW - 3600 and other.anchor() == ("b00t", NOW, 5.0)
    assert [one.until for one in other.flavor_backoffs() if one.cloud == "mem"] == [NOW - 3600]
    other.drop_node_backoff("c-1")
    assert "c-1" not in subject.journal.node_backoffs()


def runs_and_shards_are_there_until_they_are_dropped(subject: Subject) -> None:
    before = subject.journal.runs()
    run = ShardRun(RunRecord("c-run", "apply", "/d", 12, 345, "host", "b00t"), "mem/nodes-001", ("a", "b"))
    subject.journal.save_run(run)
    subject.journal.set_dirty("mem/nodes-001", True)
    subject.journal.set_dirty("mem/nodes-001", True)
    assert subject.another().runs() == [*before, run]
    assert "mem/nodes-001" in subject.another().dirty_shards()
    subject.another().drop_run("c-run")
    subject.another().set_dirty("mem/nodes-001", False)
    assert subject.journal.runs() == before and "mem/nodes-001" not in subject.journal.dirty_shards()


def a_command_is_recorded_with_its_file_and_then_with_its_end(subject: Subject) -> None:
    command = Command("c-1", NOW, "deploy", "ann", "- a\n+ b")
    subject.journal.save_command(command, "name: one")
    subject.journal.save_command(replace(command, diff="other", outcome="done"), "name: two")
    other = subject.another()
    assert other.commands(1) == [replace(command, outcome="done")] and other.used_file() == "name: one"


def what_people_read_is_harmless_on_a_terminal(subject: Subject) -> None:
    (op,) = asked(subject.journal)
    subject.journal.save_operation(replace(op, text="a\x1b[2J", waits="b\x07"))
    subject.journal.add_act(Done(NOW, op.id, "c-1", "delete", "c-id", "hook", "c\x1b"))
    subject.journal.save_command(Command("c-1", NOW, "d\x1b", "e\x1b", "f\x1b\n"), "g\x1b")
    (found,) = ours(subject.another())
    (act,) = subject.another().acts(op.id)
    (command,) = subject.another().commands(1)
    texts = (found.text, found.waits, act.evidence, command.text, command.by, command.diff.replace("\n", ""))
    assert all(text.isprintable() for text in (*texts, subject.another().used_file() or ""))


def what_has_ended_long_ago_goes_and_the_newest_of_a_node_stays(subject: Subject) -> None:
    journal = subject.journal
    old, newest, open_ = (asked(journal, f"c-r{number}")[0] for number in (1, 2, 3))
    for op in (old, newest):
        journal.save_operation(replace(op, outcome="done", since=NOW + 1))
    while journal.prune(NOW + 2, 2):
        pass
    assert journal.operation(old.id) is None and journal.request("c-r1") is None
    assert ours(subject.another()) == [open_]
    assert journal.operation(newest.id) is None, "the open one of this node is newer"
    journal.purge(NOW + 2)
    assert journal.request("c-r3"), "it would count twice if it came again"


def a_snapshot_is_the_journal_of_one_moment(subject: Subject) -> None:
    journal, target = subject.journal, subject.place / "copy.db"
    (op,) = asked(journal)
    journal.save_node(RECORD)
    version = journal.snapshot_to(target)
    journal.save_operation(replace(op, outcome="done", since=NOW + 1))
    assert version >= 1 and stat.S_IMODE(target.stat().st_mode) == 0o600
    assert [path.name for path in subject.place.glob("copy.db*")] == ["copy.db"], "one file holds all of it"
    copied = subject.snapshot(target)
    assert ours(copied) == [op] and copied.node_record("c-1") == RECORD
    with pytest.raises(OSError, match="exists"):
        journal.snapshot_to(target)


CASES: Sequence[Callable[[Subject], None]] = (
    a_request_counts_once,
    an_operator_s_request_comes_before_those_of_hooks,
    a_request_is_planned_whole_or_not_at_all,
    an_outcome_is_never_changed,
    operations_are_told_in_their_order,
    what_nodes_are_to_be_is_there_for_another_process,
    evidence_is_there_for_another_process,
    the_ends_of_rests_move_with_the_wall_clock,
    runs_and_shards_are_there_until_they_are_dropped,
    a_command_is_recorded_with_its_file_and_then_with_its_end,
    what_people_read_is_harmless_on_a_terminal,
    what_has_ended_long_ago_goes_and_the_newest_of_a_node_stays,
    a_snapshot_is_the_journal_of_one_moment,
)
