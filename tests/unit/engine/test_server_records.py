"""An engine that wakes up with a journal and states from a backup, in a world that has gone on."""

import copy
import sqlite3
from collections.abc import Callable

import pytest

from slurm_powersave.adapters.journal.sqlite import SqliteJournal
from slurm_powersave.commands import restore
from slurm_powersave.testing.world import MemoryWorld
from tests.unit.engine.checks import assert_at_rest, assert_one_outcome_each, coarsely, servers
from tests.unit.engine.stories import run_until, up


def backup(world: MemoryWorld) -> Callable[[], None]:
    """Copy journal, maps and states; return what puts them back and starts an engine on them."""
    kept = sqlite3.connect(":memory:", check_same_thread=False)
    world.journal._db.backup(kept)
    terraform = copy.deepcopy((world.terraform.maps, world.terraform.states))

    def put_back() -> None:
        world.journal = SqliteJournal(":memory:")
        kept.backup(world.journal._db)
        world.terraform.maps, world.terraform.states = copy.deepcopy(terraform)
        world.terraform.runs.clear()
        restore.end_operations(world.journal, "restored")
        restore.align(world.journal, world.terraform, ["mem"])
        world.crash()

    return put_back


def assert_agreed(world: MemoryWorld) -> None:
    """The journal names the servers that there are; every state holds what its map asks for, all alive."""
    real = {name: ids[0] for name, ids in servers(world).items()}
    recorded = {name: r.server_id for name, r in world.journal.node_records().items() if r.server_id}
    assert recorded == real
    for shard, state in world.terraform.states.items():
        assert set(state) == set(world.terraform.maps[shard]), f"{shard}: a plan would change something"
        assert {name: server.id for name, server in state.items()}.items() <= real.items()
    assert not world.journal.dirty_shards()
    assert_one_outcome_each(world)


def go_down(world: MemoryWorld, job: int, node: str) -> None:
    world.slurm.end(job)
    world.slurm.suspend(node)
    world.settle(60)


def test_a_server_made_after_the_backup_keeps_its_job_and_is_served_from_then_on() -> None:
    world = MemoryWorld.of(4)
    up(world, "n1")
    put_back = backup(world)
    job = up(world, "n2")
    made = servers(world)
    put_back()
    world.run(60)
    assert servers(world) == made
    assert world.slurm.node("n2").up and world.slurm.node("n2").in_use
    assert_agreed(world)
    go_down(world, job, "n2")
    assert set(servers(world)) == {"n1"}
    up(world, "n2", "n3")
    assert set(servers(world)) == {"n1", "n2", "n3"}
    world.run(40)
    assert_at_rest(world)


def test_a_server_deleted_after_the_backup_is_forgotten_and_comes_again() -> None:
    world = MemoryWorld.of(2)
    job = up(world, "n1")
    put_back = backup(world)
    go_down(world, job, "n1")
    put_back()
    world.run(60)
    assert servers(world) == {}
    assert_agreed(world)
    up(world, "n1")
    world.run(40)
    assert_at_rest(world)


def test_a_node_with_another_server_than_in_the_backup() -> None:
    world = MemoryWorld.of(2)
    job = up(world, "n1")
    put_back = backup(world)
    go_down(world, job, "n1")
    job = up(world, "n1")
    made = servers(world)
    put_back()
    world.run(60)
    assert servers(world) == made
    assert_agreed(world)
    go_down(world, job, "n1")
    assert servers(world) == {}
    assert_agreed(world)


@pytest.mark.parametrize("phase", ["queued", "planning", "applying", "configuring"])
def test_a_backup_in_the_middle_of_a_resume(phase: str) -> None:
    world = MemoryWorld.of(2)
    world.slurm.submit("n1")
    run_until(world, "n1", phase)
    put_back = backup(world)
    world.settle(60)
    made = servers(world)
    put_back()
    world.run(60)
    assert servers(world) == made, "the node was up with its job: it is not made again"
    assert_agreed(world)


def test_a_backup_in_the_middle_of_a_suspend() -> None:
    world = MemoryWorld.of(2)
    job = up(world, "n1")
    world.slurm.end(job)
    world.slurm.suspend("n1")
    run_until(world, "n1", "deleting")
    put_back = backup(world)
    world.settle(60)
    job = up(world, "n1")
    made = servers(world)
    put_back()
    world.run(60)
    assert servers(world) == made
    assert_agreed(world)


def test_what_slurm_has_powered_down_meanwhile_is_not_left() -> None:
    world = MemoryWorld.of(2)
    put_back = backup(world)
    job = up(world, "n1")
    world.slurm.hook = lambda mode, nodes: None  # the request went with the old journal
    world.slurm.end(job)
    world.slurm.suspend("n1")
    world.run(0.2)
    world.slurm.hook = world.hook
    put_back()
    coarsely(world, 960, step=2)
    world.settle(60)
    assert servers(world) == {}
    assert_agreed(world)


def test_what_slurm_has_asked_for_meanwhile_is_served() -> None:
    world = MemoryWorld.of(2)
    put_back = backup(world)
    world.slurm.hook = lambda mode, nodes: None
    world.slurm.submit("n1")
    world.slurm.hook = world.hook
    put_back()
    world.run(60)
    world.settle(60)
    assert world.slurm.node("n1").up
    assert_at_rest(world)


def test_states_that_are_newer_than_the_journal() -> None:
    """They are copied one after the other: the node came up in between."""
    world = MemoryWorld.of(2)
    up(world, "n1")
    journal_only = backup(world)
    up(world, "n2")
    terraform = copy.deepcopy((world.terraform.maps, world.terraform.states))
    made = servers(world)
    journal_only()
    world.terraform.maps, world.terraform.states = terraform
    restore.align(world.journal, world.terraform, ["mem"])
    world.crash()
    world.run(60)
    assert servers(world) == made
    assert_at_rest(world)


def test_nothing_is_taken_in_while_the_cloud_is_unreadable() -> None:
    world = MemoryWorld.of(2)
    up(world, "n1")
    world.cloud.unreachable = "503"
    world.run(120)
    assert world.journal.node_records()["n1"].server_id
    world.cloud.unreachable = ""
    world.run(60)
    assert_at_rest(world)


def test_two_unknown_servers_of_one_name_are_left_to_a_person(caplog: pytest.LogCaptureFixture) -> None:
    world = MemoryWorld.of(2)
    put_back = backup(world)
    up(world, "n1")
    entry = world.terraform.maps[world.journal.node_records()["n1"].shard]["n1"]
    world.cloud.create(entry, frozenset({"slurm-powersave", "cluster=test", "node=n1"}))
    put_back()
    world.run(90)
    assert len(servers(world)["n1"]) == 2
    assert "double node=n1" in caplog.text


def test_a_server_that_vanished_is_forgotten_although_its_node_counts_as_up() -> None:
    world = MemoryWorld.of(2)
    up(world, "n1")
    world.cloud.vanish(servers(world)["n1"][0])
    world.run(60)
    assert not world.journal.node_records()["n1"].server_id
    assert_agreed(world)
