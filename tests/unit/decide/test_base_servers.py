"""Which servers of the base state are named, and when the login node is a new one."""

from typing import Any

import pytest

from slurm_powersave.decide.commands.base_plan import Known
from slurm_powersave.decide.commands.base_servers import makes_login, words

KNOWN = Known(login_id="id-1", login_at="s.login", login_name="demo-login")


def plan(
    *actions: str, kind: str = "localcloud_server", at: str = "s.login", name: str = "demo-login"
) -> Any:
    change = {"actions": list(actions), "before": None, "after": {"name": name}}
    return {"resource_changes": [{"address": at, "type": kind, "change": change}]}


@pytest.mark.parametrize(
    ("content", "found", "new"),
    [
        (plan("no-op"), [], False),
        (
            plan("update"),
            ["server demo-login (the login node; it holds the queue) is changed in place"],
            False,
        ),
        (
            plan("delete", "create"),
            ["server demo-login (the login node; it holds the queue) is replaced"],
            True,
        ),
        (plan("create", at="s.nfs", name="nfs"), ["server nfs is created"], False),
        (plan("delete", at="s.nfs", name="nfs\x1b[2J"), ["server s.nfs is deleted"], False),
        (plan("create", kind="openstack_networking_network_v2", at="n"), [], False),
    ],
)
def test_servers(content: Any, found: list[str], new: bool) -> None:
    assert (words(content, KNOWN), makes_login(content, KNOWN)) == (found, new)


def test_before_the_first_deploy_the_login_node_is_new() -> None:
    assert makes_login({}, Known())
