"""Reboot requests on the in-memory world: reboot, reimage, resize, replace, refusals, failures."""

import pytest

from slurm_powersave.model import phases
from slurm_powersave.model.errors import FailureClass
from slurm_powersave.model.modes import Mode
from slurm_powersave.model.nodes import Request
from slurm_powersave.testing.world import MemoryWorld
from tests.permits import permit, permits
from tests.unit.engine.checks import assert_at_rest, assert_one_outcome_each, operations, servers
from tests.unit.engine.reboot_stories import ROOMY, ask, boots, image, lose_flavor, ready, repool
from tests.unit.engine.stories import run_until, up


def test_a_true_reboot_boots_the_same_server_and_no_other() -> None:
    world = ready()
    before, ids = boots(world), servers(world)
    world.slurm.reboot(["n1"], reason="reboot")
    world.run(1)
    world.settle(100)
    op = operations(world, "n1")[-1]
    assert (op.action, op.outcome) == ("reboot", phases.DONE)
    assert servers(world) == ids
    assert {name for name, boot in boots(world).items() if boot != before[name]} == {"n1"}
    assert world.slurm.node("n1").up and not world.slurm.node("n1").has("DRAIN")
    assert world.journal.node_records()["n1"].boot_id == world.cloud.boot_id("n1")
    assert_at_rest(world)


def test_a_reimage_keeps_id_and_address_and_moves_the_record() -> None:
    world = ready()
    ids = servers(world)
    op = ask(world, "n2", "reimage image=other")
    assert (op.action, op.target, op.outcome) == ("reimage", "other", phases.DONE)
    assert [phase.phase for phase in op.phases] == [
        "asking", "draining", "checking", "update-queued", "update-planning", "updating",
        "booting", "configuring", "registering", "done",
    ]  # fmt: skip
    assert servers(world) == ids
    assert image(world, "n2") == ("other", "small")
    assert world.journal.node_records()["n2"].node.image == "other"
    assert world.journal.node_records()["n2"].node.image_id == world.cloud.ids["other"]
    assert image(world, "n1") == ("default", "small")
    assert_at_rest(world)


def test_the_same_image_again_is_done_by_the_servers_id() -> None:
    world = ready()
    before = boots(world)["n1"]
    op = ask(world, "n1", "reimage")
    assert op.outcome == phases.DONE and "updating" not in [phase.phase for phase in op.phases]
    assert boots(world)["n1"] != before
    assert_at_rest(world)


def test_a_new_image_of_the_pool_changes_nothing_until_a_node_is_rebooted() -> None:
    world = ready()
    before = boots(world)
    repool(world, image="other")
    world.slurm.submit("n1")
    world.run(60)
    assert boots(world) == before
    assert ask(world, "n2", "patches").action == "reimage"
    assert image(world, "n2") == ("other", "small")
    assert {name for name, boot in boots(world).items() if boot != before[name]} == {"n2"}


def test_a_resize_changes_the_flavor_until_the_node_is_made_anew() -> None:
    world = ready(2, **ROOMY)
    assert ask(world, "n1", "resize flavor=large").outcome == phases.DONE
    assert image(world, "n1") == ("default", "large")
    world.slurm.suspend("n1")
    world.settle(60)
    world.run(30)
    up(world, "n1")
    assert image(world, "n1") == ("default", "small")
    assert_one_outcome_each(world)


def test_replace_gives_a_new_server_with_the_same_address() -> None:
    world = ready()
    (old,) = servers(world)["n1"]
    address = world.journal.node_records()["n1"].node.address
    assert ask(world, "n1", "reimage image=other replace").outcome == phases.DONE
    (new,) = servers(world)["n1"]
    assert new != old and image(world, "n1") == ("other", "small")
    assert world.journal.node_records()["n1"].node.address == address
    assert_at_rest(world)


