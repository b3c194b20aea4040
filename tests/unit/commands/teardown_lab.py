"""A cluster in memory that is to be torn down, with its network, images and state directory."""

from collections.abc import Callable, Sequence
from pathlib import Path

from slurm_powersave.adapters.journal.sqlite import SqliteJournal
from slurm_powersave.adapters.terraform.base import Planned
from slurm_powersave.commands.act_records import Acts
from slurm_powersave.commands.cluster_contents import ClusterContents
from slurm_powersave.commands.empty_nodes import DrainForTeardown
from slurm_powersave.commands.messages import Dialog
from slurm_powersave.commands.teardown_steps import Outcome, Teardown, Wish
from slurm_powersave.model.errors import TerraformError
from slurm_powersave.model.leftovers import Leftover
from slurm_powersave.model.nodes import NodeSpec, SlurmJob, TerraformNode
from slurm_powersave.model.permit import Permit
from slurm_powersave.testing.cloud import MemoryCloud
from slurm_powersave.testing.world import MemoryWorld, cluster
from tests.permits import permit

NETWORK = Leftover("network", "net-1", "demo")
IMAGE = Leftover("image", "gold", "gold")


class State:
    """A Terraform state in memory that holds servers of a cloud, and maybe its network."""

    def __init__(self, name: str, lab: "Lab", *ids: str, network: bool = False) -> None:
        self.directory, self._lab, self._ids, self._network = Path(name), lab, set(ids), network
        self.fails = ""
        self.forgotten = 0

    def plan(self, *, destroy: bool = False) -> Planned:
        assert destroy
        if self.fails == "plan":
            raise TerraformError("terraform plan failed", why="state lock")
        held = len(self._ids) + self._network
        return Planned(self.directory / "tfplan", "", {"delete": held} if held else {}, self._content())

    def _content(self) -> dict[str, object]:
        """What `terraform show -json` says of it."""
        held = sorted(self._ids) + [NETWORK.id] * self._network
        return {"resource_changes": [{"change": {"actions": ["delete"], "before": {"id": i}}} for i in held]}

    def apply(self, planned: Planned, permits: Sequence[Permit] = ()) -> None:
        if self.fails == "apply":
            raise TerraformError("terraform apply failed", where=str(self.directory), why="409 Conflict")
        self._lab.events.append(f"destroy {self.directory}")
        for server_id in self._ids:
            self._lab.cloud.delete(server_id, permit("delete", server_id))
        self._ids.clear()
        if self._network:
            if others := self._others():
                raise TerraformError("terraform apply failed", why=f"the network is in use by {others}")
            self._lab.cloud.others.remove(NETWORK)
            self._network = False

    def _others(self) -> list[str]:
        return [server.name for server in self._lab.cloud.servers() if server.name != "login"]

    def forget(self, planned: Planned) -> None:
        self.forgotten += 1

    def ids(self) -> frozenset[str]:
        return frozenset(self._ids)


class Lab:
    """A cluster with two nodes and a login node on the in-memory world."""

    def __init__(self) -> None:
        self.world = MemoryWorld(cluster(4))
        self.cloud: MemoryCloud = self.world.cloud
        self.cloud.others = [NETWORK]
        self.events: list[str] = []
        self.said: list[str] = []
        self.answer = True
        self.unasked = False
        self.questions: list[str] = []
        self.asked: Callable[[], None] = lambda: None
        self.login = self.create("login", "role=login")
        self.job = self.world.slurm.submit("n1", "n2")
        self.world.settle(60)
        nodes = [self.id(name) for name in ("n1", "n2")]
        self.nodes = [State("mem/nodes-001", self, *nodes)]
        self.base: State | None = State("base", self, self.login, network=True)
        self.journal: SqliteJournal | None = self.world.journal
        self.stays = False
        self.unseen: set[Path] = set()

    def create(self, name: str, *tags: str) -> str:
        """Make a server past Terraform."""
        node = NodeSpec(name, "c", "mem", "default", "small", "", "10.0.1.1")
        carried = {"slurm-powersave", "cluster=test", *tags}
        return self.cloud.create(TerraformNode(node, "1a2b"), frozenset(carried))

    def id(self, name: str) -> str:
        return next(server.id for server in self.cloud.servers() if server.name == name)

    def queue(self, *jobs: int) -> None:
        """Let jobs wait in the queue."""
        for job in jobs:
            self.world.slurm.jobs[job] = SlurmJob(job, "PENDING")

    def idle(self) -> "Lab":
        """Let the job end."""
        self.world.slurm.end(self.job)
        return self

    def run(self, **wish: object) -> Outcome:
        world = self.world

        def wait(seconds: float) -> None:
            world.slurm.tick()
            world.clock.advance(seconds)

        def save() -> str:
            self.events.append("save")
            return "b.tar.gz"

        def ask(question: str) -> bool:
            self.questions.append(question)
            self.asked()
            return self.answer

        delete = self.cloud.delete

        def noted(server_id: str, permit: Permit) -> None:
            server = self.cloud.server(server_id)
            self.events.append(f"delete {server.name if server else server_id}")
            delete(server_id, permit)

        contents = ClusterContents(
            {"mem": self.cloud}, world.slurm, self.nodes, self.base, self.unseen, self.said.append
        )
        work = Teardown(
            contents=contents,
            slurm=world.slurm,
            slurm_stays=self.stays,
            drain=DrainForTeardown(world.slurm, self.journal, world.clock, wait, self.said.append),
            save=save,
            delete_image=lambda cloud, name: self.cloud.others.remove(IMAGE),
            clock=world.clock,
            wait=wait,
            dialog=Dialog(self.said.append, self.said.append, ask, self.unasked),
            acts=Acts(self.journal, "teardown", world.clock.now),
        )
        self.cloud.delete = noted  # type: ignore[method-assign]
        try:
            return work.run(Wish(**wish))  # type: ignore[arg-type]
        finally:
            self.cloud.delete = delete  # type: ignore[method-assign]

    def left(self) -> list[str]:
        return sorted(str(left) for left in self.cloud.leftovers())
