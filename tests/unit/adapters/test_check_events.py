"""Events of a play in check mode: what counts, and what a host may not make of them."""

from typing import Any

import pytest

from slurm_powersave.adapters.ansible.check_events import CheckEvents
from slurm_powersave.decide.commands.play_plan import FileChange, HostPlan, PlayPlan, file_change

CONF = "/etc/slurm/slurm.conf"


def event(module: str, kind: str = "runner_on_ok", host: str = "demo-1", task: str = "", **res: Any) -> Any:
    data = {"host": host, "task_action": module, "task": task, "res": res}
    return {"event": kind, "event_data": data}


def diff(path: str = CONF, before: object = "a\n", after: object = "b\n") -> dict[str, object]:
    return {"before": before, "after": after, "before_header": path, "after_header": path}


def told(*events: Any) -> PlayPlan:
    found = CheckEvents()
    for one in events:
        found.event(one)
    return found.plan


def test_a_node_gets_files_and_its_slurmd_restarts() -> None:
    changes = [
        "stop slurmd",
        f"write {CONF}",
        "start slurmd",
        "hostname demo-1",
        "write /etc/munge/munge.key",
    ]
    plan = told(event("slurm_host", changed=True, changes=changes, diff=[diff()]))
    assert plan.hosts["demo-1"] == HostPlan(
        {CONF: file_change(CONF, "a\n", "b\n"), "/etc/munge/munge.key": FileChange()},
        {"slurmd": "restarts"},
        ("hostname demo-1",),
    ), "a file whose content is secret is named without one"


@pytest.mark.parametrize(
    ("act", "does"), [("reconfigure", "reconfigures"), ("restart", "restarts"), ("start", "starts")]
)
def test_what_slurmctld_does(act: str, does: str) -> None:
    plan = told(event("slurm_conf", changed=True, acts=[act], diff=[diff()]))
    assert plan.hosts["demo-1"].daemons == {"slurmctld": does} and plan.does("slurmctld") == does


def test_modules_of_ansible() -> None:
    plan = told(
        event("ansible.builtin.template", changed=True, diff=[diff("/etc/exports.d/x")], mode="0644"),
        event("ansible.builtin.copy", changed=True, diff=[diff("/root/key")], mode="0600"),
        event("ansible.builtin.systemd_service", changed=True, name="nfs-server"),
        event("ansible.builtin.package", changed=True, task="packages : Install the packages"),
    )
    one = plan.hosts["demo-1"]
    assert one.files == {
        "/etc/exports.d/x": file_change("/etc/exports.d/x", "a\n", "b\n"),
        "/root/key": FileChange(),
    }
    assert one.daemons == {"nfs-server": "restarts"} and one.others == ("Install the packages",)


def test_what_is_right_leaves_the_host_as_looked_at() -> None:
    plan = told(event("slurm_host", changed=False, changes=[]))
    assert plan.nothing and plan.whole and plan.hosts == {"demo-1": HostPlan()}


def test_our_own_look_refuses_and_other_failures_only_hide_what_follows() -> None:
    plan = told(
        event("leaving_nodes", "runner_on_failed", host="demo-login", msg="Nothing was changed: in use"),
        event("slurm_host", "runner_on_failed", msg="munge is not installed here", invocation={}),
        event("slurm_host", "runner_on_unreachable", host="demo-2", msg="no route"),
        event("command", "runner_on_failed", host="demo-3", msg="x", rc=1) | {},
    )
    assert plan.refused == "demo-login: Nothing was changed: in use"
    assert plan.hosts["demo-1"].unread == "munge is not installed here"
    assert plan.hosts["demo-2"].unread == "it does not answer over SSH" and not plan.whole


@pytest.mark.parametrize(
    "said",
    [
        {"changes": [f"write {CONF}\x1b[2J", "start x\nstop y", {"a": 1}, 7]},
        {"changes": "no list", "diff": 7},
        {"diff": [{"before": {"path": "x"}, "after": 1, "before_header": CONF}, "x"]},
        {"diff": [diff("/etc/\x1b[2J")]},
        {"results": "x", "acts": {"a": 1}},
    ],
)
def test_what_a_host_makes_up_is_no_path_and_no_daemon(said: dict[str, Any]) -> None:
    one = told(event("slurm_host", changed=True, task="role : Configure it", **said)).hosts["demo-1"]
    assert not one.files and not one.daemons and one.others == ("Configure it",)


def test_a_host_that_never_ends_is_bounded() -> None:
    changes = [f"write /x/{n}" for n in range(5000)]
    plan = told(
        event("slurm_host", changed=True, changes=changes, diff=[diff(f"/y/{n}") for n in range(5000)])
    )
    assert len(plan.hosts["demo-1"].files) == 200
    assert not told(event("slurm_host", host="\x1b[2J", changed=True, changes=["start slurmd"])).hosts
