"""What Ansible's events mean for the nodes; the messages are those of ansible-core 2.18 and 2.19."""

from typing import Any

import pytest

from slurm_powersave.adapters.ansible.play_events import (
    LONGEST,
    Group,
    Line,
    failure_of,
    marked,
    play_failure,
)
from slurm_powersave.model.errors import FailureClass

OURS = "slurm_host"
BOOT = "0c2f6a3e-7a55-4f53-9f05-4b8a0d2ad1c9"
(_, _END) = marked("site.yml", {})
ENDED = {"event": "playbook_on_play_start", "event_data": {"name": _END["name"]}}


def event(kind: str, host: str, action: str = OURS, **data: Any) -> dict[str, Any]:
    """Make an event as ansible-runner gives it."""
    return {"event": kind, "event_data": {"host": host, "task_action": action, "task": "Do it", **data}}


def stats(**counts: dict[str, int]) -> dict[str, Any]:
    """Make the last event of a run."""
    return {"event": "playbook_on_stats", "event_data": counts}


class Spoken(list[Line]):
    """What a group said, and in what order."""

    def nodes(self) -> dict[str, bool]:
        """Return node -> whether it is configured."""
        return {line["node"]: line["ok"] for line in self}


def group(*nodes: str, more_follows: bool = False) -> tuple[Group, Spoken]:
    """Make a group that is listened to."""
    spoken = Spoken()
    return Group(nodes, more_follows, spoken.append), spoken


def test_a_node_is_done_with_our_task_and_does_not_wait_for_the_others() -> None:
    made, spoken = group("n1", "n2")
    made.event(event("runner_on_ok", "n2", "ansible.builtin.ping"))
    assert spoken == []
    made.event(event("runner_on_ok", "n1"))
    assert spoken == [{"node": "n1", "ok": True, "text": ""}]
    made.event(event("runner_on_ok", "n2"))
    made.event(stats(ok={"n1": 1, "n2": 2}, processed={"n1": 1, "n2": 1}))
    assert spoken.nodes() == {"n1": True, "n2": True}
    assert not made.failed


HARDWARE = "CPUs=2 Boards=1 SocketsPerBoard=1 CoresPerSocket=2 ThreadsPerCore=1 RealMemory=3788"


def test_what_a_node_says_of_its_hardware_is_passed_on_in_our_form() -> None:
    made, spoken = group("n1", "n2", "n3")
    made.event(event("runner_on_ok", "n1", res={"hardware": f"NodeName=n1 {HARDWARE} Parameters=x"}))
    made.event(event("runner_on_ok", "n2", res={"hardware": f"NodeName=n2 {HARDWARE}; reboot"}))
    made.event(event("runner_on_ok", "n3", "ansible.builtin.command", res={"hardware": HARDWARE}))
    made.event(event("runner_on_ok", "n3", res={"hardware": {"cpus": [HARDWARE]}}))
    assert [line.get("hardware") for line in spoken] == [HARDWARE, None, None]


def test_a_node_with_a_playbook_after_ours_is_done_at_the_end_only() -> None:
    made, spoken = group("n1", "n2", more_follows=True)
    made.event(event("runner_on_ok", "n1"))
    made.event(event("runner_on_ok", "n2"))
    made.event(stats(ok={"n1": 1, "n2": 1}, processed={"n1": 1, "n2": 1}))
    made.finish(FailureClass.UNKNOWN, "")
    assert spoken == []
    assert made.begin(more_follows=True, site=True) == ("n1", "n2")
    made.event(event("runner_on_failed", "n2", "ansible.builtin.fail", res={"msg": "no GPU"}))
    made.event(ENDED)
    made.event(stats(failures={"n2": 1}, processed={"n1": 1, "n2": 1}))
    made.finish(FailureClass.UNKNOWN, "")
    assert spoken.nodes() == {"n2": False}
    assert spoken[0]["text"] == "Do it: no GPU"
    assert made.begin(more_follows=False) == ("n1",)
    made.event(event("runner_on_ok", "n1"))
    assert spoken.nodes() == {"n1": True, "n2": False}


