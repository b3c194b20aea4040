"""Which servers a Terraform plan destroys or changes, and whether each has its permit. Pure.

The plan guard checks that a plan is what was asked for; this module checks that the guard has allowed it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from slurm_powersave.model.errors import RefusedError
from slurm_powersave.model.permit import Act, Permit


def destroyed(plan: Mapping[str, Any]) -> list[str]:
    """Return the ids of all objects that a plan deletes or replaces, of whatever kind."""
    found = []
    for change in plan.get("resource_changes") or []:
        if change.get("mode") != "data" and "delete" in change.get("change", {}).get("actions", ()):
            found.append(str((change["change"].get("before") or {}).get("id", change.get("address"))))
    return found


_CHANGES = (Act.REBUILD, Act.RESIZE)


def use(plan: Mapping[str, Any], permits: Sequence[Permit]) -> None:
    """Use up the permit of each server that a plan deletes, replaces or changes.

    Args:
        plan: the JSON of `terraform show -json PLAN`.
        permits: what the guard has allowed.

    Raises:
        RefusedError: a server has no permit that holds.
    """
    given = {permit.subject: permit for permit in permits}
    for change in plan.get("resource_changes") or []:
        actions = set(change.get("change", {}).get("actions", ["?"]))
        if change.get("mode") == "data" or actions <= {"no-op", "create"}:
            continue
        server_id = str((change["change"].get("before") or {}).get("id", ""))
        permit = given.get(server_id)
        if permit is None:
            raise RefusedError(
                f"no permit for {'/'.join(sorted(actions))} of {server_id or change.get('address')}"
            )
        wanted = permit.act if actions == {"update"} and permit.act in _CHANGES else Act.DELETE
        permit.use(wanted, server_id)
