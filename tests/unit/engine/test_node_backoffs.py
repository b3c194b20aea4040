"""A node whose create failed rests: when that ends, who may end it, and what of others outlives it."""

import pytest

from slurm_powersave.model import phases
from slurm_powersave.model.modes import Mode
from slurm_powersave.model.slurm_versions import TESTED
from slurm_powersave.testing.world import MemoryWorld
from tests.permits import permits
from tests.unit.engine.checks import assert_at_rest, outcomes, servers
from tests.unit.engine.failure_stories import QUOTA, REST
from tests.unit.engine.stories import run_until, up


@pytest.fixture(params=[str(version) for version in TESTED])
def world(request: pytest.FixtureRequest) -> MemoryWorld:
    """Four nodes; a rest is a minute."""
    return MemoryWorld.of(4, failure=REST, slurm_version=request.param)


def test_the_rest_is_ended_by_resume(world: MemoryWorld) -> None:
    world.cloud.create_faults["n1"] = QUOTA
    world.slurm.submit("n1")
    world.settle(60)
    world.run(65)
    node = world.slurm.node("n1")
    # It may be on its way off once more, which heals NOT_RESPONDING.
    assert not node.has("DRAIN") and node.going_down and node.reason == ""
    world.run(60)
    assert not world.journal.node_backoffs()
    world.cloud.create_faults.clear()
    up(world, "n1")
    assert world.journal.node_records()["n1"].failures == 0
    assert_at_rest(world)


def test_the_rest_doubles_with_each_failure_in_a_row(world: MemoryWorld) -> None:
    world.cloud.create_faults["n1"] = QUOTA
    rests = []
    for _ in range(3):
        world.slurm.submit("n1")
        world.settle(60)
        backoff = world.journal.node_backoffs()["n1"]
        rests.append(backoff.until - world.clock.now())
        world.clock.advance(backoff.until - world.clock.now())
        world.run(3)
    assert [round(rest / 60) for rest in rests] == [1, 2, 4]


def test_after_so_many_failures_in_a_row_only_a_person_ends_the_rest() -> None:
    world = MemoryWorld.of(2, failure={"rest": {"quota": 5}, "attempts": 2})
    world.cloud.create_faults["n1"] = "Quota exceeded"
    world.slurm.submit("n1")
    world.settle(60)
    world.run(10)
    world.slurm.submit("n1")
    world.settle(60)
    assert "rests until it is resumed by hand" in world.slurm.node("n1").reason
    world.run(3600)
    assert world.slurm.node("n1").has("DRAIN")
    world.cloud.create_faults.clear()
    world.request(Mode.RESUME, "n1", source="operator")
    world.settle(120)
    assert world.slurm.node("n1").up


def test_a_failure_right_after_a_rest_makes_a_new_rest(world: MemoryWorld) -> None:
    """The hold of an earlier failure may still be in the journal when its time is over."""
    world.cloud.create_faults["n1"] = QUOTA
    world.slurm.submit("n1")
    world.settle(60)
    first = world.journal.node_backoffs()["n1"]
    world.clock.advance(first.until - world.clock.now() + 1)
    # Somebody undrained it and a job came before we looked.
    world.slurm.set_flags("n1", "IDLE", "CLOUD", "POWERED_DOWN")
    world.slurm.submit("n1")
    world.settle(60)
    second = world.journal.node_backoffs()["n1"]
    assert second.until > world.clock.now() + 60
    assert world.slurm.node("n1").reason == second.reason


@pytest.mark.parametrize(
    ("flags", "reason"), [(("IDLE", "DRAIN"), "bad DIMM"), (("DOWN",), "PSU"), (("IDLE", "DRAIN"), "")]
)
def test_a_rest_that_somebody_changed_is_left_alone(
    world: MemoryWorld, flags: tuple[str, ...], reason: str
) -> None:
    world.cloud.create_faults["n1"] = QUOTA
    world.slurm.submit("n1")
    world.settle(60)
    world.slurm.set_flags("n1", *flags, "CLOUD", "POWERED_DOWN", reason=reason)
    world.run(90)
    assert world.slurm.node("n1").has(*flags[-1:]) and world.slurm.node("n1").reason == reason
    assert not world.journal.node_backoffs()


def test_a_request_during_the_rest_creates_nothing(world: MemoryWorld) -> None:
    world.cloud.create_faults["n1"] = QUOTA
    world.slurm.submit("n1")
    world.settle(60)
    backoff = world.journal.node_backoffs()["n1"]
    world.cloud.create_faults.clear()
    # The DRAIN was lost: Slurm asks for the node again.
    world.slurm.set_flags("n1", "IDLE", "CLOUD", "POWERED_DOWN")
    world.slurm.submit("n1", "n2")
    world.settle(60)
    assert "n1" not in servers(world) and "n2" in servers(world)
    assert outcomes(world, "n1")[-2:] in (
        [("resume", "failed"), ("suspend", "joined")],
        [("resume", "failed"), ("suspend", "done")],
    )
    again = world.journal.node_backoffs()["n1"]
    assert (again.until, again.operation) == (backoff.until, backoff.operation), "the rest is not made longer"
    assert world.slurm.node("n1").reason == backoff.reason


def test_an_operator_ends_a_rest(world: MemoryWorld) -> None:
    world.cloud.create_faults["n1"] = QUOTA
    world.slurm.submit("n1")
    world.settle(60)
    world.run(25)
    world.cloud.create_faults.clear()
    world.request(Mode.RESUME, "n1", source="operator")
    world.settle(60)
    assert world.slurm.node("n1").up and not world.slurm.node("n1").has("DRAIN")
    assert_at_rest(world)


def test_an_operators_resume_never_clears_a_foreign_drain(world: MemoryWorld) -> None:
    world.cloud.create_faults["n1"] = QUOTA
    world.slurm.submit("n1")
    world.settle(60)
    world.slurm.set_flags("n1", "IDLE", "DRAIN", "CLOUD", "POWERED_DOWN", reason="bad DIMM")
    world.request(Mode.RESUME, "n1", source="operator")
    world.settle(120)
    assert world.slurm.node("n1").has("DRAIN") and world.slurm.node("n1").reason == "bad DIMM"


def test_a_foreign_drain_outlives_a_failed_create(world: MemoryWorld) -> None:
    world.cloud.create_faults["n1"] = QUOTA
    world.slurm.submit("n1")
    run_until(world, "n1", phases.PLANNING)
    world.slurm.update_nodes(["n1"], state="DRAIN", reason="bad DIMM", permits=permits("DRAIN", ["n1"]))
    world.settle(60)
    world.run(90)
    node = world.slurm.node("n1")
    assert node.has("DRAIN") and node.reason == "bad DIMM"


def test_a_foreign_drain_outlives_suspend_and_release(world: MemoryWorld) -> None:
    job = up(world, "n1")
    world.slurm.end(job)
    world.slurm.update_nodes(["n1"], state="DRAIN", reason="bad DIMM", permits=permits("DRAIN", ["n1"]))
    world.slurm.suspend("n1")
    world.settle(60)
    world.run(30)
    node = world.slurm.node("n1")
    assert node.has("DRAIN") and node.has("POWERED_DOWN") and node.reason == "bad DIMM"
    # Nor is its server touched: whoever drained the node may want to look at it.
    assert servers(world) == {"n1": ["id-1"]}
    assert world.newest("n1").outcome == phases.REFUSED and "bad DIMM" in world.newest("n1").text
