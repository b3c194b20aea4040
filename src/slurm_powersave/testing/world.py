"""The in-memory world: everything the engine speaks with, on a clock that a test moves.

    world = MemoryWorld.of(4)
    world.slurm.submit("n1", "n2")
    world.run(30)
    assert world.slurm.node("n1").up

The engine may be dropped at any moment (`world.crash()`): what is outside of it goes on, as
detached processes do, and a new engine takes over with the same journal.
"""

import uuid
from dataclasses import dataclass, field
from pathlib import Path

from slurm_powersave.adapters.journal.sqlite import SqliteJournal
from slurm_powersave.adapters.state_dir.store import StateDirectory
from slurm_powersave.config.settings import Cluster
from slurm_powersave.engine.loop import Engine
from slurm_powersave.engine.recovery import Recovery
from slurm_powersave.engine.world import World
from slurm_powersave.model.modes import Mode
from slurm_powersave.model.nodes import NodeFacts, NodeSpec, Operation, Request
from slurm_powersave.model.server_status import OFF, RESCUED
from slurm_powersave.model.timing import USUAL, Timing
from slurm_powersave.ports.journal import Journal
from slurm_powersave.ports.state_store import StateStore
from slurm_powersave.testing.cloud import MemoryClock, MemoryCloud
from slurm_powersave.testing.playbooks import MemoryPlaybooks
from slurm_powersave.testing.slurm import MemorySlurm
from slurm_powersave.testing.terraform import MemoryTerraform

STEP = 0.1
"""Seconds between two steps of the engine in `run`."""


SMALL = NodeFacts(1, 900)
"""What slurm.conf says of nodes on the cloud's smallest flavor, with the usual memory_margin."""


def cluster(nodes: int = 4, **extra: object) -> Cluster:
    """Make a cluster of one pool, n1 to nN, without reading a file."""
    content: dict[str, object] = {
        "cluster_name": "test",
        "state_dir": Path("/nonexistent"),
        "clouds": {"mem": {"adapter": "none", "nodes_module": Path("/nonexistent")}},
        "login": {"name": "login", "address": "10.0.0.2", "image": "default", "flavor": "small"},
        "node_pools": [
            {
                "name": "compute",
                "nodes": f"n[1-{nodes}]",
                "image": "default",
                "flavors": ["small"],
                "addresses": f"10.0.1.1-10.0.1.{nodes}",
            }
        ],
        "partitions": [{"name": "main", "pools": ["compute"]}],
        "file": Path("/nonexistent/all.yml"),
    }
    return Cluster.model_validate(content | extra)


@dataclass
class MemoryWorld:
    """A Slurm, a cloud, Terraform and Ansible in memory, with an engine on them."""

    cluster: Cluster
    clock: MemoryClock = field(default_factory=MemoryClock)
    journal: Journal = field(default_factory=lambda: SqliteJournal(":memory:"))
    silent: set[str] = field(default_factory=set)
    """Nodes whose servers run and answer nobody."""
    timing: Timing = USUAL

    def __post_init__(self) -> None:
        self.journal.set_brake("")  # as of a cluster that has been looked at for a while
        self.store: StateStore = StateDirectory(self.cluster.layout)
        self.cloud = MemoryCloud(self.clock, self.cluster.cluster_name)
        version = self.cluster.slurm_version
        self.slurm = MemorySlurm(
            self.clock, self.cluster.nodes(), self.hook, configured=SMALL, version=version
        )
        self.terraform = MemoryTerraform(self.clock, self.cloud, self.cluster.cluster_name)
        self.playbooks = MemoryPlaybooks(
            self.clock, self._register, self.boots, self.cloud.boot_id, self.cloud.host_key
        )
        self._error: Exception | None = None
        """What has ended the engine, if there is no other one yet."""
        self.errors: list[Exception] = []
        """What has ended engines in `run_on`."""
        self.told: list[tuple[str, int]] = []
        """What `status` was told of errors."""
        self.left_alone = ""
        """What `status` was told of parts that always fail."""
        self.recovery = Recovery(
            self.clock.monotonic,
            lambda text, count: self.told.append((text, count)),
            self._leave,
            self.timing,
        )
        self.engine = self.new_engine()

    @classmethod
    def of(cls, nodes: int = 4, **extra: object) -> "MemoryWorld":
        """Make a world with so many nodes."""
        return cls(cluster(nodes, **extra))

    def _leave(self, text: str) -> None:
        self.left_alone = text

    def new_engine(self) -> Engine:
        """Make an engine on the present journal, Slurm and cloud; `crash` puts it in the old one's place."""
        return Engine(
            World(
                self.cluster,
                self.journal,
                self.slurm,
                self.terraform,
                self.playbooks,
                {self.cluster.cloud_of(self.cluster.login): self.cloud},
                self.clock,
                self.store,
                self.timing,
            ),
            self.recovery.faults,
        )

    def _register(self, node: NodeSpec) -> None:
        waits = self.slurm.node(node.name).has("POWERING_UP", "REBOOT_ISSUED", "NOT_RESPONDING")
        if self.boots(node) and waits:
            self.slurm.register(node.name)

    def boots(self, node: NodeSpec) -> bool:
        """Tell whether the node's server has booted and answers."""
        here = [server for server in self.cloud.alive() if server.address == node.address]
        runs = any(server.host_key and server.status not in OFF | RESCUED for server in here)
        return runs and node.name not in self.silent

    def hook(self, mode: Mode, hostlist: str) -> None:
        """Journal a call of Slurm's. A test that lets calls get lost gives `slurm.hook` another function."""
        self.request(mode, hostlist)

    def request(self, mode: Mode, hostlist: str, source: str = "hook") -> str:
        """Journal a request, as the intake does with a hook's; return its id."""
        request = Request(str(uuid.uuid4()), mode, hostlist, self.clock.now(), source)
        self.journal.add_request(request, self.clock.wall())
        return request.id

    def run(self, seconds: float) -> None:
        """Let everything go on for a while."""
        end = self.clock.now() + seconds
        while self.clock.now() < end:
            self.slurm.tick()
            self.step()
            self.clock.advance(STEP)

    def step(self) -> None:
        """Let the engine take a step."""
        self.engine.step()
        self.recovery.works()

    def settle(self, limit: float = 600.0) -> None:
        """Run until the engine has nothing to do; AssertionError if it does not come to rest."""
        end = self.clock.now() + limit
        while True:
            self.run(STEP)
            if not self.engine.active and not self.journal.unplanned_requests():
                return
            assert self.clock.now() < end, [str(op) for op in self.engine.operations]

    def crash(self) -> None:
        """Drop the engine at once and start another on the same journal."""
        self.engine = self.new_engine()

    def run_on(self, seconds: float, step: float = STEP) -> None:
        """Run as the service does: after an error wait, then make another engine from the journal."""
        end = self.clock.now() + seconds
        while self.clock.now() < end:
            try:
                if self._error:
                    self.clock.advance(self.recovery.met(self._error))
                    self.engine = self.new_engine()
                    self._error = None
                self.slurm.tick()
                self.step()
                self.clock.advance(step)
            except Exception as error:
                self.end_engine(error)

    def end_engine(self, error: Exception) -> None:
        """Let an error end the engine; `run_on` makes another one."""
        self.engine.close()
        self._error = error
        self.errors.append(error)

    def newest(self, node: str) -> Operation:
        """Return a node's newest operation."""
        return self.journal.history(node, 1)[0]
