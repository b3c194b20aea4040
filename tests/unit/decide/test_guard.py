"""The table of evidence: what each row needs, and that nothing else makes a permit."""

import ast
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

import slurm_powersave
from slurm_powersave.decide.node import guard, guard_dead, plan_permits
from slurm_powersave.decide.node.guard import Answer, Look, Refusal
from slurm_powersave.decide.node.silence import DEAD, Silence, Standing
from slurm_powersave.model import permit as permits
from slurm_powersave.model.errors import RefusedError
from slurm_powersave.model.modes import Mode
from slurm_powersave.model.nodes import AdminState, Operation, Server, SlurmJob, SlurmNode
from slurm_powersave.model.permit import Act, Permit, Row
from slurm_powersave.model.seen import Seen
from tests.permits import permit

PACKAGE = Path(slurm_powersave.__file__).parent
OP = Operation("1a2b", "r", "n1", Mode.RESUME, "failing", 0.0, 0.0)
CALLED = Seen(registered=2, used=3, called=5, resumed=1)


def look(
    state: str,
    seen: Seen = CALLED,
    *,
    reason: str = "",
    status: str = "ACTIVE",
    job: str = "",
    steps: bool | None = None,
    tags: tuple[str, ...] = (),
    by: str = "root",
) -> Look:
    """What is known of n1 and its server s1."""
    node = (
        None
        if state == "gone"
        else SlurmNode("n1", frozenset(state.split("+")), reason, by if reason else "")
    )
    jobs = (SlurmJob(7, job, ("n1",)),) if job else ()
    return Look(
        "n1",
        None if state == "gone" else node,
        jobs,
        seen,
        (9, 8),
        Server("s1", "n1", status, tags=frozenset(tags)),
        steps,
    )


def hook(of: Look) -> Answer:
    return guard.delete_by_hook(of)


def before(of: Look) -> Answer:
    return guard.delete_before_creation(of)


def failed(of: Look) -> Answer:
    return guard.delete_failed_creation(of, OP)


def change(of: Look) -> Answer:
    return guard.delete_failed_change(of)


def own(of: Look) -> Answer:
    return guard.delete_on_own_account(of, 900, 900, "")


def person(of: Look) -> Answer:
    return guard.delete_by_person(of, protected=(), force=False)


def forced(of: Look) -> Answer:
    return guard.delete_by_person(of, protected=("n1",), force=True)


def reboot(of: Look) -> Answer:
    return guard.by_reboot(of, Act.REBUILD)


SET_BY_ADMIN = AdminState("n1", "DRAIN", "fan")


def again(of: Look) -> Answer:
    return guard_dead.restart(of, Silence(Standing.SILENT, 300), 300, "")


def given_up(of: Look) -> Answer:
    return guard_dead.give_up(of, Silence(Standing.OFF, 1800), 1800, "")


def dead(of: Look) -> Answer:
    return guard_dead.delete(of, Silence(Standing.SILENT, given_up=True), "")


