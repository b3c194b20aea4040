"""A resize on the in-memory world: it ends as the file says, whatever it is interrupted by."""

from collections.abc import Callable

import pytest

from slurm_powersave.commands.scale import Scaling, abort
from slurm_powersave.model.errors import LeftAloneError, PowersaveError, SlurmError, UnfinishedError
from slurm_powersave.model.records import Drain
from tests.permits import permits
from tests.unit.commands.scale_scene import Killed, Scene
from tests.unit.engine.checks import servers
from tests.unit.engine.stories import up


def test_grow_protects_and_brings_up() -> None:
    scene = Scene(4, 1)
    scene.want(4, 3)
    assert scene.resize().outcome == {"n2": "up", "n3": "up"}
    assert scene.states() == {"n1": "up", "n2": "up", "n3": "up", "n4": "off"}
    assert scene.world.slurm.protected == {"n1", "n2", "n3"}
    assert len(scene.applied) == 1
    assert scene.found.nothing


def test_shrink_waits_for_the_job_and_gives_the_nodes_back_as_elastic_ones() -> None:
    scene = Scene(4, 3)
    job = up(scene.world, "n3")
    scene.want(4, 1)
    scene.fuse = 60
    with pytest.raises(Killed):
        scene.resize()
    assert scene.states()["n3"] == "up DRAIN" and scene.world.slurm.node("n3").in_use
    assert "n2" not in servers(scene.world), "it does not wait for the other's job"
    scene.fuse = -1
    scene.world.slurm.end(job)
    scene.resize()
    assert scene.states() == {"n1": "up", "n2": "off", "n3": "off", "n4": "off"}
    assert scene.world.slurm.protected == {"n1"}
    assert not scene.world.journal.drains()
    acts = [one for one in scene.world.journal.newest_acts(None, 100)[::-1] if not one.operation]
    assert {(one.node, one.act) for one in acts} == {
        (node, act) for node in ("n2", "n3") for act in ("DRAIN", "POWER_DOWN")
    }
    assert all(one.row == "by a person" and "; resize " in one.evidence for one in acts)
    up(scene.world, "n3")


def test_added_nodes_have_the_address_that_was_recorded_and_serve() -> None:
    scene = Scene(2, 0)
    scene.want(4, 0)
    scene.resize()
    up(scene.world, "n3", "n4")
    assert scene.world.journal.node_records()["n4"].node.address == "10.0.1.4"


def test_nodes_that_leave_are_served_until_they_have_left() -> None:
    scene = Scene(4, 1)
    job = up(scene.world, "n4", "n3")
    scene.want(2, 1)
    scene.fuse = 40
    with pytest.raises(Killed):
        scene.resize()
    assert scene.states()["n4"] == "up DRAIN"
    scene.fuse = -1
    scene.world.slurm.end(job)
    assert scene.resize().outcome == {"n4": "left", "n3": "left"}
    assert set(scene.states()) == {"n1", "n2"}
    assert set(scene.world.journal.node_records()) == {"n1", "n2"}
    assert set(servers(scene.world)) == {"n1"}
    assert scene.found.nothing


def test_growth_does_not_wait_for_the_jobs_of_what_leaves() -> None:
    scene = Scene(4, 1)
    up(scene.world, "n4")
    scene.want(3, 2)
    with pytest.raises(UnfinishedError, match="n4"):
        scene.resize(timeout=120)
    assert scene.states() == {"n1": "up", "n2": "up", "n3": "off", "n4": "up DRAIN"}
    assert scene.applied == [{"n1", "n2", "n3", "n4"}]


@pytest.mark.parametrize("when", ["before", "meanwhile"])
def test_a_foreign_drain_is_neither_cleared_nor_overwritten(when: str) -> None:
    scene = Scene(4, 1)
    job = up(scene.world, "n3")
    scene.want(2, 1)
    if when == "meanwhile":
        scene.fuse = 20
        with pytest.raises(Killed):
            scene.resize()
        scene.fuse = -1
    scene.world.slurm.update_nodes(["n3"], state="DRAIN", reason="disk", permits=permits("DRAIN", ["n3"]))
    with pytest.raises(LeftAloneError, match="n3"):
        scene.resize()
    assert scene.world.slurm.node("n3").reason == "disk" and scene.states()["n3"] == "up DRAIN"
    assert set(scene.states()) == {"n1", "n2", "n3"}, "n4 has left"
    assert not scene.world.journal.drains()
    scene.world.slurm.end(job)
    scene.world.slurm.update_nodes(["n3"], state="RESUME")
    scene.resize()
    assert set(scene.states()) == {"n1", "n2"}


