"""What there is of a cluster: servers and what Slurm does on them, what else is ours, what states hold."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from slurm_powersave.model.errors import SlurmError, TerraformError
from slurm_powersave.model.leftovers import SERVER, Leftover
from slurm_powersave.model.nodes import Server, SlurmSnapshot
from slurm_powersave.model.permit import Permit
from slurm_powersave.ports.cloud import Cloud, TellsLeftovers
from slurm_powersave.ports.slurm import Slurm
from slurm_powersave.ports.terraform_directory import Planned

_STATE = "terraform state"


class TornState(Protocol):
    """A Terraform state that is to become empty; adapters.base.State is one."""

    directory: Path

    def plan(self, *, destroy: bool = False) -> Planned:
        """Make a plan; TerraformError."""

    def apply(self, planned: Planned, permits: Sequence[Permit] = ()) -> None:
        """Carry it out; TerraformError, or RefusedError for what has no permit."""

    def forget(self, planned: Planned) -> None:
        """Remove a plan that is not to be carried out."""

    def ids(self) -> frozenset[str]:
        """Name the ids of all that it holds; TerraformError."""


@dataclass(frozen=True)
class Row:
    """A server with what Slurm does on it."""

    server: Server
    state: str
    """As Slurm shows the node; empty for none."""
    jobs: tuple[int, ...]

    def __str__(self) -> str:
        words = ["server", self.server.name, self.server.status, self.server.id, self.state]
        if self.jobs:
            words.append(f"jobs {', '.join(map(str, self.jobs))}")
        if "role=login" in self.server.tags:
            words.append("(the login node; it holds the queue)")
        return " ".join(filter(None, words))


@dataclass
class ClusterContents:
    """Looks, and changes nothing. Methods raise CloudError: on half a picture nothing is torn down."""

    clouds: Mapping[str, Cloud]
    """Those with an adapter."""
    slurm: Slurm
    nodes: Sequence[TornState]
    base: TornState | None
    unseen: Collection[Path]
    """The directories of the states whose cloud has no adapter: only they can tell what is left."""
    say: Callable[[str], None]

    @property
    def states(self) -> list[TornState]:
        """The nodes' states, then the base: in the order in which they are emptied."""
        return [*self.nodes, *([self.base] if self.base else [])]

    def snapshot(self) -> SlurmSnapshot | None:
        """Read Slurm; None, and said, if it can't be read."""
        try:
            return self.slurm.snapshot()
        except SlurmError as error:
            self.say(f"slurm could not be read: {error}")
            return None

    def servers(self) -> list[tuple[Cloud, Server]]:
        """List the servers that carry our tag, with the cloud that can delete each."""
        return [(cloud, server) for cloud in self.clouds.values() for server in cloud.servers()]

    def rows(self, snapshot: SlurmSnapshot | None) -> list[Row]:
        """List them with state and jobs."""
        rows = []
        for _, server in self.servers():
            node = snapshot.nodes.get(server.name) if snapshot else None
            jobs = tuple(job.id for job in snapshot.jobs if server.name in job.nodes) if snapshot else ()
            unread = snapshot is not None and server.name in snapshot.unreadable
            state = node.state if node else "unreadable" * unread
            rows.append(Row(server, state, jobs))
        return rows

    def tagged(self) -> list[Leftover]:
        """List all that is ours, as the clouds tell it."""
        found: list[Leftover] = []
        for cloud in self.clouds.values():
            if isinstance(cloud, TellsLeftovers):
                found += cloud.leftovers()
            else:
                found += [Leftover(SERVER, server.id, server.name) for server in cloud.servers()]
        return found

    def left(self) -> list[Leftover]:
        """List all that is ours; for clouds that can't be asked, the states that are not empty."""
        found = self.tagged()
        for state in self.states:
            if state.directory in self.unseen:
                try:
                    empty = not state.ids()
                except TerraformError as error:
                    self.say(str(error))
                    empty = False
                if not empty:
                    found.append(Leftover(_STATE, str(state.directory)))
        return found

    def plans(self) -> tuple[list[tuple[TornState, Planned]], dict[str, str]]:
        """Plan to destroy every state; return the plans, and in words what each state's is, or why none."""
        plans, words = [], {}
        for state in self.states:
            try:
                plan = state.plan(destroy=True)
            except TerraformError as error:
                words[str(state.directory)] = f"can't be planned in: {error.why or error.what}"
                continue
            words[str(state.directory)] = plan.words
            plans.append((state, plan))
        return plans, words


def running(snapshot: SlurmSnapshot) -> list[str]:
    """Name the jobs that would lose their nodes: all that have some."""
    return [str(job.id) for job in snapshot.jobs if job.nodes and not job.waiting]