def test_a_playbook_of_the_site_need_not_be_for_every_node() -> None:
    made, spoken = group("n1", "n2")
    made.begin(more_follows=True, site=True)
    made.event(ENDED)
    made.event(stats(ok={"n1": 1}, processed={"n1": 1}))
    made.finish(FailureClass.UNKNOWN, "")
    assert made.begin(more_follows=False) == ("n1", "n2")
    assert spoken == []


def test_who_has_not_come_through_a_run_has_failed() -> None:
    """any_errors_fatal ends a playbook for hosts that did nothing wrong."""
    for last in (
        stats(failures={"n1": 1}, processed={"n1": 1, "n2": 1}),
        {"event": "playbook_on_play_start"},
    ):
        made, spoken = group("n1", "n2")
        made.begin(more_follows=True, site=True)
        made.event(event("runner_on_failed", "n1", "ansible.builtin.fail", res={"msg": "no GPU"}))
        made.event(last)
        made.finish(FailureClass.UNKNOWN, "")
        assert spoken.nodes() == {"n1": False, "n2": False}
        assert spoken[-1]["text"] == "the play ended before this node was configured"
        assert made.begin(more_follows=False) == ()


def test_our_module_in_a_playbook_of_the_site_does_not_count() -> None:
    made, spoken = group("n1")
    made.begin(more_follows=False, site=True)
    made.event(event("runner_on_ok", "n1", res={"boot_id": BOOT}))
    made.event(event("runner_on_failed", "n1", res={"msg": "rescued"}))
    assert spoken == []


def test_a_failed_and_an_unreachable_node_are_told_at_once() -> None:
    made, spoken = group("n1", "n2", "n3")
    made.event(event("runner_on_failed", "n1", res={"msg": "not mounted", "invocation": {}}))
    made.event(event("runner_on_unreachable", "n2", "gather_facts", res={"msg": "timed out"}))
    assert spoken == [
        {"node": "n1", "ok": False, "failure": "node-local", "text": "not mounted"},
        {"node": "n2", "ok": False, "failure": "node-local", "text": "unreachable: timed out"},
    ]
    assert made.failed == dict.fromkeys(["n1", "n2"], FailureClass.NODE_LOCAL)


def test_a_rescued_or_ignored_failure_of_a_site_playbook_is_none() -> None:
    made, spoken = group("n1", "n2")
    made.event(event("runner_on_failed", "n1", "ansible.builtin.command", res={"msg": "no", "rc": 1}))
    made.event(event("runner_on_failed", "n2", "ansible.builtin.command", ignore_errors=True, res={"rc": 1}))
    made.event(event("runner_on_ok", "n1"))
    made.event(event("runner_on_ok", "n2"))
    made.event(stats(rescued={"n1": 1}, processed={"n1": 1, "n2": 1}))
    assert spoken.nodes() == {"n1": True, "n2": True}


def test_a_node_that_ansible_does_not_know_is_a_mistake_in_the_configuration() -> None:
    made, spoken = group("n1", "n2")
    made.event(event("runner_on_ok", "n1"))
    made.event(stats(ok={"n1": 1}, processed={"n1": 1}))
    assert spoken[1]["node"] == "n2"
    assert spoken[1]["failure"] is FailureClass.CONFIG


def test_who_is_still_waiting_at_the_end_has_failed_and_nobody_is_told_twice() -> None:
    made, spoken = group("n1", "n2")
    made.event(event("runner_on_ok", "n1"))
    made.finish(FailureClass.NODE_LOCAL, "the play was stopped after 600 s")
    made.finish(FailureClass.UNKNOWN, "")
    assert spoken[1:] == [
        {"node": "n2", "ok": False, "failure": "node-local", "text": "the play was stopped after 600 s"}
    ]