def test_a_node_that_does_not_come_up_is_told_and_the_rest_is_done() -> None:
    scene = Scene(4, 1)
    scene.world.cloud.create_faults["n2"] = "Quota exceeded for cores"
    scene.want(4, 3)
    with pytest.raises(PowersaveError, match="not up: n2") as told:
        scene.resize()
    assert "quota" in told.value.why
    assert scene.states()["n3"] == "up"


def test_the_engine_does_not_give_a_drained_node_back_to_the_jobs() -> None:
    scene = Scene(2, 2)
    reason = "slurm-powersave: shrink [resize x]"
    scene.world.journal.save_drains([Drain("n2", "resize x", reason)])
    scene.world.slurm.update_nodes(["n1", "n2"], state="POWER_DOWN")
    scene.world.run(6)
    assert not servers(scene.world)
    assert scene.world.slurm.node("n1").has("POWERED_DOWN"), "given back at once"
    assert scene.world.slurm.node("n2").has("POWERING_DOWN"), "the DRAIN that POWER_DOWN wiped comes again"


def test_nothing_happens_while_slurm_is_unreadable() -> None:
    scene = Scene(4, 3)
    scene.want(4, 1)
    found = scene.found
    scene.world.slurm.unreachable = "no route to host"
    with pytest.raises(SlurmError):
        Scaling(scene.context, found, "x", 30).run()
    assert set(servers(scene.world)) == {"n1", "n2", "n3"} and not scene.applied
    scene.world.slurm.unreachable = ""
    scene.resize()
    assert set(servers(scene.world)) == {"n1"}


def test_a_cloud_that_can_not_be_read_keeps_what_leaves_in_slurm_conf() -> None:
    scene = Scene(3, 1)
    scene.want(2, 1)
    context = scene.context
    context.servers = lambda: None
    with pytest.raises(UnfinishedError, match="n3"):
        Scaling(context, scene.found, "x", 600).run()
    assert "n3" in scene.states()
    scene.resize()
    assert "n3" not in scene.states()


def test_abort_undrains_what_a_resize_drained_and_nothing_else() -> None:
    scene = Scene(4, 3)
    jobs = [up(scene.world, name) for name in ("n2", "n3")]
    scene.world.slurm.update_nodes(["n1"], state="DRAIN", reason="disk", permits=permits("DRAIN", ["n1"]))
    scene.want(4, 1)
    with pytest.raises(UnfinishedError):
        scene.resize(timeout=5)
    scene.world.slurm.update_nodes(["n2"], state="DRAIN", reason="RAM", permits=permits("DRAIN", ["n2"]))
    assert abort(scene.context) == ["n3"]
    shown = scene.world.slurm.snapshot().nodes
    assert {n: node.reason for n, node in shown.items() if node.has("DRAIN")} == {"n1": "disk", "n2": "RAM"}
    assert not scene.world.journal.drains()
    assert abort(scene.context) == []
    assert set(scene.world.slurm.jobs) == set(jobs)


def shrink(scene: Scene) -> None:
    """From three that stay up to one."""
    scene.want(4, 1)


def leave(scene: Scene) -> None:
    """Two of four leave, one comes up."""
    scene.want(2, 2)


def grow(scene: Scene) -> None:
    """Two more nodes, all of which stay up."""
    scene.want(6, 6)


@pytest.mark.parametrize("edit", [shrink, leave, grow], ids=lambda edit: edit.__name__)
def test_it_is_killed_after_each_of_its_effects_and_run_again(edit: Callable[[Scene], None]) -> None:
    whole = Scene(4, 3)
    edit(whole)
    whole.resize()
    for kill in range(400):
        scene = Scene(4, 3)
        edit(scene)
        scene.fuse = kill
        try:
            scene.resize()
        except Killed:
            scene.fuse = -1
            scene.resize()
        scene.world.settle()
        scene.world.run(30)
        assert scene.states() == whole.states()
        assert scene.world.slurm.protected == whole.world.slurm.protected
        assert not scene.world.journal.drains()
        assert scene.world.journal.node_records().keys() == whole.world.journal.node_records().keys()
        assert scene.found.nothing
        if scene.fuse > 0:
            assert kill > 8, "it was killed at each of them"
            return
    raise AssertionError("it was never quick enough")


@pytest.mark.parametrize(("nodes", "least"), [(4, 2), (1, 0)], ids=["enlarge", "shrink"])
def test_nobody_waits_for_servers_without_an_engine(nodes: int, least: int) -> None:
    scene = Scene(2, 1)
    scene.want(nodes, least)

    def nobody() -> None:
        raise UnfinishedError("no engine is running")

    scene.served = nobody
    scene.world.engine.step = lambda: None  # type: ignore[method-assign]
    resize = Scaling(scene.context, scene.found, "1a2b", 86400.0)
    with pytest.raises(UnfinishedError, match="no engine is running"):
        resize.run()
