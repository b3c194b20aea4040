"""Nodes that were up and idle, and whose servers are off or silent now."""

from dataclasses import replace

from slurm_powersave.model import phases
from slurm_powersave.model.nodes import Operation
from slurm_powersave.model.permit import Act, Row
from slurm_powersave.testing.world import MemoryWorld
from tests.unit.engine.checks import coarsely, servers
from tests.unit.engine.stories import run_job

VERSIONS = ["22.05", "24.11", "26.05"]
DOWN = frozenset({"DOWN", "CLOUD", "NOT_RESPONDING"})


def world_of(up_nodes: int, nodes: int = 0, version: str = "26.05", **extra: object) -> MemoryWorld:
    """A world in which n1 to nN are up and idle."""
    world = MemoryWorld.of(nodes or max(up_nodes, 2), slurm_version=version, **extra)
    world.slurm.end(run_job(world, *names(up_nodes)))
    return world


def names(count: int) -> list[str]:
    return [f"n{number}" for number in range(1, count + 1)]


def down(world: MemoryWorld, *nodes: str) -> None:
    """Let slurmctld find that nodes do not answer: what ran there is requeued."""
    for name in nodes:
        world.slurm.requeue(name)
        node = replace(world.slurm.node(name), flags=DOWN, reason="Not responding", reason_by="slurm")
        world.slurm.put(node)


def silent(world: MemoryWorld, *nodes: str) -> None:
    """Servers run and answer nobody."""
    world.silent |= set(nodes)
    down(world, *nodes)


def status(world: MemoryWorld, word: str, *nodes: str) -> None:
    """The cloud shows servers so, and their nodes are DOWN."""
    for name in nodes:
        world.cloud.set_status(servers(world)[name][0], word)
    down(world, *nodes)


def dead_acts(world: MemoryWorld, act: Act) -> list[str]:
    """The nodes for which an act on a dead server was recorded."""
    return [one.node for one in world.journal.acts_since(0.0, [Row.DEAD]) if one.act == act]


def restarted(world: MemoryWorld) -> list[str]:
    return dead_acts(world, Act.REBOOT)


def said(world: MemoryWorld, node: str = "n1") -> str:
    notice = world.journal.notices().get(node)
    return notice.text if notice else ""


def until_booting(world: MemoryWorld) -> Operation:
    """Go on until a server is started again."""
    for _ in range(600):
        coarsely(world, 1, step=1)
        if world.newest("n1").phase == phases.BOOTING:
            return world.newest("n1")
    raise AssertionError("it was not started again")
