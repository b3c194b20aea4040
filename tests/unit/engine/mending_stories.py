"""Two nodes in one state, as the tests of spoiled and of untidy states need them."""

from slurm_powersave.engine.loop import Engine
from slurm_powersave.engine.world import World
from slurm_powersave.testing.world import MemoryWorld
from tests.unit.engine.stories import up

SHARD = "mem/nodes-001"


def two_up() -> MemoryWorld:
    """Two nodes with servers, in one shard."""
    world = MemoryWorld.of(3)
    world.run(2)
    up(world, "n1", "n2")
    assert {record.shard for record in world.journal.node_records().values() if record.server_id} == {SHARD}
    return world


def without_adapter(world: MemoryWorld) -> None:
    """Let the engine know no adapter of the cloud."""
    parts = (world.cluster, world.journal, world.slurm, world.terraform, world.playbooks)
    world.engine = Engine(World(*parts, {}, world.clock, world.store), world.recovery.faults)