@pytest.mark.parametrize("words", ["reimage image=none", "resize flavor=none", "resize"])
def test_what_can_not_be_done_is_refused_before_anything_is_touched(words: str) -> None:
    world = ready()
    before = boots(world)
    world.slurm.reboot(["n1"], reason=words)
    world.run(1)
    world.settle(60)
    world.run(2)  # Slurm pings what was resumed
    node, op = world.slurm.node("n1"), operations(world, "n1")[-1]
    assert op.outcome == phases.REFUSED and op.text
    assert node.up and not node.has("DRAIN", "REBOOT_ISSUED")
    assert node.comment.startswith("slurm-powersave: refused") and op.id in node.comment
    assert boots(world) == before
    assert ask(world, "n1", words).outcome == phases.REFUSED
    assert not world.slurm.node("n1").has("REBOOT_REQUESTED", "REBOOT_ISSUED")
    assert ask(world, "n1", "reboot").outcome == phases.DONE
    assert world.slurm.node("n1").comment == ""


def test_a_node_with_a_job_waits_and_the_others_do_not() -> None:
    world = ready(3)
    job = world.slurm.submit("n2")
    before = boots(world)
    asked = world.request(Mode.REBOOT, "n1,n2,n3", "operator")
    world.run(60)
    found = world.journal.operations_of(asked)
    assert [op.outcome for op in found] == ["done", "", "done"]
    assert found[1].phase == phases.DRAINING
    assert boots(world)["n2"] == before["n2"] and world.slurm.jobs[job].nodes == ("n2",)
    world.slurm.end(job)
    world.settle(60)
    assert world.journal.operations_of(asked)[1].outcome == phases.DONE
    assert boots(world)["n2"] != before["n2"]
    assert_at_rest(world)


