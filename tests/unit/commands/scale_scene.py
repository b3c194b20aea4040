"""A cluster in memory with two cluster files: the one that it runs with, and the one that is wanted."""

from collections.abc import Callable
from typing import Any

from slurm_powersave.commands.scale import News, ScaleContext, Scaling
from slurm_powersave.config.settings import Cluster
from slurm_powersave.decide.commands.scale import Change, Nodes, change
from slurm_powersave.model.nodes import NodeRecord
from slurm_powersave.testing.world import MemoryWorld, cluster
from tests.unit.engine.checks import servers
from tests.unit.engine.stories import up


class Killed(BaseException):
    """The resize ends here, at once."""


class Scene:
    """A world whose file is changed, and resizes on it."""

    def __init__(self, nodes: int, least: int) -> None:
        """The first `least` of so many nodes are up and idle."""
        self.world = MemoryWorld.of(nodes)
        self.world.journal.save_nodes(
            NodeRecord(self.world.cluster.node_spec(name)) for name in self.world.cluster.nodes()
        )
        self.news: list[News] = []
        self.applied: list[set[str]] = []
        self.fuse = -1
        """How many effects are left until it is killed; none if negative."""
        self.served: Callable[[], None] = lambda: None
        self.want(nodes, least)
        if least:
            self.world.slurm.end(up(self.world, *(f"n{number}" for number in range(1, least + 1))))
        self.world.slurm.configure(self.wanted.nodes(), self.wanted.persistent())

    def want(self, nodes: int, least: int, **pool: Any) -> None:
        """Change the file; the engine takes it."""
        content = cluster(nodes).node_pools[0].model_dump(mode="json") | {"min_nodes": least} | pool
        self.wanted: Cluster = cluster(nodes, node_pools=[content])
        self.world.cluster = self.wanted
        self.world.crash()

    @property
    def found(self) -> Change:
        """How the file differs from what is there."""
        world = self.world
        return change(
            self.wanted,
            slurm=world.slurm.snapshot().nodes,
            protected=world.slurm.suspend_exc_nodes(),
            wanted_protected=self.wanted.persistent(),
            recorded=world.journal.node_records().keys(),
            drains=world.journal.drains(),
        )

    def effect(self) -> None:
        """Count an effect."""
        if self.fuse == 0:
            raise Killed
        self.fuse -= 1

    @property
    def context(self) -> ScaleContext:
        """The world as a resize sees it."""
        world, scene = self.world, self

        class Fused:
            """Slurm, which may be the last thing that is told anything."""

            def __getattr__(self, name: str) -> Any:
                return getattr(world.slurm, name)

            def update_nodes(self, *args: Any, **options: Any) -> None:
                scene.effect()
                world.slurm.update_nodes(*args, **options)
                scene.effect()

        def pause(seconds: float) -> None:
            scene.effect()
            world.run(seconds)

        return ScaleContext(
            Fused(),  # type: ignore[arg-type]  # what it lacks it takes from MemorySlurm
            world.journal,
            world.clock,
            pause,
            self.apply,
            lambda: frozenset(servers(world)),
            self.news.append,
            self.served,
        )

    def apply(self, keep: Nodes, protect: Nodes) -> None:
        """Do what resize.yml does, and refuse what it refuses."""
        self.effect()
        slurm = self.world.slurm
        names = [*self.wanted.nodes(), *keep]
        for name in set(slurm.snapshot().nodes) - set(names):
            node = slurm.node(name)
            assert node.has("DRAIN") and node.going_down and not node.in_use, node
            assert name not in servers(self.world)
        slurm.configure(names, [*self.wanted.persistent(), *protect])
        self.applied.append(set(names))
        self.effect()
        off = [name for name in self.wanted.persistent() if slurm.node(name).has("POWERED_DOWN")]
        slurm.update_nodes([name for name in off if not slurm.node(name).has("DRAIN")], state="POWER_UP")

    def resize(self, timeout: float = 3600.0) -> Scaling:
        """Run one to its end."""
        self.world.journal.save_nodes(
            NodeRecord(self.wanted.node_spec(name))
            for name in self.wanted.nodes()
            if not self.world.journal.node_record(name)
        )
        one = Scaling(self.context, self.found, "1a2b", timeout)
        one.run()
        return one

    def states(self) -> dict[str, str]:
        """Node -> up or off, with DRAIN behind it."""
        shown = self.world.slurm.snapshot().nodes
        assert not [n for n, node in shown.items() if node.has("POWERED_DOWN") and node.has("NOT_RESPONDING")]
        words = {
            n: "up" if node.up else "off" if node.has("POWERED_DOWN") else "?" for n, node in shown.items()
        }
        return {n: word + (" DRAIN" if shown[n].has("DRAIN") else "") for n, word in words.items()}
