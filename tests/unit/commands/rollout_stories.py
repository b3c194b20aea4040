"""What tests of `reimage --outdated` begin with, and a run that goes on to its end."""

from typing import Any

from slurm_powersave.commands.rollout import Rollout
from slurm_powersave.testing.world import MemoryWorld
from tests.unit.engine.checks import servers
from tests.unit.engine.reboot_stories import image, ready, repool


def outdated(nodes: int = 4) -> MemoryWorld:
    """A world whose nodes are up with image default; the pool wants other."""
    world = ready(nodes)
    repool(world, image="other")
    return world


def rollout(world: MemoryWorld, **options: Any) -> Rollout:
    """Begin a run, as the command does."""
    found: Rollout = Rollout(
        world.cluster,
        world.journal,
        world.slurm,
        world.clock,
        {"mem": world.cloud.servers()},
        [pool.name for pool in world.cluster.node_pools],
        **options,
    )
    found.look()
    return found


def go(world: MemoryWorld, run: Rollout, seconds: float = 600.0) -> int:
    """Let a run go on until it has ended; return how many nodes were out of service at most."""
    most = 0
    for _ in range(int(seconds / 0.5)):
        run.step()
        if run.ended:
            return most
        world.run(0.5)
        out = [
            n for n in world.cluster.nodes() if world.slurm.node(n).has("REBOOT_REQUESTED", "REBOOT_ISSUED")
        ]
        most = max(most, len(out))
    raise AssertionError(run.progress())


def images(world: MemoryWorld) -> dict[str, str]:
    """Image of each node's server."""
    return {name: image(world, name)[0] for name in servers(world)}
