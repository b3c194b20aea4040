"""A node about which Slurm's answer makes no sense: nothing is decided on it, and the others are served."""

from collections.abc import Callable

import pytest

from slurm_powersave.commands import deploy
from slurm_powersave.commands.drain_nodes import Drains
from slurm_powersave.commands.readings import read_slurm_and_clouds
from slurm_powersave.commands.scale import abort
from slurm_powersave.decide.commands.scale import change
from slurm_powersave.decide.node.drain import Stage
from slurm_powersave.decide.node.rollout import Standing
from slurm_powersave.decide.node.status import rows
from slurm_powersave.model import phases
from slurm_powersave.model.errors import LeftAloneError, RefusedError, UnfinishedError
from slurm_powersave.model.modes import Mode
from slurm_powersave.model.nodes import Request, SlurmNode, SlurmSnapshot
from slurm_powersave.testing.world import MemoryWorld
from tests.permits import permits
from tests.unit.commands.rollout_stories import go, outdated, rollout
from tests.unit.commands.scale_scene import Scene
from tests.unit.commands.teardown_lab import Lab
from tests.unit.engine.checks import assert_at_rest, coarsely, operations, outcomes, servers
from tests.unit.engine.reboot_stories import boots, image, ready
from tests.unit.engine.stories import run_until, up


def idle(nodes: int = 4) -> MemoryWorld:
    """A world in which n1 and n2 are up and idle."""
    world = MemoryWorld.of(nodes)
    world.slurm.end(up(world, "n1", "n2"))
    return world


@pytest.mark.parametrize("phase", ["", phases.CHECKING, phases.DELETE_QUEUED, phases.DELETE_PLANNING])
def test_its_server_is_not_deleted_and_the_others_are(phase: str) -> None:
    world = idle()
    shard = world.journal.node_records()["n1"].shard
    if phase == phases.DELETE_QUEUED:
        world.terraform.locked.add(shard)
    if phase == phases.CHECKING:
        world.cloud.unreachable = "503"
    if not phase:
        world.slurm.unreadable.add("n1")
    world.slurm.suspend("n1", "n2")
    if phase:
        run_until(world, "n1", phase)
        world.slurm.unreadable.add("n1")
    world.cloud.unreachable = ""
    world.terraform.locked.clear()
    coarsely(world, 400)
    assert set(servers(world)) == {"n1"}, "n2 is served, n1 is left alone"
    world.slurm.submit("n3")
    coarsely(world, 60)
    assert world.slurm.node("n3").up
    world.slurm.unreadable.clear()
    world.settle(120)
    assert set(servers(world)) == {"n3"}
    assert_at_rest(world)


def test_a_failed_creation_is_not_cleaned_up_before_slurm_is_told() -> None:
    world = MemoryWorld.of(4, failure={"boot_timeout": 20})
    world.cloud.never_boots.add("n1")
    world.slurm.submit("n1")
    run_until(world, "n1", phases.FAILING)
    world.slurm.unreadable.add("n1")
    coarsely(world, 300)
    assert set(servers(world)) == {"n1"} and operations(world, "n1")[-1].phase == phases.FAILING
    world.slurm.unreadable.clear()
    world.settle(120)
    assert not servers(world) and ("resume", "failed") in outcomes(world, "n1")


@pytest.mark.parametrize("phase", [phases.CHECKING, phases.REGISTERING, phases.APPLYING])
def test_a_resume_goes_on_when_it_is_readable_again(phase: str) -> None:
    world = MemoryWorld.of(2)
    world.slurm.resume_timeout = 3600
    if phase == phases.CHECKING:
        world.slurm.unreadable.add("n1")
    if phase == phases.REGISTERING:
        world.slurm.register = lambda *args, **named: None  # type: ignore[method-assign]
    world.slurm.submit("n1", "n2")
    run_until(world, "n1", phase)
    world.slurm.unreadable.add("n1")
    coarsely(world, 200)
    if phase != phases.REGISTERING:
        assert world.slurm.node("n2").up, "the other one is served"
    assert operations(world, "n1")[-1].outcome == ""
    world.slurm.unreadable.clear()
    if phase == phases.REGISTERING:
        del world.slurm.register  # type: ignore[method-assign]
        for name in ("n1", "n2"):
            world.slurm.register(name)
    world.settle(120)
    assert outcomes(world, "n1") == [("resume", "done")]


