"""What is said of a silent server: warnings, the comment of the job that died, operations."""

from dataclasses import replace

import pytest

from slurm_powersave.model import phases
from slurm_powersave.testing.world import MemoryWorld
from tests.unit.engine.checks import coarsely, operations, servers
from tests.unit.engine.silence_stories import down, said, silent, until_booting, world_of
from tests.unit.engine.stories import run_job

# Warnings


def test_a_warning_ends_when_the_node_answers_again() -> None:
    world = world_of(1)
    silent(world, "n1")
    coarsely(world, 120, step=2)
    assert said(world)
    world.silent.clear()
    world.slurm.register("n1", booted=False)
    coarsely(world, 60, step=2)
    assert world.slurm.node("n1").up and not world.journal.notices()


def test_a_warning_stays_while_the_cloud_can_not_be_read() -> None:
    world = world_of(1)
    silent(world, "n1")
    coarsely(world, 120, step=2)
    before = world.journal.notices()
    world.crash()
    world.cloud.unreachable = "503 Service Unavailable"
    coarsely(world, 120, step=2)
    assert world.journal.notices() == before


def test_a_warning_is_written_once() -> None:
    world = world_of(1)
    silent(world, "n1")
    coarsely(world, 120, step=2)
    writes: list[object] = []
    world.journal.save_notices = lambda found, gone: writes.append(found)  # type: ignore[method-assign]
    coarsely(world, 120, step=2)
    assert not writes


# The job


def lost(world: MemoryWorld, job: int) -> str:
    return world.slurm.comments.get(job, {}).get("AdminComment", "")


@pytest.mark.parametrize(
    ("end", "why"),
    [("vanish", "its server is gone"), ("ERROR", "is in ERROR"), ("SHUTOFF", "(SHUTOFF) is off"),
     ("silent", "(ACTIVE) does not answer SSH"), ("slurmd", "(ACTIVE) answers SSH")],
)  # fmt: skip
def test_the_job_says_why_its_node_died(end: str, why: str) -> None:
    world = MemoryWorld.of(2)
    job = run_job(world, "n1")
    coarsely(world, 40, step=1)
    (server,) = servers(world)["n1"]
    if end == "vanish":
        world.cloud.vanish(server)
    elif end == "silent":
        world.silent.add("n1")
    elif end != "slurmd":
        world.cloud.set_status(server, end)
    down(world, "n1")
    coarsely(world, 120, step=1)
    assert lost(world, job).startswith("slurm-powersave: n1 died while this job ran there")
    assert why in lost(world, job) and "Not responding" in lost(world, job)
    assert len(lost(world, job)) <= 240 and lost(world, job).isprintable()


def test_what_somebody_else_has_written_stays() -> None:
    world = MemoryWorld.of(2)
    job = run_job(world, "n1")
    coarsely(world, 40, step=1)
    world.slurm.comments[job] = {"AdminComment": "charged to project 7"}
    silent(world, "n1")
    coarsely(world, 120, step=1)
    assert lost(world, job) == "charged to project 7"


def test_a_job_that_was_seen_to_end_otherwise_is_told_nothing() -> None:
    world = MemoryWorld.of(2)
    job = run_job(world, "n1")
    coarsely(world, 40, step=1)
    silent(world, "n1")
    world.slurm.jobs[job] = replace(world.slurm.jobs[job], state="COMPLETED", nodes=())
    coarsely(world, 120, step=1)
    assert not lost(world, job)


def test_one_that_ended_before_its_node_died_is_told_nothing() -> None:
    world = MemoryWorld.of(2)
    job = run_job(world, "n1")
    coarsely(world, 40, step=1)
    kept = world.slurm.jobs[job]
    world.slurm.end(job)
    coarsely(world, 40, step=1)
    world.slurm.jobs[job] = replace(kept, state="PENDING", nodes=())
    silent(world, "n1")
    coarsely(world, 120, step=1)
    assert not lost(world, job)


def test_an_engine_that_starts_anew_still_knows_the_job_of_a_node_that_is_not_heard() -> None:
    world = MemoryWorld.of(2)
    job = run_job(world, "n1")
    world.silent.add("n1")
    world.slurm.answers = lambda name: False
    node = world.slurm.node("n1")
    world.slurm.put(replace(node, flags=frozenset({"ALLOCATED", "CLOUD", "NOT_RESPONDING"})))
    coarsely(world, 60, step=1)
    world.engine = None  # type: ignore[assignment]
    down(world, "n1")
    world.crash()
    coarsely(world, 120, step=1)
    assert "does not answer SSH" in lost(world, job)
    assert not world.journal.notices()["n1"].jobs, "it is told once"


def test_operations_of_a_restart_are_named_as_such() -> None:
    world = world_of(1)
    silent(world, "n1")
    until_booting(world)
    assert [(op.mode, op.action) for op in operations(world, "n1")][-1] == ("reboot", "restart")


def test_a_server_that_answers_again_while_its_deletion_does_not_end_is_kept_and_that_is_said() -> None:
    """The cloud has accepted the deletion and does nothing; to ask once more would need new evidence."""
    world = world_of(1, failure={"silent_after": 300}, terraform={"apply_timeout": 60})
    (server_id,) = servers(world)["n1"]
    world.cloud.undying.add(server_id)
    silent(world, "n1")
    for _ in range(3000):
        coarsely(world, 1, step=1)
        if world.newest("n1").phase in (phases.DELETING, phases.VERIFYING):
            break
    world.silent.clear()
    coarsely(world, 400, step=1)
    op = world.newest("n1")
    assert op.outcome == phases.REFUSED, op
    assert op.text == f"server {server_id}: it answers SSH"
    assert servers(world) == {"n1": [server_id]}
