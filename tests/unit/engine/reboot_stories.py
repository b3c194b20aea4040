"""What tests of reboot requests begin with: nodes that are up, pools that were edited, and a request."""

from dataclasses import replace
from typing import Any

from slurm_powersave.model.modes import Mode
from slurm_powersave.model.nodes import Flavor, Operation, Request
from slurm_powersave.testing.world import MemoryWorld, cluster
from tests.unit.engine.stories import up

ROOMY = {"real_memory": 500, "cpus": 1}


def ready(nodes: int = 4, **pool: Any) -> MemoryWorld:
    """A world whose nodes are up and idle; `pool` changes the pool."""
    content = MemoryWorld.of(nodes).cluster.node_pools[0].model_dump(mode="json") | pool
    world = MemoryWorld.of(nodes, node_pools=[content])
    world.slurm.end(up(world, *world.cluster.nodes()))
    return world


def repool(world: MemoryWorld, **changes: Any) -> None:
    """Edit the pool in the cluster file, and start the engine again with it."""
    pool = world.cluster.node_pools[0].model_dump(mode="json") | changes
    world.cluster = cluster(len(world.cluster.nodes()), node_pools=[pool])
    world.crash()


def ask(world: MemoryWorld, node: str, words: str) -> Operation:
    """Do what `slurm-powersave reboot` does, and let it end."""
    request = Request(
        f"by-hand-{node}-{words}", Mode.REBOOT, node, world.clock.now(), "operator", action=words
    )
    world.journal.add_request(request, world.clock.now())
    world.settle(200)
    return world.journal.operations_of(request.id)[0]


def lose_flavor(world: MemoryWorld, *, anew: bool) -> MemoryWorld:
    """Let the cloud's people delete the nodes' flavor, and make it anew or not."""
    world.cloud.sizes["large"] = Flavor("large", 2, 2000, id="f-2")
    small = world.cloud.sizes.pop("small")
    if anew:
        world.cloud.sizes["small"] = replace(small, id="f-9")
        world.cloud.ids["small"] = "f-9"
    return world


def boots(world: MemoryWorld) -> dict[str, str]:
    """Every node's boot id."""
    return {name: world.cloud.boot_id(name) for name in world.cluster.nodes()}


def image(world: MemoryWorld, node: str) -> tuple[str, str]:
    """Image and flavor of a node's server."""
    (found,) = [server for server in world.cloud.alive() if server.name == node]
    return found.image, found.flavor