@pytest.mark.parametrize("phase", [phases.DRAINING, phases.CHECKING, phases.UPDATE_QUEUED])
def test_it_is_neither_rebooted_nor_reimaged(phase: str) -> None:
    world = ready(2)
    before, shard = boots(world), world.journal.node_records()["n1"].shard
    if phase == phases.UPDATE_QUEUED:
        world.terraform.locked.add(shard)
    if phase == phases.CHECKING:
        world.cloud.unreachable = "503"
    if phase == phases.DRAINING:
        world.slurm.submit("n1")
        reimage = Request("by-hand", Mode.REBOOT, "n1", 0.0, "operator", action="reimage image=other")
        world.journal.add_request(reimage, 0.0)
    else:
        world.slurm.reboot(["n1"], reason="reimage image=other")
    run_until(world, "n1", phase)
    world.slurm.unreadable.add("n1")
    world.cloud.unreachable = ""
    world.terraform.locked.clear()
    coarsely(world, 300)
    assert boots(world) == before and image(world, "n1")[0] == "default"
    assert not operations(world, "n1")[-1].outcome


def test_a_rest_does_not_end_on_it() -> None:
    world = MemoryWorld.of(2, failure={"rest": {"quota": 20}})
    world.cloud.create_faults["n1"] = "Quota exceeded for cores"
    world.slurm.submit("n1")
    world.settle(60)
    assert "n1" in world.journal.node_backoffs()
    world.slurm.unreadable.add("n1")
    coarsely(world, 120)
    assert "n1" in world.journal.node_backoffs() and world.slurm.node("n1").has("DRAIN")
    world.slurm.unreadable.clear()
    coarsely(world, 60)
    assert "n1" not in world.journal.node_backoffs() and not world.slurm.node("n1").has("DRAIN")


def test_the_reconciler_asks_for_nothing() -> None:
    """Slurm shows n1 as powered down, and its server exists: of another node that would be a suspend."""
    world = idle()
    world.slurm.unreadable.add("n1")
    world.slurm.set_flags("n1", "IDLE", "CLOUD", "POWERED_DOWN")
    coarsely(world, 300)
    assert "n1" in servers(world) and outcomes(world, "n1") == [("resume", "done")]
    world.slurm.unreadable.clear()
    coarsely(world, 1000, step=2)
    assert "n1" not in servers(world)


def test_an_administrators_drain_is_not_forgotten() -> None:
    world = idle()
    world.slurm.update_nodes(["n1"], state="DRAIN", reason="disk", permits=permits("DRAIN", ["n1"]))
    coarsely(world, 60)
    assert "n1" in world.journal.admin_states()
    world.slurm.unreadable.add("n1")
    coarsely(world, 120)
    assert "n1" in world.journal.admin_states()


# The commands


def test_a_resize_leaves_it_alone_and_does_the_rest() -> None:
    scene = Scene(4, 3)
    scene.want(2, 1)
    scene.world.slurm.unreadable.add("n3")
    found = found_by(scene)
    assert found.unread == ("n3",) and "n3" in found.removed and "n3" not in found.drained
    with pytest.raises(LeftAloneError, match="n3"):
        resized(scene)
    assert "n3" in servers(scene.world) and "n3" in scene.world.slurm.known(), "it stays in slurm.conf"
    assert "n3" in scene.world.journal.node_records()
    assert not scene.world.slurm.node("n3").has("DRAIN")
    assert "n4" not in scene.world.slurm.known() and "n2" not in servers(scene.world)
    scene.world.slurm.unreadable.clear()
    scene.resize()
    assert set(scene.world.slurm.known()) == {"n1", "n2"} and set(servers(scene.world)) == {"n1"}


def found_by(scene: Scene) -> "object":
    """As commands/scale_command.py compares."""
    snapshot = scene.world.slurm.snapshot()
    return change(
        scene.wanted,
        slurm=snapshot.nodes,
        unread=snapshot.unreadable,
        protected=scene.world.slurm.suspend_exc_nodes(),
        wanted_protected=scene.wanted.persistent(),
        recorded=scene.world.journal.node_records().keys(),
        drains=scene.world.journal.drains(),
    )


def resized(scene: Scene, timeout: float = 600.0) -> None:
    """Run a resize."""
    from slurm_powersave.commands.scale import Scaling

    Scaling(scene.context, found_by(scene), "1a2b", timeout).run()  # type: ignore[arg-type]


