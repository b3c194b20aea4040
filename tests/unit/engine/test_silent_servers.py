"""A server that is off or silent under a node that Slurm has set DOWN: started again once, then replaced."""

from dataclasses import replace

import pytest

from slurm_powersave.decide.node import silence_text
from slurm_powersave.model import phases
from slurm_powersave.model.records import Pause
from slurm_powersave.testing.world import MemoryWorld
from tests.unit.engine.checks import assert_agreed, coarsely, servers
from tests.unit.engine.silence_stories import (
    DOWN,
    VERSIONS,
    down,
    restarted,
    said,
    silent,
    status,
    until_booting,
    world_of,
)
from tests.unit.engine.stories import comes_back, run_job

# Started again


@pytest.mark.parametrize("version", VERSIONS)
def test_a_silent_server_is_started_again_and_its_node_given_back(version: str) -> None:
    world = world_of(1, version=version)
    made = servers(world)
    silent(world, "n1")
    coarsely(world, 280, step=2)
    assert not restarted(world) and "It is started again when" in said(world)
    op = until_booting(world)
    assert op.kind == "restart" and op.server_id == made["n1"][0]
    world.silent.clear()
    coarsely(world, 60)
    assert world.slurm.node("n1").up and servers(world) == made
    assert world.newest("n1").outcome == phases.DONE
    assert restarted(world) == ["n1"] and not said(world)
    assert_agreed(world)


@pytest.mark.parametrize("word", ["SHUTOFF", "SUSPENDED", "PAUSED", "SHELVED", "SHELVED_OFFLOADED"])
def test_a_server_that_is_off_is_started(word: str) -> None:
    world = world_of(1)
    made = servers(world)
    status(world, word, "n1")
    coarsely(world, 60, step=2)
    assert word in said(world)
    coarsely(world, 400, step=2)
    assert world.slurm.node("n1").up and servers(world) == made and not said(world)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("word", ["SHUTOFF", "SHELVED_OFFLOADED"])
def test_one_that_the_cloud_does_not_start_is_replaced(word: str, version: str) -> None:
    world = world_of(1, version=version)
    world.cloud.refused_changes["n1"] = "Cannot 'reboot' instance while it is in vm_state shelved"
    status(world, word, "n1")
    coarsely(world, 400, step=2)
    assert world.newest("n1").outcome == phases.FAILED and "Cannot 'reboot'" in world.newest("n1").text
    assert world.slurm.node("n1").flags == DOWN, "a restart that failed is no failure of the node's"
    coarsely(world, 1300, step=2)
    assert servers(world) and restarted(world) == ["n1"]
    coarsely(world, 300, step=2)
    world.settle()
    assert not servers(world)
    comes_back(world)


@pytest.mark.parametrize("version", VERSIONS)
def test_one_that_stays_silent_is_replaced_after_half_an_hour(version: str) -> None:
    world = world_of(1, version=version)
    (server,) = servers(world)["n1"]
    silent(world, "n1")
    coarsely(world, 1790, step=2)
    assert servers(world) and world.slurm.node("n1").has("DOWN") and restarted(world) == ["n1"]
    coarsely(world, 300, step=2)
    world.settle()
    assert not servers(world)
    acts = world.journal.acts_on(server)
    assert [(one.act, one.row) for one in acts] == [
        ("reboot", "dead or silent server"),
        ("POWER_DOWN", "dead or silent server"),
        ("delete", "dead or silent server"),
    ]
    assert "no job" in acts[0].evidence and "does not answer SSH" in acts[0].evidence
    world.silent.clear()
    comes_back(world)
    assert not said(world)


def test_one_that_boots_and_does_not_register_is_not_replaced_while_it_answers() -> None:
    world = world_of(1)
    made = servers(world)
    silent(world, "n1")
    world.slurm.answers = lambda name: False
    world.playbooks.faults["n1"] = "mount failed"
    until_booting(world)
    world.silent.clear()
    coarsely(world, 4000, step=4)
    assert world.newest("n1").outcome == phases.FAILED and "mount failed" in world.newest("n1").text
    assert servers(world) == made and "systemctl status slurmd" in said(world)


# Left


def test_a_server_that_answers_is_named_and_left() -> None:
    world = world_of(1)
    made = servers(world)
    down(world, "n1")
    coarsely(world, 4000, step=4)
    assert servers(world) == made and world.slurm.node("n1").flags == DOWN and not restarted(world)
    assert "systemctl status slurmd" in said(world)
    assert world.journal.notices()["n1"].command == "slurm-powersave suspend"


