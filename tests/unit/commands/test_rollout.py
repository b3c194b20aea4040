"""`reimage --outdated` on the in-memory world."""

from dataclasses import replace

from slurm_powersave.decide.node.rollout import Standing
from slurm_powersave.model import phases
from slurm_powersave.model.nodes import Flavor
from tests.permits import permits
from tests.unit.commands.rollout_stories import go, images, outdated, rollout
from tests.unit.engine.checks import assert_at_rest, servers
from tests.unit.engine.reboot_stories import ask, boots, ready, repool
from tests.unit.engine.stories import up


def test_all_go_two_at_a_time_and_nothing_else_changes() -> None:
    world = outdated(6)
    ids = servers(world)
    run = rollout(world, max_unavailable=2)
    assert run.progress().text() == "0 of 6 done, 0 under way"
    assert go(world, run) == 2
    assert set(images(world).values()) == {"other"} and servers(world) == ids
    assert run.progress().text() == "6 of 6 done, 0 under way"
    assert not run.failures and not world.journal.node_records()["n1"].by_hand
    assert_at_rest(world)
    before = boots(world)
    again = rollout(world)
    assert go(world, again) == 0 and again.progress().total == 0
    assert boots(world) == before


def test_without_a_number_it_is_one_of_four() -> None:
    world = outdated(4)
    assert go(world, rollout(world)) == 1


def test_a_busy_node_comes_last_and_keeps_its_job() -> None:
    world = outdated(3)
    job = world.slurm.submit("n1")
    before = boots(world)["n1"]
    run = rollout(world, max_unavailable=1)
    assert [one.node for one in run.of(Standing.BUSY)] == ["n1"]
    for _ in range(120):
        run.step()
        world.run(0.5)
    assert run.waiting == ["n1"] and not run.ended
    assert run.progress().text() == "2 of 3 done, 0 under way, 1 waits for its jobs"
    assert boots(world)["n1"] == before and world.slurm.jobs[job].nodes == ("n1",)
    world.slurm.end(job)
    go(world, run)
    assert set(images(world).values()) == {"other"}


def test_it_goes_on_after_an_interruption() -> None:
    world = outdated(4)
    first = rollout(world, max_unavailable=2)
    first.step()
    world.run(3)
    first.step()
    asked = {op.node for op in first.followed.values()}
    assert asked == {"n1", "n2"} and not first.ended
    second = rollout(world, max_unavailable=2)  # at once: the first two are still under way
    assert [one.node for one in second.of(Standing.UNDER_WAY)] == ["n1", "n2"]
    assert go(world, second) == 2
    assert second.progress().done == second.progress().total == 4
    assert (
        len(
            {op.id for op in world.journal.history(limit=100) if op.mode == "reboot" and op.outcome == "done"}
        )
        == 4
    )


def test_a_request_that_the_engine_has_not_taken_up_counts() -> None:
    world = outdated(3)
    rollout(world, max_unavailable=1).step()
    second = rollout(world, max_unavailable=1)
    second.step()
    assert len(world.journal.unplanned_requests()) == 1
    go(world, second)
    assert set(images(world).values()) == {"other"}


def test_it_stops_after_a_failure() -> None:
    world = outdated(4)
    world.cloud.failed_changes["n1"] = "No valid host was found"
    run = rollout(world, max_unavailable=1)
    go(world, run)
    assert [(op.node, op.outcome) for op in run.failures] == [("n1", phases.FAILED)]
    assert run.left == ["n2", "n3", "n4"]
    assert {node: found for node, found in images(world).items() if node != "n1"} == dict.fromkeys(
        ["n2", "n3", "n4"], "default"
    )


def test_more_failures_may_be_allowed() -> None:
    world = outdated(4)
    world.cloud.failed_changes["n1"] = "No valid host was found"
    run = rollout(world, max_unavailable=1, max_failures=2)
    go(world, run)
    assert run.progress().text() == "3 of 4 done, 0 under way, 1 failed"


def test_an_image_that_does_not_exist_touches_nothing() -> None:
    world = ready(3)
    repool(world, image="typo")
    before = boots(world)
    run = rollout(world, max_unavailable=1)
    go(world, run)
    assert [(op.node, op.outcome) for op in run.failures] == [("n1", phases.REFUSED)]
    assert boots(world) == before and not world.slurm.node("n1").has("DRAIN")