NR = {"reason": "Not responding", "by": "slurm"}
"""Slurm's own words."""
PUSHED = Seen(registered=2, used=3, pushed=4, called=6)
MADE = ("operation=1a2b",)
NEW = Seen(registered=1, resumed=3)
ALLOWED: list[tuple[Callable[[Look], Answer], Look]] = [
    (hook, look("IDLE+POWERING_DOWN")),
    (hook, look("IDLE+POWERED_DOWN")),
    (hook, look("IDLE+POWERED_DOWN+RESERVED")),
    (hook, look("DOWN+POWERED_DOWN", reason="ResumeTimeout reached", by="slurm")),
    (hook, look("ALLOCATED+POWERING_DOWN", job="COMPLETING")),
    (before, look("ALLOCATED+POWERING_UP", job="CONFIGURING")),
    (before, look("IDLE+POWERING_UP", Seen(registered=5), status="SHUTOFF")),
    (before, look("IDLE+POWERING_UP", Seen(registered=5), status="SOFT_DELETED")),
    (before, look("IDLE+POWERING_UP", Seen(registered=5), steps=False)),
    (failed, look("IDLE+POWERING_UP", NEW, tags=MADE)),
    (failed, look("IDLE+POWERED_DOWN+DRAIN", NEW, tags=MADE, reason="slurm-powersave: (quota) x [op 1a2b]")),
    (failed, look("IDLE+INVALID_REG+DRAIN+POWERED_DOWN", NEW, tags=MADE)),
    (failed, look("gone", NEW, tags=MADE)),
    (change, look("IDLE+POWERING_DOWN", Seen(registered=2, forced=3, called=4))),
    (own, look("IDLE+POWERED_DOWN", steps=False)),
    (own, look("IDLE+POWERED_DOWN", status="SHUTOFF")),
    (person, look("IDLE+POWERING_DOWN")),
    (forced, look("IDLE+DRAIN+POWERED_DOWN", reason="fan")),
    (reboot, look("DOWN+REBOOT_ISSUED")),
    (reboot, look("DOWN+REBOOT_ISSUED+RESERVED")),
    (lambda of: guard.by_reboot(of, Act.REBOOT, admin_state=SET_BY_ADMIN), look("DOWN+REBOOT_ISSUED")),
    (
        lambda of: guard.by_reboot(of, Act.REBUILD, admin_state=SET_BY_ADMIN, force=True),
        look("DOWN+REBOOT_ISSUED"),
    ),
    (again, look("DOWN+NOT_RESPONDING", **NR)),
    (again, look("DOWN+NOT_RESPONDING", **NR, job="PENDING")),
    (given_up, look("DOWN+NOT_RESPONDING", **NR, status="SHUTOFF")),
    (dead, look("IDLE+POWERING_DOWN", PUSHED)),
    (dead, look("DOWN+POWERED_DOWN", PUSHED, **NR)),
]
REFUSED: list[tuple[Callable[[Look], Answer], Look, str]] = [
    (hook, look("gone"), "does not know it"),
    (
        lambda of: guard.by_reboot(of, Act.REBUILD, admin_state=SET_BY_ADMIN),
        look("DOWN+REBOOT_ISSUED"),
        "set DRAIN (fan)",
    ),
    (
        lambda of: guard.by_reboot(of, Act.DELETE, admin_state=SET_BY_ADMIN),
        look("DOWN+REBOOT_ISSUED"),
        "set DRAIN (fan)",
    ),
    (
        lambda of: guard.by_reboot(of, Act.REBUILD, admin_state=SET_BY_ADMIN, force=True),
        look("MIXED+DRAIN+REBOOT_REQUESTED"),
        "no longer reboots it",
    ),
    (hook, look("IDLE+POWERED_DOWN", Seen(registered=2)), "no call"),
    (hook, look("IDLE+POWERED_DOWN", replace(CALLED, used=6)), "in use after"),
    (hook, look("IDLE+POWERED_DOWN", replace(CALLED, pushed=4)), "the engine itself had powered"),
    (hook, look("ALLOCATED+POWER_DOWN"), "in use"),
    (hook, look("ALLOCATED+POWERED_DOWN"), "in use"),
    (hook, look("MIXED"), "in use"),
    (hook, look("IDLE+POWERED_DOWN", job="RUNNING"), "job 7"),
    (hook, look("IDLE+POWERED_DOWN", job="SUSPENDED"), "job 7"),
    (hook, look("IDLE"), "does not power it down"),
    (hook, look("IDLE+POWER_DOWN"), "does not power it down"),
    (hook, look("DOWN", reason="Not responding", by="slurm"), "does not power it down"),
    (hook, look("IDLE+COMPLETING+POWERING_DOWN"), "completing"),
    (hook, look("IDLE+DRAIN+POWERED_DOWN", reason="fan"), "kept: DRAIN was set by root (fan)"),
    (before, look("IDLE+POWERED_DOWN"), "does not wait"),
    (before, look("IDLE+POWERING_UP", Seen(registered=5)), "can't be asked whether a job runs"),
    (before, look("IDLE+POWERING_UP", Seen(registered=5), steps=True), "says that a job runs"),
    (before, look("IDLE+POWERING_UP", Seen(registered=5), status="ERROR"), "can't be asked"),
    (before, look("IDLE+POWERING_UP", Seen(registered=6, called=5)), "can't be asked"),
    (failed, look("IDLE+POWERING_UP", NEW), "not made for"),
    (failed, look("IDLE+POWERING_UP", NEW, tags=("operation=1a2b3",)), "not made for"),
    (failed, look("IDLE+POWERING_UP", Seen(registered=3, resumed=3), tags=MADE), "may have registered"),
    (failed, look("IDLE", NEW, tags=MADE), "has registered"),
    (failed, look("DOWN+NOT_RESPONDING", NEW, tags=MADE), "has registered"),
    (change, look("IDLE+POWERING_DOWN", Seen(registered=2, called=4)), "not called"),
    (change, look("IDLE+POWERING_DOWN", Seen(registered=2, forced=5, called=4)), "not called"),
    (change, look("ALLOCATED", Seen(registered=2, forced=3, called=4)), "in use"),
    (change, look("IDLE+POWERING_DOWN", Seen(registered=2, forced=3, resumed=4, called=5)), "failed before"),
    (change, look("IDLE+COMPLETING+POWERING_DOWN", Seen(registered=2, forced=3, called=4)), "completing"),
    (own, look("IDLE+POWERED_DOWN"), "can't be asked"),
    (own, look("IDLE+POWERED_DOWN", steps=True), "a job runs there"),
    (own, look("IDLE+POWERED_DOWN", status="ERROR"), "can't be asked"),
    (own, look("IDLE+POWERING_DOWN", steps=False), "not POWERED_DOWN"),
    (own, look("ALLOCATED+POWERED_DOWN", steps=False), "in use"),
    (own, look("IDLE+COMPLETING+POWERED_DOWN", steps=False), "completing"),
    (own, look("IDLE+DRAIN+POWERED_DOWN", reason="fan", steps=False), "kept"),
    (person, look("ALLOCATED+POWER_DOWN"), "in use"),
    (person, look("IDLE+DRAIN+POWERED_DOWN", reason="fan"), "fan"),
    (forced, look("ALLOCATED+POWER_DOWN"), "in use"),
    (forced, look("IDLE"), "does not power it down"),
    (forced, look("IDLE+COMPLETING+POWERING_DOWN"), "completing"),
    (reboot, look("DOWN"), "no longer reboots"),
    (reboot, look("ALLOCATED+REBOOT_REQUESTED+DRAIN"), "no longer reboots"),
    (reboot, look("gone"), "no longer reboots"),
    (reboot, look("DOWN+COMPLETING+REBOOT_ISSUED"), "completing"),
    (again, look("gone"), "does not show it DOWN"),
    (again, look("IDLE+NOT_RESPONDING"), "does not show it DOWN"),
    (again, look("ALLOCATED+NOT_RESPONDING"), "does not show it DOWN"),
    (again, look("DOWN+NOT_RESPONDING", reason="fan"), "does not show it DOWN"),
    (again, look("DOWN+REBOOT_ISSUED", **NR), "does not show it DOWN"),
    (again, look("DOWN+NOT_RESPONDING", **NR, job="RUNNING"), "job 7"),
    (again, look("DOWN+NOT_RESPONDING", **NR, job="COMPLETING"), "job 7"),
    (given_up, look("DOWN+DRAIN+NOT_RESPONDING", **NR), "a person's"),
    (given_up, look("DOWN+NOT_RESPONDING+MAINTENANCE", **NR), "a person's"),
    (given_up, look("DOWN+NOT_RESPONDING+RESERVED", **NR), "a person's"),
    (dead, look("DOWN+NOT_RESPONDING", PUSHED, **NR), "does not power it down"),
    (dead, look("IDLE+POWERING_DOWN", replace(PUSHED, registered=7)), "did not have it powered down"),
    (dead, look("IDLE+POWERING_DOWN", replace(PUSHED, resumed=7)), "did not have it powered down"),
    (dead, look("ALLOCATED+POWERED_DOWN", PUSHED), "in use"),
    (dead, look("IDLE+DRAIN+POWERED_DOWN", PUSHED, reason="fan"), "kept"),
]