def test_a_resize_in_which_it_becomes_unreadable_ends_unfinished() -> None:
    scene = Scene(4, 3)
    scene.want(3, 1)
    found = found_by(scene)
    scene.world.slurm.unreadable.add("n3")
    from slurm_powersave.commands.scale import Scaling

    with pytest.raises(UnfinishedError, match="n3"):
        Scaling(scene.context, found, "1a2b", 60).run()  # type: ignore[arg-type]
    assert "n3" in servers(scene.world)


def test_an_abort_does_not_forget_its_drain() -> None:
    scene = Scene(4, 3)
    for name in ("n2", "n3"):
        up(scene.world, name)
    scene.want(4, 1)
    with pytest.raises(UnfinishedError):
        scene.resize(timeout=5)
    scene.world.slurm.unreadable.add("n3")
    with pytest.raises(UnfinishedError, match="n3"):
        abort(scene.context)
    assert set(scene.world.journal.drains()) == {"n3"}
    scene.world.slurm.unreadable.clear()
    assert abort(scene.context) == ["n3"]


def test_a_node_that_cannot_be_read_has_no_stage() -> None:
    world = idle()
    snapshot = SlurmSnapshot(0.0, {}, (), frozenset({"n1"}))
    drains = Drains(world.journal, world.slurm, world.clock.now)
    assert drains.stages(["n1", "n9"], snapshot) == {"n1": Stage.UNREADABLE}
    assert drains.release(["n1"], snapshot) == ([], ["n1"])


def test_a_teardown_refuses_and_with_a_wait_gives_up() -> None:
    lab = Lab().idle()
    lab.world.slurm.unreadable.add("n1")
    with pytest.raises(RefusedError, match="can't be read: n1"):
        lab.run()
    with pytest.raises(UnfinishedError, match="can't be read: n1"):
        lab.run(wait=5)
    assert [event for event in lab.events if event != "save"] == []
    assert lab.run(force=True).done


def test_a_deploy_counts_it_as_in_use() -> None:
    off = SlurmNode("n1", frozenset({"IDLE", "CLOUD", "POWERED_DOWN", "DRAIN"}))
    assert deploy._off_and_drained("n1", SlurmSnapshot(0.0, {"n1": off}))
    assert deploy._off_and_drained("n1", SlurmSnapshot(0.0, {}))
    assert not deploy._off_and_drained("n1", SlurmSnapshot(0.0, {}, (), frozenset({"n1"})))


def test_waves_leave_it_out_and_take_it_when_it_is_readable() -> None:
    world = outdated(4)
    world.slurm.unreadable.add("n2")
    run = rollout(world, max_unavailable=4)
    go(world, run)
    assert [one.node for one in run.of(Standing.SKIPPED)] == ["n2"]
    assert "can't be read" in run.of(Standing.SKIPPED)[0].why
    assert {name: image(world, name)[0] for name in ("n1", "n2", "n3")} == {
        "n1": "other",
        "n2": "default",
        "n3": "other",
    }
    world.slurm.unreadable.clear()
    go(world, rollout(world))
    assert image(world, "n2")[0] == "other"


def test_status_names_it() -> None:
    world = idle()
    world.slurm.unreadable.add("n2")
    seen = read_slurm_and_clouds(world.slurm, {"mem": world.cloud})
    assert list(seen.unreadable) == ["node n2"] and "makes no sense" in seen.unreadable["node n2"]
    shown = rows(
        world.cluster.nodes(),
        seen.slurm,
        [],
        (),
        [],
        {},
        {},
        {},
        unread=seen.unread,
    )
    assert [row.slurm for row in shown][:2] == ["IDLE+CLOUD", "?"]


SUSPENDS: list[Callable[[MemoryWorld], object]] = [
    lambda world: world.slurm.suspend("n1"),
    lambda world: world.request(Mode.SUSPEND, "n1", source="operator"),
    lambda world: world.request(Mode.RESUME_FAIL, "n1"),
    lambda world: world.request(Mode.REBOOT, "n1"),
    lambda world: world.request(Mode.REBOOT, "n1", source="operator"),
]


@pytest.mark.parametrize("ask", SUSPENDS)
def test_no_request_and_no_crash_touches_it(ask: Callable[[MemoryWorld], object]) -> None:
    world = idle()
    before, told = boots(world), world.slurm.node("n1")
    world.slurm.unreadable.add("n1")
    ask(world)
    told = world.slurm.node("n1")
    for _ in range(4):
        coarsely(world, 60)
        world.crash()
    assert "n1" in servers(world) and boots(world) == before
    assert world.slurm.node("n1").flags - {"POWERED_DOWN"} == told.flags - {"POWERING_DOWN"}
