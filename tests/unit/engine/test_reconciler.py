"""Differences between Slurm, cloud and journal that no request explains."""

import pytest

from slurm_powersave.model.modes import Mode
from slurm_powersave.testing.world import MemoryWorld
from tests.permits import permits
from tests.unit.engine.checks import assert_at_rest, coarsely, outcomes, servers
from tests.unit.engine.stories import up


def test_a_lost_resume_is_made_up_for() -> None:
    world = MemoryWorld.of(2)
    world.run(60)
    world.slurm.hook = lambda mode, nodes: None
    world.slurm.submit("n1")
    world.slurm.hook = world.hook
    world.run(60)
    world.settle(60)
    assert world.slurm.node("n1").up
    assert_at_rest(world)


def test_a_difference_counts_only_when_it_was_seen_twice() -> None:
    world = MemoryWorld.of(2)
    world.run(40)
    before = len(world.journal.history())
    # For one reading the node looks as if it came up without a request.
    while world.engine._reconciler._before == {}:
        world.slurm.set_flags("n1", "IDLE", "CLOUD", "POWERING_UP")
        world.run(0.1)
    world.slurm.set_flags("n1", "IDLE", "CLOUD", "POWERED_DOWN")
    world.run(90)
    assert len(world.journal.history()) == before and world.cloud.created == 0


def test_a_forgotten_server_is_deleted() -> None:
    world = MemoryWorld.of(2)
    job = up(world, "n1")
    world.slurm.hook = lambda mode, nodes: None
    world.slurm.end(job)
    world.slurm.suspend("n1")
    world.slurm.hook = world.hook
    coarsely(world, 900, step=2)
    assert set(servers(world)) == {"n1"}
    coarsely(world, 60, step=2)
    world.settle(60)
    assert servers(world) == {}
    assert outcomes(world, "n1")[-1] == ("suspend", "done")
    assert_at_rest(world)


def test_a_forgotten_server_of_a_node_in_use_stays() -> None:
    world = MemoryWorld.of(2)
    up(world, "n1")
    world.slurm.set_flags("n1", "ALLOCATED", "CLOUD", "POWERED_DOWN")
    world.run(120)
    assert set(servers(world)) == {"n1"}


def test_nothing_is_compared_while_one_side_is_unreadable(caplog: pytest.LogCaptureFixture) -> None:
    world = MemoryWorld.of(2)
    up(world, "n1")
    world.slurm.set_flags("n1", "IDLE", "CLOUD", "POWERED_DOWN")
    world.cloud.unreachable = "503"
    world.run(120)
    world.cloud.unreachable = ""
    world.slurm.unreachable = "no answer"
    world.run(120)
    assert set(servers(world)) == {"n1"}


def test_an_idle_node_whose_server_is_gone_is_given_back_and_comes_anew() -> None:
    world = MemoryWorld.of(2)
    world.slurm.end(up(world, "n1"))
    world.cloud.vanish(servers(world)["n1"][0])
    world.run(70)
    assert world.slurm.node("n1").has("POWERED_DOWN")
    up(world, "n1")
    assert set(servers(world)) == {"n1"}
    assert_at_rest(world)


def test_a_node_with_a_job_is_not_given_up_for_want_of_a_server(caplog: pytest.LogCaptureFixture) -> None:
    world = MemoryWorld.of(2)
    up(world, "n1")
    world.cloud.vanish(servers(world)["n1"][0])
    world.run(90)
    assert world.slurm.node("n1").in_use and "no-server node=n1" in caplog.text


def test_two_servers_of_one_name_are_said(caplog: pytest.LogCaptureFixture) -> None:
    world = MemoryWorld.of(2)
    up(world, "n1")
    entry = world.terraform.maps[world.journal.node_records()["n1"].shard]["n1"]
    world.cloud.create(entry, frozenset({"slurm-powersave", "cluster=test", "node=n1"}))
    world.run(90)
    assert "double node=n1" in caplog.text
    assert caplog.text.count("double node=n1") == 1, "said once"


def test_a_request_during_the_rest_is_not_made_by_us() -> None:
    world = MemoryWorld.of(2)
    world.cloud.create_faults["n1"] = "Quota exceeded"
    world.slurm.submit("n1")
    world.settle(60)
    world.run(200)
    assert [mode for mode, _ in outcomes(world, "n1")].count(Mode.RESUME.value) == 1


def test_a_reason_that_was_served_is_blanked_and_an_administrators_stays() -> None:
    """24.11 keeps the reason of a node that is back in service, and shows it at the next plain reboot."""
    world = MemoryWorld.of(4, slurm_version="24.11")
    reasons = {
        "n1": "slurm-powersave: (quota) no cores left [op 1a2b]",
        "n2": "reimage image=newer : reboot issued",
        "n3": "look at the fan",
        "n4": "reimage is planned for Monday",
    }
    for name, reason in reasons.items():
        world.slurm.update_nodes([name], reason=reason)
    world.run(90)
    left = {name: world.slurm.node(name).reason for name in reasons}
    assert left == {"n1": "", "n2": "", "n3": reasons["n3"], "n4": reasons["n4"]}


def test_the_reason_of_a_held_node_stays() -> None:
    world = MemoryWorld.of(1, slurm_version="24.11")
    world.slurm.update_nodes(
        ["n1"], state="DRAIN", reason="slurm-powersave: (quota) x [op 1a2b]", permits=permits("DRAIN", ["n1"])
    )
    world.run(90)
    assert world.slurm.node("n1").reason.startswith("slurm-powersave: (quota)")
