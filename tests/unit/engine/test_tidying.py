"""States that agree with the records again: what is waited for, what is left, and what is said of it."""

import logging
from collections.abc import Callable
from typing import Any

import pytest

from slurm_powersave.decide.node.plan_guard import tags
from slurm_powersave.model import phases
from slurm_powersave.model.nodes import RunResult, StateServer
from slurm_powersave.model.permit import Act
from slurm_powersave.testing.world import MemoryWorld
from tests.unit.engine.checks import assert_at_rest, servers
from tests.unit.engine.mending_stories import SHARD, two_up, without_adapter
from tests.unit.engine.stories import run_until

OTHER = "mem/nodes-002"


def gone(world: MemoryWorld) -> None:
    """Let the state hold a server that the cloud does not have."""
    world.terraform.states[SHARD]["n3"] = StateServer("gone")
    world.journal.set_dirty(SHARD, True)


def twice(world: MemoryWorld) -> None:
    """Let another state hold a second server of n1."""
    entry = world.terraform.maps[SHARD]["n1"]
    made = world.cloud.create(entry, tags(world.terraform.cluster, OTHER, entry))
    world.terraform.states[OTHER] = {"n1": StateServer(made)}
    world.terraform.maps[OTHER] = {"n1": entry}
    world.run(10)  # until the cloud lists it
    world.journal.set_dirty(OTHER, True)


def unreadable(world: MemoryWorld) -> None:
    """Let the state be one that can't be read."""
    gone(world)
    world.terraform.broken_shards.add(SHARD)


def failing(world: MemoryWorld) -> None:
    """Let the run that takes an entry out of the state fail."""
    gone(world)
    forget = world.terraform.forget_servers

    def fails(*given: Any) -> Any:
        logging.getLogger("slurm_powersave").info("it is to be taken out")
        run = forget(*given)
        run.at_end = lambda: RunResult(False, "Error acquiring the state lock")
        return run

    world.terraform.forget_servers = fails  # type: ignore[method-assign]


@pytest.mark.parametrize(
    ("trouble", "said"),
    [(unreadable, "not readable"), (twice, "as well: left"), (failing, "to be taken out")],
)
def test_what_fails_is_tried_again_after_a_minute(
    trouble: Callable[[MemoryWorld], None], said: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "slurm_powersave")
    world = two_up()
    trouble(world)
    world.run(100)
    assert 2 <= sum(said in one.getMessage() for one in caplog.records) <= 3
    assert world.journal.dirty_shards()


def test_a_second_server_of_a_node_takes_no_record() -> None:
    world = two_up()
    before = world.journal.node_records()["n1"]
    twice(world)
    world.run(30)
    assert world.journal.node_records()["n1"] == before
    assert set(world.terraform.states[OTHER]) == {"n1"} and len(servers(world)["n1"]) == 2


def test_what_leaves_a_state_is_in_the_history_with_its_evidence() -> None:
    world = two_up()
    gone(world)
    world.run(30)
    assert set(world.terraform.states[SHARD]) == {"n1", "n2"}
    (act,) = world.journal.newest_acts("n3", 10)
    assert (act.act, act.subject, act.evidence) == (Act.VANISHED, "gone", "the cloud does not list it")


def test_nothing_is_recorded_of_a_server_while_the_cloud_can_not_be_read() -> None:
    world = two_up()
    world.journal.forget_nodes(["n1"])
    world.cloud.unreachable = "503 Service Unavailable"
    gone(world)
    world.crash()
    world.run(30)
    records = world.journal.node_records()
    assert not [name for name in ("n1", "n3") if name in records and records[name].server_id]
    world.cloud.unreachable = ""
    world.run(90)
    assert world.journal.node_records()["n1"].server_id == servers(world)["n1"][0]
    assert set(world.terraform.states[SHARD]) == {"n1", "n2"}


def test_without_an_adapter_each_look_asks_terraform_anew() -> None:
    world = two_up()
    world.journal.forget_nodes(["n1"])
    world.journal.set_dirty(SHARD, True)
    without_adapter(world)
    world.run(30)
    assert not world.journal.dirty_shards()
    gone(world)
    world.run(30)
    assert set(world.terraform.states[SHARD]) == {"n1", "n2"} and not world.journal.dirty_shards()


def test_a_state_is_left_alone_until_it_is_known_whose_its_servers_are() -> None:
    world = MemoryWorld.of(2)
    world.run(2)
    world.slurm.submit("n1")
    run_until(world, "n1", phases.APPLYING)
    world.terraform.states[SHARD].clear()  # Terraform is killed before it has written what it has made
    for run in world.terraform.runs.values():
        run.kill()
    world.cloud.unreachable = "503 Service Unavailable"
    world.journal.set_dirty(SHARD, True)
    world.run(30)
    assert world.newest("n1").phase == phases.RECOVERING
    assert world.journal.dirty_shards() == {SHARD}
    world.cloud.unreachable = ""
    world.settle(120)
    world.run(60)
    assert_at_rest(world)