@pytest.mark.parametrize(("row", "of"), ALLOWED, ids=lambda one: getattr(one, "__name__", None) or one.flags)
def test_what_the_table_allows(row: Callable[[Look], Answer], of: Look) -> None:
    answer = row(of)
    assert isinstance(answer, Permit), answer
    assert (answer.subject, answer.node, answer.readings) == ("s1", "n1", (9, 8))


@pytest.mark.parametrize(
    ("row", "of", "why"),
    REFUSED,
    ids=lambda one: one if isinstance(one, str) else getattr(one, "__name__", None) or one.flags,
)
def test_what_it_does_not(row: Callable[[Look], Answer], of: Look, why: str) -> None:
    answer = row(of)
    assert isinstance(answer, Refusal) and why in answer.why, answer


def test_the_brake_and_the_quarter_of_an_hour() -> None:
    of = look("IDLE+POWERED_DOWN", steps=False)
    early, braked = (
        guard.delete_on_own_account(of, 899, 900, ""),
        guard.delete_on_own_account(of, 901, 900, "5"),
    )
    assert isinstance(early, Refusal) and early.waits and "899 s of 900" in early.why
    assert isinstance(braked, Refusal) and braked.waits and "brake" in braked.why


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (Silence(Standing.ANSWERS, 9999), "answers SSH"),
        (Silence(Standing.RESCUED, 9999), "rescue"),
        (Silence(Standing.ERROR, 9999), "ERROR"),
        (Silence(Standing.CHANGING, 9999), "being changed"),
        (Silence(Standing.UNKNOWN, 9999), "not looked at"),
        (Silence(Standing.SILENT, 9999, network=True), "network"),
        (Silence(Standing.OFF, 9999, network=True), "network"),
        (Silence(Standing.SILENT, 299), "299 s of 300"),
    ],
)
def test_a_server_that_is_not_dead_or_not_for_long(found: Silence, why: str) -> None:
    of = look("DOWN+NOT_RESPONDING", **NR)
    for rule in (guard_dead.restart, guard_dead.give_up):
        answer = rule(of, found, 300, "")
        assert isinstance(answer, Refusal) and answer.waits and why in answer.why


