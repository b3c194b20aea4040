"""Each cure broken on purpose: the story that it is there for must be told otherwise then."""

from collections.abc import Callable
from typing import Any

import pytest

from slurm_powersave.decide.node import brake, guard
from slurm_powersave.decide.node.guard import Look
from slurm_powersave.decide.node.silence import Standing
from slurm_powersave.engine import sightings
from slurm_powersave.engine.node import dead_jobs
from slurm_powersave.engine.pausing import Pausing
from slurm_powersave.engine.reconcile import silent_servers
from slurm_powersave.engine.reconcile.own_account import OwnAccount
from slurm_powersave.engine.reconcile.silent_servers import Silences
from slurm_powersave.engine.world import World
from slurm_powersave.model.permit import Act, Permit, Row
from tests.unit.engine import test_nothing_destroyed as kept
from tests.unit.engine import test_people as people
from tests.unit.engine import test_silent_servers as silent

Mutation = tuple[object, str, Any]


def says(value: object) -> Callable[..., Any]:
    """Answer this, whatever is asked."""
    return lambda *_, **__: value


def permits(row: Row) -> Callable[..., Permit]:
    """Permit the deletion, whatever is known of the server."""

    def granted(*asked: object) -> Permit:
        (look,) = [one for one in asked if isinstance(one, Look)]
        return look.permit(Act.DELETE, row, "")

    return granted


def forget_what_is_there(name: str, server_id: str, listed: object, reading: int) -> Permit:
    return Permit(Act.VANISHED, server_id, name, Row.GONE, "", (reading,))


def nothing_answers(status: str, answers: bool | None, *, heard: bool = False) -> Standing:
    return Standing.SILENT


def it_is_never_the_network(fell: object, servers: int) -> bool:
    return False


def nothing_was_done(self: Silences, server_id: str, what: Act, since: float) -> bool:
    return False


def the_comment_is_ours(world: World, job: int, text: str) -> None:
    world.slurm.update_job(job, AdminComment=text)


CURES: dict[str, tuple[Mutation, Callable[[], None]]] = {
    "a state forgets only what is gone": (
        (guard, "forget", forget_what_is_there),
        kept.test_a_lost_journal_and_a_shard_that_is_tidied_at_once,
    ),
    "a server is asked first": (
        (OwnAccount, "deletion", permits(Row.OWN)),
        kept.test_a_slurm_that_shows_every_node_as_off_gets_no_server_deleted,
    ),
    "the brake": (
        (brake, "passed", says("")),
        kept.test_five_servers_may_go_on_our_own_account_and_then_a_person_is_asked,
    ),
    "an old server that may run a job": (
        (guard, "delete_before_creation", permits(Row.BEFORE_CREATION)),
        kept.test_an_old_server_that_may_run_a_job_is_not_deleted_for_a_creation,
    ),
    "what an administrator has set": (
        (guard, "state_by_admin", says("")),
        people.test_a_suspend_leaves_a_node_that_somebody_has_drained,
    ),
    "a node in use": (
        (sightings, "is_used", says(False)),
        kept.test_a_node_that_was_used_after_the_call_keeps_its_server_though_it_is_off_now,
    ),
    "a pause": (
        (Pausing, "why", says("")),
        people.test_while_it_is_paused_nothing_new_is_changed_and_nothing_is_lost,
    ),
    "a registration": (
        (guard, "delete_failed_creation", permits(Row.FAILED_CREATION)),
        lambda: kept.test_a_node_that_has_registered_loses_no_server_because_a_creation_failed(("IDLE",)),
    ),
    "min_nodes": (
        (guard, "by_person", says(None)),
        people.test_a_suspend_of_one_of_min_nodes_is_refused_and_by_force_it_comes_back,
    ),
    "a server that answers": (
        (silent_servers, "standing", nothing_answers),
        silent.test_a_server_that_answers_is_named_and_left,
    ),
    "the network": (
        (silent_servers, "is_network", it_is_never_the_network),
        silent.test_when_it_is_over_what_is_left_is_counted_anew,
    ),
    "started again once": (
        (Silences, "_done", nothing_was_done),
        silent.test_a_server_that_comes_and_goes_is_started_once_and_not_replaced,
    ),
    "one look that was answered": (
        (silent_servers, "DEAD", frozenset(Standing)),
        silent.test_one_look_that_was_answered_begins_the_count_anew,
    ),
    "what somebody else has written to a job": (
        (dead_jobs, "comment", the_comment_is_ours),
        silent.test_what_somebody_else_has_written_stays,
    ),
}


@pytest.mark.parametrize("cure", CURES)
def test_it_is_missed(cure: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (where, name, broken), story = CURES[cure]
    story()
    monkeypatch.setattr(where, name, broken)
    with pytest.raises(AssertionError):
        story()