def test_a_stop_does_not_wait_for_jobs() -> None:
    world = outdated(3)
    world.slurm.submit("n3")
    world.cloud.failed_changes["n1"] = "No valid host was found"
    run = rollout(world, max_unavailable=3)
    go(world, run)
    assert run.waiting == ["n3"] and images(world)["n2"] == "other"


def test_powered_down_and_set_aside_nodes_are_skipped() -> None:
    world = outdated(4)
    world.slurm.suspend("n2")
    world.settle(60)
    world.run(30)
    world.slurm.update_nodes(["n3"], state="DRAIN", reason="bad DIMM", permits=permits("DRAIN", ["n3"]))
    before = boots(world)["n3"]
    run = rollout(world, max_unavailable=4)
    assert [one.node for one in run.of(Standing.OFF)] == ["n2"]
    assert [(one.node, "bad DIMM" in one.why) for one in run.of(Standing.SKIPPED)] == [("n3", True)]
    go(world, run)
    assert images(world) == {"n1": "other", "n3": "default", "n4": "other"}
    assert boots(world)["n3"] == before and world.slurm.node("n3").has("DRAIN")
    up(world, "n2")
    assert images(world)["n2"] == "other"


def test_a_node_that_is_suspended_meanwhile_is_not_waited_for() -> None:
    world = outdated(2)
    run = rollout(world, max_unavailable=1)
    run.step()
    world.slurm.suspend("n2")
    go(world, run)
    assert [one.node for one in run.of(Standing.OFF)] == ["n2"]
    assert images(world)["n1"] == "other"


def test_a_reboot_that_is_called_off_is_told_and_not_asked_for_again() -> None:
    world = outdated(1)
    world.slurm.submit("n1")
    run = rollout(world)
    run.step()
    world.run(5)
    world.slurm.set_flags("n1", "ALLOCATED", "CLOUD")
    go(world, run)
    assert [op.node for op in run.called_off] == ["n1"]


def test_slurm_unreadable_asks_for_nothing() -> None:
    world = outdated(2)
    run = rollout(world, max_unavailable=2)
    world.slurm.unreachable = "no answer"
    run.step()
    world.run(5)
    run.step()
    assert run.slurm_error and not run.followed and not run.ended
    world.slurm.unreachable = ""
    go(world, run)
    assert set(images(world).values()) == {"other"}


def test_an_override_is_known_until_the_server_is_made_anew() -> None:
    world = ready(2)
    ask(world, "n1", "reimage image=other")
    ask(world, "n2", "reimage image=other replace")
    records = world.journal.node_records()
    assert records["n1"].by_hand == records["n2"].by_hand == {"image"}
    assert ask(world, "n1", "reimage").outcome == phases.DONE
    world.slurm.suspend("n2")
    world.settle(60)
    world.run(30)
    up(world, "n2")
    records = world.journal.node_records()
    assert not records["n1"].by_hand and not records["n2"].by_hand
    assert set(images(world).values()) == {"default"}


def test_back_to_the_old_image() -> None:
    world = outdated(2)
    go(world, rollout(world, max_unavailable=2))
    repool(world, image="default")
    go(world, rollout(world, max_unavailable=2))
    assert set(images(world).values()) == {"default"}
    assert_at_rest(world)


def test_a_node_whose_flavor_is_lost_is_named_and_the_others_go() -> None:
    world = outdated(3)
    record = world.journal.node_records()["n2"]
    world.journal.save_node(replace(record, node=replace(record.node, flavor_id="f-0")))
    sizes = {"mem": {"small": Flavor("small", 1, 1000, id="f-1")}}
    run = rollout(world, sizes=sizes)
    (skipped,) = run.of(Standing.SKIPPED)
    assert skipped.node == "n2" and "made anew" in skipped.why and "reimage n2 --replace" in skipped.why
    assert rollout(world, sizes=sizes, replace=True).of(Standing.SKIPPED) == []
    go(world, run)
    assert images(world) == {"n1": "other", "n2": "default", "n3": "other"} and not run.failures