def test_a_dead_server_is_started_again_once_and_the_brake_holds_all_three() -> None:
    of, found = look("DOWN+NOT_RESPONDING", **NR), Silence(Standing.PUT_AWAY, 9999, restarted=True)
    once = guard_dead.restart(of, found, 300, "")
    assert isinstance(once, Refusal) and "24 hours" in once.why and not once.waits
    assert isinstance(guard_dead.give_up(of, found, 300, ""), Permit)
    braked = (
        guard_dead.restart(of, replace(found, restarted=False), 300, "5"),
        guard_dead.give_up(of, found, 300, "5"),
        guard_dead.delete(look("IDLE+POWERING_DOWN", PUSHED), replace(found, given_up=True), "5"),
    )
    assert all(isinstance(one, Refusal) and one.waits and "brake" in one.why for one in braked)


@pytest.mark.parametrize("standing", [one for one in Standing if one not in DEAD])
def test_one_that_was_given_up_and_is_no_longer_dead_is_kept(standing: Standing) -> None:
    answer = guard_dead.delete(look("IDLE+POWERING_DOWN", PUSHED), Silence(standing, given_up=True), "")
    assert isinstance(answer, Refusal) and answer.waits
    never = guard_dead.delete(look("IDLE+POWERING_DOWN", PUSHED), Silence(Standing.OFF), "")
    assert isinstance(never, Refusal) and not never.waits


def test_what_a_state_may_forget() -> None:
    assert isinstance(guard.forget("n1", "s1", {"s2"}, 3), Permit)
    assert isinstance(guard.forget("n1", "s1", {"s1"}, 3), Refusal)
    unread = guard.forget("n1", "s1", None, 3)
    assert isinstance(unread, Refusal) and unread.waits


# Permits


def test_a_permit_is_for_one_act_on_one_thing_once() -> None:
    one = permit(Act.DELETE, "s1")
    for act, subject in ((Act.REBOOT, "s1"), (Act.DELETE, "s2")):
        with pytest.raises(RefusedError, match="no permit"):
            one.use(act, subject)
    one.use(Act.DELETE, "s1")
    with pytest.raises(RefusedError, match="used before"):
        one.use(Act.DELETE, "s1")


def test_an_old_permit_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    one = permit(Act.DELETE, "s1")
    later = one.issued + permits.LIFE + 1
    monkeypatch.setattr("time.monotonic", lambda: later)
    with pytest.raises(RefusedError, match="older than"):
        one.use(Act.DELETE, "s1")


def plan(*changes: tuple[list[str], str]) -> dict[str, object]:
    return {"resource_changes": [{"change": {"actions": a, "before": {"id": one}}} for a, one in changes]}


@pytest.mark.parametrize(
    "actions", [["delete"], ["delete", "create"], ["create", "delete"], ["forget"], ["?"]]
)
def test_each_server_that_a_plan_destroys_needs_its_permit(actions: list[str]) -> None:
    for given in ([], [permit("rebuild", "s1")], [permit("delete", "s2")]):
        with pytest.raises(RefusedError):
            plan_permits.use(plan((actions, "s1")), given)
    plan_permits.use(plan((actions, "s1"), (["no-op"], "s3")), [permit("delete", "s1")])


def test_a_change_in_place_needs_a_permit_to_rebuild_or_resize() -> None:
    for act in ("rebuild", "resize"):
        plan_permits.use(plan((["update"], "s1")), [permit(act, "s1")])
    with pytest.raises(RefusedError):
        plan_permits.use(plan((["update"], "s1")), [permit("reboot", "s1")])


def test_only_the_guard_makes_permits() -> None:
    """Nor does anything else copy one, or make its readings up."""
    made = {"Permit": set(), "permit": set()}
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and (name := ast.unparse(node.func).split(".")[-1]) in made:
                made[name].add(str(path.relative_to(PACKAGE)))
    assert made == {
        "Permit": {"decide/node/guard.py"},
        "permit": {"decide/node/guard.py", "decide/node/guard_dead.py"},
    }


DESTROYING = {"delete": 2, "rebuild": 3, "resize": 3, "reboot": 2, "stop_server": 2}


def test_every_destroying_call_hands_a_permit_on() -> None:
    """By its number of arguments: a method of a cloud with these names takes the server's id and a permit."""
    paths = [path for layer in ("engine", "commands", "surfaces") for path in (PACKAGE / layer).rglob("*.py")]
    assert len(paths) > 80
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                owner, name = ast.unparse(node.func.value), node.func.attr
                if name in DESTROYING and ("cloud" in owner):
                    assert len(node.args) == DESTROYING[name], f"{path.name}:{node.lineno}"


def test_the_rows_have_names_that_a_history_can_show() -> None:
    assert len(set(Row)) == len(Row) and all(row == row.strip() for row in Row)
