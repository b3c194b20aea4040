"""Which servers of the base state a plan makes, changes and deletes, in words. Pure.

Format of the JSON: https://developer.hashicorp.com/terraform/internals/json-format
"""

from collections.abc import Iterator, Mapping
from typing import Any

from slurm_powersave.decide.commands.base_plan import Known
from slurm_powersave.model.outside_text import NODE_NAME, matching

_KINDS = ("instance", "server")
"""What is part of the type of every server: openstack_compute_instance_v2, localcloud_server."""
_WORDS = {"create": "is created", "update": "is changed in place", "delete": "is deleted"}


def words(plan: Mapping[str, Any], known: Known) -> list[str]:
    """Say what becomes of each server, by its name; the login node holds the queue."""
    found = []
    for address, name, actions in _servers(plan):
        does = "is replaced" if len(actions) > 1 else _WORDS.get(actions[0], f"gets: {actions[0]}")
        login = address == known.login_at or name == known.login_name
        role = " (the login node; it holds the queue)" if login else ""
        found.append(f"server {name or address}{role} {does}")
    return found


def makes_login(plan: Mapping[str, Any], known: Known) -> bool:
    """Tell whether the login node will be a new one."""
    if not known.login_id:
        return True
    return any("create" in actions and address == known.login_at for address, _, actions in _servers(plan))


def _servers(plan: Mapping[str, Any]) -> Iterator[tuple[str, str, list[str]]]:
    for one in plan.get("resource_changes") or []:
        change = one.get("change") or {}
        actions = [str(action) for action in change.get("actions") or ()]
        kind = str(one.get("type", ""))
        if actions in ([], ["no-op"], ["read"]) or not any(word in kind for word in _KINDS):
            continue
        values = change.get("after") or change.get("before") or {}
        yield str(one.get("address", "")), matching(NODE_NAME, values.get("name")), actions
