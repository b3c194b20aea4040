"""A silent server must be silent in all looks, whenever the engine begins anew or is killed in between."""

import pytest

from slurm_powersave.model import phases
from slurm_powersave.model.errors import SlurmError
from slurm_powersave.model.permit import Permit
from slurm_powersave.testing.world import MemoryWorld
from tests.unit.engine.checks import Fuse, Killed, coarsely, operations, servers
from tests.unit.engine.silence_stories import (
    DOWN,
    down,
    restarted,
    said,
    silent,
    status,
    until_booting,
    world_of,
)
from tests.unit.engine.stories import comes_back


def test_one_look_that_was_answered_begins_the_count_anew() -> None:
    world = world_of(1)
    silent(world, "n1")
    coarsely(world, 250, step=2)
    world.silent.clear()
    coarsely(world, 120, step=2)
    world.silent.add("n1")
    coarsely(world, 280, step=2)
    assert not restarted(world)
    until_booting(world)


def test_a_server_that_comes_and_goes_is_started_once_and_not_replaced() -> None:
    world = world_of(1)
    made = servers(world)
    silent(world, "n1")
    for _ in range(6):
        coarsely(world, 1500, step=5)
        world.silent.clear()
        coarsely(world, 150, step=2)
        world.silent.add("n1")
        down(world, "n1")
    assert servers(world) == made and restarted(world) == ["n1"]


def test_a_day_later_it_may_be_started_once_more() -> None:
    world = world_of(1)
    for count in (1, 2):
        silent(world, "n1")
        until_booting(world)
        world.silent.clear()
        coarsely(world, 90, step=1)
        assert world.slurm.node("n1").up and restarted(world) == ["n1"] * count
        world.clock.advance(90_000)


def test_the_count_is_not_told_by_the_wall_clock() -> None:
    world = world_of(1)
    made = servers(world)
    silent(world, "n1")
    coarsely(world, 100, step=2)
    world.clock.jump(86_400)
    coarsely(world, 60, step=2)
    assert not restarted(world)
    world.clock.jump(-200_000)
    coarsely(world, 400, step=2)
    assert restarted(world) == ["n1"]
    world.clock.jump(50_000)
    coarsely(world, 800, step=2)
    assert servers(world) == made and world.slurm.node("n1").flags == DOWN


@pytest.mark.parametrize("what", ["cloud", "slurm", "engine"])
def test_the_count_begins_anew_when_nobody_has_looked(what: str) -> None:
    world = world_of(1)
    silent(world, "n1")
    coarsely(world, 280, step=2)
    if what == "engine":
        world.crash()
    else:
        part = world.cloud if what == "cloud" else world.slurm
        part.unreachable = "503 Service Unavailable"
        coarsely(world, 400, step=2)
        assert not restarted(world)
        part.unreachable = ""
    coarsely(world, 280, step=2)
    assert not restarted(world)
    until_booting(world)


def test_an_engine_that_starts_anew_does_not_start_a_server_twice() -> None:
    world = world_of(1)
    silent(world, "n1")
    until_booting(world)
    for _ in range(8):
        world.crash()
        coarsely(world, 500, step=5)
    assert restarted(world) == ["n1"] and servers(world)


def killed_on_the_way(at: int, word: str = "", seconds: float = 5000) -> tuple[MemoryWorld, Fuse, list[str]]:
    """Tell a server's story with an engine that is killed after its N-th effect, or not at all.

    The cloud shows the server by this word; without one it is silent for ever.
    """
    world, asked = world_of(1), []
    reboot = world.cloud.reboot

    def watched(server_id: str, permit: Permit) -> None:
        asked.append(server_id)
        reboot(server_id, permit)

    world.cloud.reboot = watched  # type: ignore[method-assign]
    fuse = Fuse(world, at)
    fuse.watch("cloud", "reboot", "delete")
    fuse.watch("journal", "add_request", "save_notices")
    if word:
        status(world, word, "n1")
    else:
        silent(world, "n1")
    end = world.clock.now() + seconds
    while world.clock.now() < end:
        try:
            coarsely(world, end - world.clock.now(), 3)
        except Killed:
            world.crash()
    return world, fuse, asked


@pytest.mark.slow
def test_wherever_the_engine_is_killed_a_server_is_started_once_and_replaced_in_the_end() -> None:
    _, counted, asked = killed_on_the_way(0)
    assert counted.count > 10 and len(asked) == 1
    for at in range(1, counted.count + 1):
        world, fuse, asked = killed_on_the_way(at)
        assert len(asked) <= 1 and len(restarted(world)) == 1, fuse.last
        assert not servers(world), fuse.last
        world.silent.clear()
        comes_back(world)


def test_wherever_the_engine_is_killed_a_server_that_was_off_comes_back() -> None:
    _, counted, asked = killed_on_the_way(0, "SHUTOFF", 900)
    assert counted.count > 5 and len(asked) == 1
    for at in range(1, counted.count + 1):
        world, fuse, asked = killed_on_the_way(at, "SHUTOFF", 1200)
        assert len(restarted(world)) == 1 and len(asked) <= 1, fuse.last
        if asked:
            assert world.slurm.node("n1").up and not said(world), fuse.last
        else:  # killed when it was recorded and before the cloud was asked: replaced in the end
            coarsely(world, 2500, step=3)
            assert not servers(world) or world.slurm.node("n1").up, fuse.last


def test_a_restart_that_ends_in_error_gives_the_node_back() -> None:
    world = world_of(1)
    world.cloud.failed_changes["n1"] = "libvirt: no such disk"
    status(world, "SHUTOFF", "n1")
    coarsely(world, 600, step=2)
    (op,) = [one for one in operations(world, "n1") if one.action == "restart"]
    assert op.outcome == phases.FAILED and "no such disk" in op.text and restarted(world) == ["n1"]
    world.cloud.failed_changes.clear()
    comes_back(world)


def test_slurm_that_refuses_is_told_again_later() -> None:
    world = world_of(1, failure={"restart_after": 9000})
    silent(world, "n1")
    told: list[float] = []

    def refuse(nodes: object, *, state: str = "", **more: object) -> None:
        told.append(world.clock.now())
        raise SlurmError("Unable to contact slurm controller")

    update, world.slurm.update_nodes = world.slurm.update_nodes, refuse  # type: ignore[method-assign,assignment]
    coarsely(world, 3600, step=2)
    assert 2 <= len(told) <= 4 and servers(world)
    world.slurm.update_nodes = update  # type: ignore[method-assign]
    coarsely(world, 900, step=2)
    world.settle()
    assert not servers(world)


def test_a_node_that_can_not_be_read_is_left_and_its_warning_stays() -> None:
    world = world_of(1)
    silent(world, "n1")
    coarsely(world, 120, step=2)
    before = world.journal.notices()
    world.slurm.unreadable.add("n1")
    coarsely(world, 4000, step=5)
    assert not restarted(world) and servers(world) and world.journal.notices() == before
    world.slurm.unreadable.clear()
    until_booting(world)
