"""A cloud that keeps deleted servers for a while, with their addresses."""

from slurm_powersave.model import phases
from slurm_powersave.model.permit import Row
from slurm_powersave.testing.world import MemoryWorld
from tests.unit.engine.checks import assert_at_rest, operations
from tests.unit.engine.stories import up


def off_again() -> MemoryWorld:
    """A world in which n1 was up, and its deleted server is kept by the cloud."""
    world = MemoryWorld.of(2)
    world.cloud.soft_delete = True
    world.slurm.end(up(world, "n1"))
    world.slurm.suspend("n1")
    world.run(5)
    world.settle(300)
    assert world.cloud.servers() == []
    kept = world.cloud.server("id-1")
    assert kept and kept.status == "SOFT_DELETED"
    return world


def test_the_next_resume_deletes_the_old_server_for_good() -> None:
    world = off_again()
    job = world.slurm.submit("n1")
    world.settle(300)
    op = operations(world, "n1")[-1]
    assert op.outcome == phases.DONE, op.text
    assert world.cloud.server("id-1") is None
    assert [server.name for server in world.cloud.servers()] == ["n1"]
    assert [(act.subject, act.row) for act in world.journal.acts(op.id)] == [("id-1", Row.BEFORE_CREATION)]
    world.slurm.end(job)
    assert_at_rest(world)


def test_another_nodes_server_is_named_and_left() -> None:
    world = off_again()
    (kept,) = world.cloud.kept()
    tags = frozenset(tag for tag in kept.tags if not tag.startswith("node="))
    world.cloud.edit(kept.id, name="n9", tags=tags | {"node=n9"})
    world.slurm.submit("n1")
    world.run(60)
    (op,) = [op for op in operations(world, "n1") if op.failure][:1]
    assert "already in use on instance id-1" in op.text and "n9, a server of this cluster" in op.text
    assert "SOFT_DELETED" in op.text and world.cloud.server("id-1")


def test_a_server_that_does_not_go_is_not_waited_for_for_ever() -> None:
    world = off_again()
    world.cloud.delete_seconds = 10_000
    world.slurm.submit("n1")
    world.run(120)
    assert any(op.failure for op in operations(world, "n1"))
