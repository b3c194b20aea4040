"""What `deploy` may do to what exists: tables of plans, and of what Slurm says."""

import copy
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import yaml

from slurm_powersave.decide.commands.base_plan import Known, losses, refuse_losses
from slurm_powersave.decide.commands.lost_jobs import question, refuse_jobs, refuse_queue
from slurm_powersave.model.errors import RefusedError
from slurm_powersave.model.nodes import SlurmJob, SlurmSnapshot

TABLES = Path(__file__).parents[2] / "cases"
TABLE = yaml.safe_load((TABLES / "base_plan.yml").read_text())
JOBS = yaml.safe_load((TABLES / "replace_login.yml").read_text())
WANTED = {"login.address": "10.0.0.99", "login.flavor": "m2", "clouds.os.settings.cidr": "10.9.0.0/16"}


def known(serving: bool = True, lost: bool = False) -> Known:
    """What is known of a deployed cluster."""
    return Known(
        login_id="id-login",
        login_at="" if lost else "cloud_server.login",
        login_name="demo-login",
        login_ip="10.0.0.10",
        nodes=frozenset({"demo-1", "demo-2", "demo-3"}),
        servers=frozenset({"id-of-a-node"}),
        wanted=WANTED,
        serving=serving,
    )


def planned(change: dict[str, Any]) -> dict[str, Any]:
    """A change as `terraform show -json` words it."""
    rest = copy.deepcopy(change)
    thing = copy.deepcopy(TABLE["things"][rest.pop("of", "login")])
    before = rest.pop("before", thing["before"])
    actions, new = rest.pop("actions"), rest.pop("set", {})
    after = None if actions == ["delete"] else (before or {}) | new
    inner = {"actions": actions, "before": before, "after": after}
    for key in ("after_unknown", "after_sensitive", "before_sensitive", "replace_paths"):
        if key in rest:
            inner[key] = rest.pop(key)
    return {"address": thing["address"], "mode": "managed", "type": "cloud", **rest, "change": inner}


def plan(case: dict[str, Any]) -> dict[str, Any]:
    """A plan of a case of the table."""
    changes = [planned(case["change"])] if "change" in case else []
    if case.get("and login"):
        changes.append(planned({"actions": ["delete", "create"], "action_reason": "replace_by_request"}))
    whole: dict[str, Any] = {"format_version": "1.2", "resource_changes": changes}
    if case.get("lost"):
        references = ["var.login.address", "cloud_server.login.id", "cloud_server.login", "cloud_ip.login.id"]
        outputs = {"login": {"expression": {"references": references}}}
        whole["configuration"] = {"root_module": {"outputs": outputs}}
    return whole | dict(case.get("plan", {}))


@pytest.mark.parametrize("case", TABLE["cases"], ids=lambda case: case["name"])
def test_a_plan_of_the_base_state(case: dict[str, Any]) -> None:
    about = known(case.get("serving", True), case.get("lost", False))
    found = losses(plan(case), about, replace_login=case.get("replace", False))
    if "refused" not in case:
        assert found == []
        return
    with pytest.raises(RefusedError) as refused:
        refuse_losses(found, "state/terraform/base")
    for word in case["refused"]:
        assert word in str(refused.value)


def test_every_thing_is_named_once() -> None:
    two = [
        planned({"of": thing, "actions": ["delete", "create"], "replace_paths": [["name"]]})
        for thing in ("login", "network", "subnet", "volume")
    ]
    found = losses({"format_version": "1.2", "resource_changes": two}, known())
    assert [loss.address for loss in found] == [change["address"] for change in two]
    with pytest.raises(RefusedError) as refused:
        refuse_losses(found, "base")
    text = str(refused.value)
    assert all(change["address"] in text for change in two)
    assert text.count("teardown") == 1, "the same advice is given once"


def test_nothing_to_refuse() -> None:
    refuse_losses([], "base")


def test_a_first_deploy_creates() -> None:
    login = planned({"of": "login", "before": None, "actions": ["create"]})
    assert losses({"format_version": "1.2", "resource_changes": [login]}, Known()) == []


@pytest.mark.parametrize("odd", [None, "x", [], 3])
def test_what_is_no_change_is_no_reason_to_go_on(odd: object) -> None:
    assert losses({"format_version": "1.2", "resource_changes": [odd]}, known())
    assert losses({"format_version": "1.2", "resource_changes": [{"change": odd}]}, known())


@pytest.mark.parametrize("case", JOBS, ids=str)
def test_whether_the_login_node_may_be_replaced(case: dict[str, Any]) -> None:
    jobs = tuple(SlurmJob(number, state) for number, state in case.get("jobs", {}).items())
    snapshot = SlurmSnapshot(0.0, {}, jobs, frozenset(case.get("unreadable", ())))
    asked = case.get("asked", True)

    def lost() -> str:
        return refuse_jobs(
            snapshot if asked else None,
            name="demo-login",
            why="" if asked else "no route to host",
            force=case.get("force", False),
        )

    if "refused" in case:
        with pytest.raises(RefusedError) as refused:
            lost()
        text, words = str(refused.value), case["refused"]
    else:
        text, words = lost(), case.get("lost", ())
        assert bool(text) == bool(words)
    assert [word for word in words if word not in text] == []


@pytest.mark.parametrize("waiting", [0, 1, 12, None])
@pytest.mark.parametrize("unasked", [False, True])
@pytest.mark.parametrize("discard", [False, True])
@pytest.mark.parametrize("force", [False, True])
def test_yes_does_not_cover_queued_jobs(
    waiting: int | None, unasked: bool, discard: bool, force: bool
) -> None:
    covered = not unasked or discard or waiting == 0 or (force and waiting is None)
    text = "can't be asked" if waiting is None else rf"{waiting} jobs? (is|are) queued"
    refusal = pytest.raises(RefusedError, match=rf"{text}(.|\n)*--discard-queue")
    with nullcontext() if covered else refusal:
        refuse_queue(waiting, unasked=unasked, discard=discard, force=force)


def test_the_question_counts_them() -> None:
    assert question(0) == "Delete all of this?"
    assert question(1).startswith("1 job is queued") and question(12).startswith("12 jobs are queued")
    assert "can't be asked" in question(None)
