"""The rows of `slurm-powersave status`."""

from dataclasses import replace

from slurm_powersave.decide.node.status import StatusRow, rows, slurm_state
from slurm_powersave.model.errors import FailureClass
from slurm_powersave.model.modes import Mode
from slurm_powersave.model.nodes import NodeBackoff, NodeRecord, NodeSpec, Operation, Server, SlurmNode

UP = SlurmNode("n1", frozenset({"CLOUD", "IDLE"}))
OFF = SlurmNode("n2", frozenset({"POWERED_DOWN", "IDLE", "CLOUD"}))
RECORD = NodeRecord(NodeSpec("n1", "p", "c", "i", "f", "", "10.0.0.1"), "c/nodes-001", "id1")
OPERATION = Operation("1a2b3c", "r1", "n2", Mode.RESUME, "applying", 100.0, 102.5)
HOLD = NodeBackoff(
    "n2",
    "1a2b3c",
    FailureClass.QUOTA,
    "slurm-powersave: (quota) no room; rests until 14:05 [op 1a2b3c]",
    900.0,
)


WAITS = "waits for Terraform to make the server"


def test_everything_readable() -> None:
    found = rows(
        ["n1", "n2"],
        {"n1": UP, "n2": OFF},
        [Server("id1", "n1", "ACTIVE")],
        [],
        [OPERATION],
        {"n1": RECORD},
        {},
        {},
    )
    assert found == [
        StatusRow("n1", "IDLE+CLOUD", "id1 ACTIVE", "-", "-", None),
        StatusRow("n2", "IDLE+CLOUD+POWERED_DOWN", "-", "resume 1a2b3c", "applying", 102.5, "", WAITS),
    ]


def test_an_operation_says_first_what_keeps_it_then_what_it_has_met() -> None:
    node = SlurmNode("n2", frozenset({"DOWN"}), "disk")
    op = replace(
        OPERATION, phase="verifying", text="server id-1 is locked", waits="the cloud c can't be read: 503"
    )
    for given, said in ((op, op.waits), (replace(op, waits=""), op.text)):
        (row,) = rows(["n2"], {"n2": node}, [], [], [given], {}, {"n2": HOLD}, {})
        assert (row.text, row.waits) == (said, "waits for the server to be gone")


def test_slurm_unreadable() -> None:
    (row,) = rows(["n1"], None, [Server("id1", "n1", "ACTIVE")], [], [], {}, {}, {})
    assert (row.slurm, row.server) == ("?", "id1 ACTIVE")


def test_cloud_unreadable_shows_what_the_journal_holds() -> None:
    first, second = rows(["n1", "n2"], {"n1": UP, "n2": OFF}, [], ["n1", "n2"], [], {"n1": RECORD}, {}, {})
    assert (first.server, second.server) == ("id1 ?", "?")


def test_a_node_that_rests() -> None:
    (row,) = rows(["n2"], {"n2": OFF}, [], [], [], {}, {"n2": HOLD}, {})
    assert (row.operation, row.phase, row.text) == ("-", "rests", HOLD.reason)


def test_the_reason_of_an_administrator() -> None:
    (row,) = rows(["n1"], {"n1": SlurmNode("n1", frozenset({"DOWN"}), "disk")}, [], [], [], {}, {}, {})
    assert (row.slurm, row.text) == ("DOWN", "disk")


def test_servers_that_are_not_configured_and_doubles_are_shown() -> None:
    servers = [Server("id1", "n1", "ACTIVE"), Server("id2", "n1", "ERROR"), Server("id3", "old", "ACTIVE")]
    first, last = rows(["n1"], {"n1": UP}, servers, [], [], {}, {}, {})
    assert first.server == "id1 ACTIVE, id2 ERROR"
    assert (last.node, last.slurm, last.server) == ("old", "not configured", "id3 ACTIVE")


def test_a_node_that_slurm_does_not_know() -> None:
    assert slurm_state(None) == "not in Slurm"
    assert slurm_state(SlurmNode("n", frozenset({"NEW_FLAG", "MIXED", "CLOUD"}))) == "MIXED+CLOUD+NEW_FLAG"