@pytest.mark.parametrize(
    "message",
    [
        "Task failed: Finalization of task args for 'slurm_host' failed: Error while resolving value for "
        "'slurm_conf': object of type 'dict' has no attribute 'slurm_conf'",
        "The task includes an option with an undefined variable. The error was: 'x' is undefined",
        "Could not find or access 'nofile.j2'",
    ],
)
@pytest.mark.parametrize("action", [OURS, "ansible.builtin.template"])
def test_what_fails_before_it_reaches_a_node_is_the_configuration(action: str, message: str) -> None:
    data = {"task_action": action, "task": "role : Task", "res": {"msg": message, "exception": "none"}}
    failure, text = failure_of(data)
    assert failure is FailureClass.CONFIG
    assert "Task failed" not in text
    assert text.startswith("Task: ") == (action != OURS)


@pytest.mark.parametrize(
    ("action", "result", "text"),
    [
        (OURS, {"msg": "not mounted", "invocation": {}}, "not mounted"),
        (OURS, {"msg": "MODULE FAILURE", "rc": 1, "module_stderr": "Killed\n"}, "MODULE FAILURE: Killed"),
        (OURS, {"msg": "interpreter not found", "module_stdout": "", "rc": 127}, "interpreter not found"),
        ("ansible.builtin.fail", {"msg": "no GPU"}, "T: no GPU"),
        (
            "ansible.builtin.command",
            {"msg": "Task failed: Module failed: non-zero return code", "rc": 2, "stderr": "ls: no\nfile"},
            "T: non-zero return code: ls: no file",
        ),
    ],
)
def test_what_fails_on_a_node_is_the_nodes(action: str, result: dict[str, Any], text: str) -> None:
    found = failure_of({"task_action": action, "task": "T", "res": result})
    assert found == (FailureClass.NODE_LOCAL, text)


@pytest.mark.parametrize(
    "message",
    [
        'Task failed: Data could not be sent to remote host "10.0.0.4". Make sure this host can be reached '
        "over ssh: ssh: connect to host 10.0.0.4 port 22: Connection timed out",
        "Failed to connect to the host via ssh: ssh: connect to host 10.0.0.4 port 22: Connection timed out",
    ],
)
def test_ssh_speaks_for_itself(message: str) -> None:
    made, spoken = group("n1")
    made.event(event("runner_on_unreachable", "n1", res={"msg": message}))
    assert spoken[0]["text"] == "unreachable: ssh: connect to host 10.0.0.4 port 22: Connection timed out"


def test_a_strange_host_key_is_named_and_a_long_text_is_cut() -> None:
    made, spoken = group("n1", "n2")
    made.event(
        event("runner_on_unreachable", "n1", res={"msg": "@@\nREMOTE HOST IDENTIFICATION HAS CHANGED!"})
    )
    made.event(event("runner_on_failed", "n2", res={"msg": "x" * 1000, "rc": 1}))
    assert "not the one that the cloud handed out" in spoken[0]["text"]
    assert len(spoken[1]["text"]) == LONGEST


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (
            "\x1b[0;31m[ERROR]: the role 'x' was not found\x1b[0m\nOrigin: node.yml:3",
            "the role 'x' was not found",
        ),
        (
            "ERROR! the playbook: /x/node.yml could not be found\n",
            "the playbook: /x/node.yml could not be found",
        ),
        ("The command was not found or was not executable: ansible-playbook.\n", "The command was not found"),
    ],
)
def test_a_play_that_never_got_to_a_host_is_the_configuration(words: str, why: str) -> None:
    failure, text = play_failure("failed", 1, words, 60, heard=False)
    assert failure is FailureClass.CONFIG
    assert why in text


def test_how_a_play_ended() -> None:
    assert play_failure("successful", 0, "", 60, heard=True)[1] == ""
    assert play_failure("failed", 2, "[ERROR]: of a host", 60, heard=True)[1] == ""
    assert play_failure("timeout", 254, "", 60, heard=True) == (
        FailureClass.NODE_LOCAL,
        "the play was stopped after 60 s",
    )
    assert play_failure("canceled", 254, "", 60, heard=True)[0] is FailureClass.UNKNOWN