def test_the_nodes_of_one_call_are_one_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the cloud takes its time to say what it has, and for nodes that follow closely."""
    world = ready(8)
    images = world.cloud.images

    def slow_images() -> frozenset[str]:
        monkeypatch.undo()
        world.clock.advance(0.3)
        return images()

    monkeypatch.setattr(world.cloud, "images", slow_images)
    names = list(world.cluster.nodes())
    for some in (names[:5], names[5:6], names[6:]):
        world.slurm.reboot(some, reason="reimage image=other")
        world.run(0.1)
    world.run(1)
    world.settle(100)
    ops = [operations(world, name)[-1] for name in names]
    assert {op.outcome for op in ops} == {"done"}
    assert len({time.at for op in ops for time in op.phases if time.phase == phases.UPDATING}) == 1


def test_a_reboot_that_is_called_off_is_cancelled() -> None:
    world = ready(2)
    world.slurm.submit("n1")
    world.request(Mode.REBOOT, "n1", "operator")
    run_until(world, "n1", phases.DRAINING)
    world.slurm.set_flags("n1", "ALLOCATED", "CLOUD")
    world.run(60)
    assert operations(world, "n1")[-1].outcome == phases.CANCELLED


def test_a_powered_down_node_is_told_and_left() -> None:
    world = MemoryWorld.of(2)
    repool(world, image="other")
    op = ask(world, "n1", "reimage")
    assert op.outcome == phases.DONE and "next resume takes the image other" in op.text
    assert not servers(world)


def test_one_of_four_fails_and_rests_and_the_others_finish() -> None:
    world = ready()
    world.cloud.failed_changes["n3"] = "No valid host was found"
    world.slurm.reboot(list(world.cluster.nodes()), reason="reimage image=other")
    world.run(1)
    world.settle(200)
    found = {name: operations(world, name)[-1] for name in world.cluster.nodes()}
    reimaged = {name: op for name, op in found.items() if op.mode is Mode.REBOOT}
    assert {name for name, op in reimaged.items() if op.outcome == phases.DONE} == {"n1", "n2", "n4"}
    failed = next(op for op in operations(world, "n3") if op.mode is Mode.REBOOT)
    assert (failed.outcome, failed.failure) == (phases.FAILED, FailureClass.CAPACITY)
    node = world.slurm.node("n3")
    assert node.has("DRAIN") and "(capacity)" in node.reason and "n3" not in servers(world)


def test_a_change_that_the_cloud_refuses_leaves_the_node_as_it_was() -> None:
    world = ready(2, **ROOMY)
    world.cloud.refused_changes["n1"] = "No valid host was found"
    world.slurm.reboot(["n1"], reason="resize flavor=large")
    run_until(world, "n1", phases.RESTORING)
    world.cloud.refused_changes.clear()
    world.settle(200)
    op = operations(world, "n1")[-1]
    assert op.outcome == phases.FAILED and "No valid host" in op.text and op.failure is None
    assert image(world, "n1") == ("default", "small") and world.slurm.node("n1").up
    assert "No valid host" in world.slurm.node("n1").comment
    assert_at_rest(world)


def test_one_of_min_nodes_is_reimaged_and_comes_back() -> None:
    world = ready(2, min_nodes=1)
    before = boots(world)["n1"]
    assert ask(world, "n1", "reimage").outcome == phases.DONE
    assert boots(world)["n1"] != before and world.slurm.node("n1").up


def test_a_job_that_asks_for_a_reboot_gets_one() -> None:
    world = ready(2)
    ids, before = servers(world), boots(world)["n1"]
    world.slurm.set_flags("n1", "ALLOCATED", "CLOUD", "POWERING_UP")
    request = Request("r", Mode.RESUME, "n1", world.clock.now(), job_id=7)
    world.journal.add_request(request, world.clock.now())
    world.settle(60)
    assert operations(world, "n1")[-1].outcome == phases.DONE
    assert servers(world) == ids and boots(world)["n1"] != before


def test_a_node_that_reboots_itself_is_waited_for() -> None:
    world = MemoryWorld.of(2, reboot_from_controller=False)
    world.slurm.end(up(world, "n1"))
    world.slurm.hook = lambda mode, hostlist: None  # Slurm calls nobody here: slurmd does
    world.slurm.reboot(["n1"], reason="reboot")
    before = boots(world)["n1"]
    run_until(world, "n1", phases.CONFIGURING)
    world.run(10)
    assert not operations(world, "n1")[-1].outcome and boots(world)["n1"] == before
    world.cloud.reboot(servers(world)["n1"][0], permit("reboot", servers(world)["n1"][0]))
    world.settle(60)
    assert operations(world, "n1")[-1].outcome == phases.DONE


def test_a_lost_reboot_hook_is_found_by_the_reconciler() -> None:
    world = ready(2)
    hook, world.slurm.hook = world.slurm.hook, lambda mode, hostlist: None
    world.slurm.reboot(["n1"], reason="reboot")
    world.run(1)
    world.slurm.hook = hook
    world.run(90)
    assert operations(world, "n1")[-1].outcome == phases.DONE


@pytest.mark.parametrize(
    "phase", ["draining", "checking", "update-planning", "updating", "booting", "configuring", "registering"]
)
@pytest.mark.parametrize("words", ["reimage image=other", "reimage replace", "reboot"])
def test_an_engine_that_is_killed_goes_on(phase: str, words: str) -> None:
    world = ready(2)
    request = Request("r", Mode.REBOOT, "n1", world.clock.now(), "operator", action=words)
    world.journal.add_request(request, world.clock.now())
    for _ in range(600):
        if any(op.phase == phase for op in world.engine.operations):
            break
        world.run(0.1)
    world.crash()
    world.settle(200)
    op = world.journal.operations_of("r")[0]
    assert op.outcome == phases.DONE, op
    assert image(world, "n1")[0] == ("other" if "other" in words else "default")
    assert_at_rest(world)


def test_a_suspend_behind_a_reimage_ends_it() -> None:
    world = ready(2)
    world.slurm.reboot(["n1"], reason="reimage image=other")
    run_until(world, "n1", phases.CONFIGURING)
    world.slurm.update_nodes(["n1"], state="POWER_DOWN_FORCE", permits=permits("POWER_DOWN_FORCE", ["n1"]))
    world.settle(100)
    assert [op.outcome for op in operations(world, "n1")][-2:] == ["cancelled", "done"]
    assert "n1" not in servers(world)


@pytest.mark.parametrize("version", ["22.05", "24.11", "26.05"])
def test_an_old_reimage_is_not_read_once_more_by_a_plain_reboot(version: str) -> None:
    """24.11 keeps the reason over the boot and adds ` : reboot issued` to it at the next request."""
    world = MemoryWorld.of(2, slurm_version=version)
    world.slurm.end(up(world, "n1"))
    world.slurm.scontrol_reboot("n1", asap=True, nextstate="RESUME", reason="reimage image=default")
    world.run(1)
    world.settle(100)
    assert operations(world, "n1")[-1].action == "reimage" and world.slurm.node("n1").reason == ""
    world.slurm.scontrol_reboot("n1", asap=True, nextstate="RESUME")
    world.run(1)
    world.settle(100)
    assert operations(world, "n1")[-1].action == "reboot"


def test_an_image_that_no_list_has_is_taken_by_its_id() -> None:
    world = ready(1)
    world.cloud.ids["community"] = "i-9"
    assert "community" not in world.cloud.images()
    assert ask(world, "n1", "reimage image=i-9").outcome == phases.DONE
    assert image(world, "n1")[0] == "community"
    assert ask(world, "n1", "reimage image=i-7").outcome == phases.REFUSED


@pytest.mark.parametrize("words", ["reimage image=other", "resize flavor=large"])
@pytest.mark.parametrize("anew", [True, False])
def test_a_server_whose_flavor_is_lost_is_not_changed_in_place_but_made_anew_on_request(
    words: str, anew: bool
) -> None:
    world = lose_flavor(ready(2), anew=anew)
    before, reboots = servers(world), boots(world)
    op = ask(world, "n1", words)
    assert op.outcome == phases.REFUSED and (op.text.startswith("the flavor small was "))
    assert ("made anew" if anew else "deleted") in op.text and "reimage n1 --replace" in op.text
    assert (servers(world), boots(world)) == (before, reboots), "not even drained"
    if anew:
        assert ask(world, "n1", "reimage replace").outcome == phases.DONE
        assert servers(world)["n1"] != before["n1"] and servers(world)["n2"] == before["n2"]
        assert world.journal.node_records()["n1"].node.flavor_id == "f-9"
    assert_at_rest(world)


def test_a_server_that_is_off_is_started_before_it_is_reimaged() -> None:
    world = ready(2)
    before = servers(world)
    world.cloud.set_status(*before["n1"], "SHUTOFF")
    op = ask(world, "n1", "reimage image=other")
    assert op.outcome == phases.DONE and servers(world) == before
    assert image(world, "n1")[0] == "other"
    assert_at_rest(world)


def test_a_server_that_does_not_start_is_not_changed() -> None:
    world = MemoryWorld.of(1, failure={"boot_timeout": 60})
    world.slurm.end(up(world, "n1"))
    world.cloud.set_status(*servers(world)["n1"], "SHUTOFF")
    world.cloud.refused_changes["n1"] = "it is locked"
    world.slurm.reboot(["n1"], reason="reimage image=other")
    world.run(50)
    asked = operations(world, "n1")[-1]
    assert asked.phase == phases.CHECKING and image(world, "n1")[0] == "default"
    world.run(100)
    op = world.journal.operation(asked.id)
    assert op and op.outcome == phases.FAILED and "was off and has not started" in op.text
    tries = [act for act in world.journal.acts(op.id) if act.act == "reboot"]
    assert len(tries) == 2, "each try is recorded, so they are few"