def test_one_that_slurm_hears_is_left_though_its_sshd_is_silent() -> None:
    world = world_of(1)
    silent(world, "n1")
    node = world.slurm.node("n1")
    world.slurm.put(replace(node, flags=frozenset({"DOWN", "CLOUD"}), reason="Node unexpectedly rebooted"))
    coarsely(world, 4000, step=4)
    assert servers(world) and not restarted(world) and "state=RESUME" in said(world)


def test_one_in_rescue_mode_is_a_person_s() -> None:
    world = world_of(1)
    made = servers(world)
    status(world, "RESCUE", "n1")
    coarsely(world, 5000, step=5)
    assert servers(world) == made and world.slurm.node("n1").flags == DOWN and not restarted(world)
    assert "A person works on it" in said(world) and not world.journal.notices()["n1"].command


@pytest.mark.parametrize("word", ["MIGRATING", "UNKNOWN", "BUILD"])
def test_what_is_being_changed_is_left(word: str) -> None:
    world = world_of(1)
    made = servers(world)
    world.silent.add("n1")
    status(world, word, "n1")
    coarsely(world, 4000, step=5)
    assert servers(world) == made and not restarted(world) and word in said(world)


@pytest.mark.parametrize(
    ("more", "reason", "by"),
    [
        ((), "bad DIMM", "root"),
        ((), "bad DIMM", "slurm"),
        (("DRAIN",), "Not responding", "slurm"),
        (("MAINTENANCE",), "Not responding", "slurm"),
        (("RESERVED",), "Not responding", "slurm"),
    ],
)
def test_a_person_s_node_is_left(more: tuple[str, ...], reason: str, by: str) -> None:
    world = world_of(1)
    made = servers(world)
    silent(world, "n1")
    node = world.slurm.node("n1")
    world.slurm.put(replace(node, flags=DOWN | set(more), reason=reason, reason_by=by))
    coarsely(world, 4000, step=5)
    assert servers(world) == made and not restarted(world) and world.slurm.node("n1").has("DOWN")


def test_a_node_in_use_that_slurm_does_not_hear_is_left_until_it_is_down() -> None:
    world = MemoryWorld.of(2)
    job = run_job(world, "n1")
    made = servers(world)
    world.silent.add("n1")
    world.slurm.answers = lambda name: False
    node = world.slurm.node("n1")
    world.slurm.put(replace(node, flags=frozenset({"ALLOCATED", "CLOUD", "NOT_RESPONDING"})))
    coarsely(world, 4000, step=5)
    assert servers(world) == made and not restarted(world)
    assert said(world) == silence_text.IN_USE and world.journal.notices()["n1"].jobs == (job,)
    down(world, "n1")
    until_booting(world)


def test_while_a_job_is_listed_there_nothing_is_done() -> None:
    world = MemoryWorld.of(2)
    job = run_job(world, "n1")
    listed = world.slurm.jobs[job]
    silent(world, "n1")
    world.slurm.jobs[job] = replace(listed, state="COMPLETING")
    coarsely(world, 4000, step=5)
    assert servers(world) and not restarted(world) and f"job {job}" in said(world)


def test_a_paused_pool_is_left() -> None:
    world = world_of(1)
    silent(world, "n1")
    world.journal.save_pause(Pause("", "the switch is replaced", "root", world.clock.now()))
    coarsely(world, 4000, step=5)
    assert servers(world) and not restarted(world) and "the switch is replaced" in said(world)


def test_a_host_that_can_not_ask_knows_nothing() -> None:
    world = world_of(1)
    silent(world, "n1")
    world.playbooks.blind = True
    coarsely(world, 4000, step=5)
    assert servers(world) and not restarted(world)


# Nodes that are to stay up


def test_one_of_min_nodes_is_replaced_and_comes_back() -> None:
    pool = world_of(1).cluster.node_pools[0].model_dump(mode="json")
    world = world_of(1, node_pools=[pool | {"min_nodes": 1}])
    made = servers(world)
    silent(world, "n1")
    coarsely(world, 120, step=2)
    assert world.journal.notices()["n1"].command == "slurm-powersave suspend --force"
    until_booting(world)
    coarsely(world, 2000, step=2)
    world.silent.clear()
    coarsely(world, 400, step=2)
    assert world.slurm.node("n1").up and servers(world) != made
    assert_agreed(world)
