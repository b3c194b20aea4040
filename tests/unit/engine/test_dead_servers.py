"""A server that is gone or in ERROR under a node that was up: somebody is responsible for the node."""

from dataclasses import replace

import pytest

from slurm_powersave.testing.world import MemoryWorld
from tests.unit.engine.checks import coarsely, servers
from tests.unit.engine.stories import comes_back, run_job

VERSIONS = pytest.mark.parametrize("version", ["22.05", "24.11", "26.05"])


def idle(version: str = "26.05") -> MemoryWorld:
    """A world in which n1 is up and idle."""
    world = MemoryWorld.of(2, slurm_version=version)
    world.slurm.end(run_job(world, "n1"))
    return world


def not_responding(world: MemoryWorld, reason: str = "Not responding", by: str = "slurm", *more: str) -> None:
    """Let slurmctld find that n1 does not answer."""
    node = world.slurm.node("n1")
    flags = frozenset({"DOWN", "CLOUD", "NOT_RESPONDING", *more})
    world.slurm.put(replace(node, flags=flags, reason=reason, reason_by=by))


@pytest.mark.parametrize("since", [(), ("POWERED_DOWN",)], ids=["down", "powered down since"])
@pytest.mark.parametrize("reason", ["Not responding", " : Not responding"])
@VERSIONS
def test_a_node_whose_server_has_gone_is_given_back(
    version: str, reason: str, since: tuple[str, ...]
) -> None:
    world = idle(version)
    world.cloud.vanish(servers(world)["n1"][0])
    not_responding(world, reason, "slurm", *since)
    coarsely(world, 120)
    comes_back(world)


@VERSIONS
def test_a_server_in_error_is_replaced_by_the_next_resume(version: str) -> None:
    world = idle(version)
    world.cloud.set_status(servers(world)["n1"][0], "ERROR", "hypervisor died")
    not_responding(world)
    coarsely(world, 120)
    comes_back(world)


@pytest.mark.parametrize(
    ("reason", "by"),
    [("bad DIMM", "root"), ("bad DIMM", "slurm"), ("bad DIMM : Not responding", "root"), ("", "")],
)
def test_what_an_administrator_has_set_down_is_left(reason: str, by: str) -> None:
    world = idle()
    world.cloud.vanish(servers(world)["n1"][0])
    not_responding(world, reason, by)
    coarsely(world, 3600, step=5)
    assert world.slurm.node("n1").has("DOWN") and world.slurm.node("n1").reason == reason


def test_a_node_with_a_job_is_left_to_slurm() -> None:
    world = MemoryWorld.of(2)
    run_job(world, "n1")
    world.cloud.vanish(servers(world)["n1"][0])
    node = world.slurm.node("n1")
    world.slurm.put(replace(node, flags=frozenset({"ALLOCATED", "CLOUD", "NOT_RESPONDING"})))
    coarsely(world, 600, step=2)
    assert not world.slurm.node("n1").going_down


def test_a_node_that_slurm_hears_again_comes_back_where_a_blank_keeps_it_down() -> None:
    """Slurm itself takes back one whose reason begins with its own words (ReturnToService=1)."""
    world = idle("24.11")
    node = replace(world.slurm.node("n1"), flags=frozenset({"DOWN", "CLOUD"}), reason=" : Not responding")
    world.slurm.put(replace(node, reason_by="slurm"))
    coarsely(world, 120)
    assert world.slurm.node("n1").up and not world.slurm.node("n1").has("DOWN")


@pytest.mark.parametrize(
    ("flags", "reason", "by"),
    [
        ("DOWN+DRAIN", " : Not responding", "slurm"),
        ("DOWN", "bad DIMM : Not responding", "slurm"),
        ("DOWN", " : Not responding", "root"),
        ("DOWN+NOT_RESPONDING", " : Not responding", "slurm"),
    ],
)
def test_what_somebody_may_have_set_down_does_not(flags: str, reason: str, by: str) -> None:
    world = idle("24.11")
    node = replace(world.slurm.node("n1"), flags=frozenset({"CLOUD", *flags.split("+")}))
    world.slurm.put(replace(node, reason=reason, reason_by=by))
    coarsely(world, 120)
    assert world.slurm.node("n1").has("DOWN")
