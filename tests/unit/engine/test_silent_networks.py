"""Many servers that fall silent at once are a network that is away; and the brake."""

import logging

import pytest

from slurm_powersave.decide.node import brake
from tests.unit.engine.checks import coarsely, servers
from tests.unit.engine.silence_stories import DOWN, names, restarted, said, silent, status, world_of


def test_more_than_three_of_a_pool_are_the_network(caplog: pytest.LogCaptureFixture) -> None:
    world = world_of(6)
    made = servers(world)
    caplog.set_level(logging.WARNING)
    silent(world, "n1", "n2")
    coarsely(world, 120, step=2)
    silent(world, "n3", "n4")
    coarsely(world, 8000, step=5)
    assert servers(world) == made and not restarted(world)
    assert "more than 3 servers of pool compute fell silent" in said(world)
    assert world.journal.notices()["n4"].command == "slurm-powersave suspend"
    assert sum("it is the network" in one.getMessage() for one in caplog.records) == 1


def test_when_it_is_over_what_is_left_is_counted_anew() -> None:
    world = world_of(6)
    silent(world, *names(5))
    coarsely(world, 3000, step=5)
    for name in ("n3", "n4", "n5"):
        world.silent.discard(name)
        world.slurm.register(name, booted=False)
    assert world.slurm.node("n3").up
    coarsely(world, 250, step=2)
    assert not restarted(world) and set(world.journal.notices()) == {"n1", "n2"}
    coarsely(world, 200, step=2)
    assert sorted(restarted(world)) == ["n1", "n2"]


def test_an_engine_that_starts_anew_still_knows_that_they_fell_silent_one_by_one() -> None:
    world = world_of(6, failure={"restart_after": 8000, "silent_after": 9000})
    for name in names(4):
        silent(world, name)
        coarsely(world, 700, step=5)
    world.crash()
    coarsely(world, 300, step=5)
    assert "the network" not in said(world)
    world.crash()
    world.journal.save_notices([], names(4))
    world.crash()
    coarsely(world, 300, step=5)
    assert "the network" in said(world), "who knows nothing of before takes it for the network"


def test_the_two_of_a_small_pool_are_started_and_replaced() -> None:
    world = world_of(2)
    silent(world, "n1", "n2")
    coarsely(world, 500, step=2)
    assert sorted(restarted(world)) == ["n1", "n2"]
    coarsely(world, 1800, step=2)
    world.settle()
    assert not servers(world)


def test_what_the_cloud_itself_calls_off_is_not_the_network() -> None:
    world = world_of(5)
    made = servers(world)
    status(world, "SHUTOFF", *names(5))
    coarsely(world, 600, step=2)
    assert servers(world) == made and all(world.slurm.node(name).up for name in names(5))


def test_past_the_brake_no_more_are_started_or_replaced() -> None:
    world = world_of(8)
    status(world, "SHUTOFF", *names(8))
    coarsely(world, 4000, step=5)
    assert len(restarted(world)) == brake.limit(8) == 5
    assert "5 are the most" in world.journal.brake()
    left = next(name for name in names(8) if not world.slurm.node(name).up)
    assert "the brake is on" in said(world, left) and world.slurm.node(left).flags == DOWN
    world.journal.confirm(world.clock.now())
    coarsely(world, 600, step=2)
    assert all(world.slurm.node(name).up or name not in servers(world) for name in names(8))


def test_five_that_were_given_up_are_deleted_though_the_sixth_sets_the_brake() -> None:
    world = world_of(6, failure={"restart_after": 9000})
    for name in names(6):
        world.cloud.refused_changes[name] = "no"
    status(world, "SHUTOFF", *names(6))
    coarsely(world, 4000, step=5)
    assert len(servers(world)) == 1 and "5 are the most" in world.journal.brake()
