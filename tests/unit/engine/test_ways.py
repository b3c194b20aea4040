"""Deletes while somebody else works in the node's Terraform state, with and without a cloud adapter."""

import pytest

from slurm_powersave.engine.loop import Engine
from slurm_powersave.engine.world import World
from slurm_powersave.testing.world import MemoryWorld
from tests.unit.engine.checks import outcomes, servers
from tests.unit.engine.stories import up


@pytest.mark.parametrize("adapter", [True, False], ids=["with an adapter", "without"])
def test_a_delete_in_a_busy_state_goes_by_server_id_or_waits_for_it(adapter: bool) -> None:
    world = MemoryWorld.of(2)
    world.slurm.end(up(world, "n1"))
    (shard,) = {record.shard for record in world.journal.node_records().values() if record.shard}
    if not adapter:
        parts = (world.cluster, world.journal, world.slurm, world.terraform, world.playbooks)
        world.engine = Engine(World(*parts, {}, world.clock, world.store), world.recovery.faults)
    world.terraform.locked.add(shard)
    world.slurm.suspend("n1")
    world.run(55)
    assert servers(world), "the state may be free soon"
    world.run(35)
    assert bool(servers(world)) is not adapter and not world.errors
    world.terraform.locked.clear()
    world.run(60)
    assert not servers(world) and not world.terraform.states[shard]
    assert outcomes(world, "n1")[-1] == ("suspend", "done")
