"""A clock that stands still, and a cloud in memory."""

from dataclasses import dataclass, field, replace

from slurm_powersave.model.errors import CloudError
from slurm_powersave.model.nodes import Flavor, Server, TerraformNode


class MemoryClock:
    """Time that moves only by `advance`. Seconds since the epoch."""

    def __init__(self, start: float = 1_000_000.0) -> None:
        self._now = start

    def now(self) -> float:
        """Return the present moment."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._now += seconds


@dataclass
class _Held:
    server: Server
    gone_at: float | None = None


@dataclass
class MemoryCloud:
    """Servers with a delay for deletion, and faults by node name. Implements ports.Cloud.

    What it knows of clouds is what the contract test shows on the local one (tests/contract/cloud_cases.py).
    """

    clock: MemoryClock
    cluster: str
    """The cluster whose tag a server carries to be seen."""
    delete_seconds: float = 1.0
    unreachable: str = ""
    """If set, every call fails with this text."""
    create_faults: dict[str, str] = field(default_factory=dict)
    """Node -> what the cloud says instead of creating it."""
    error_faults: dict[str, str] = field(default_factory=dict)
    """Node -> why its server is made and ends in ERROR."""
    never_boots: set[str] = field(default_factory=set)
    created: int = 0
    """How many servers were ever made."""
    _servers: dict[str, _Held] = field(default_factory=dict)

    def _check(self) -> None:
        if self.unreachable:
            raise CloudError(self.unreachable)

    def create(self, entry: TerraformNode, tags: frozenset[str]) -> str:
        """Make a server as the provider would; return its id.

        Raises:
            CloudError: the fault that was ordered for this node.
        """
        name = entry.node.name
        if text := self.create_faults.get(name):
            raise CloudError(text)
        self.created += 1
        server = Server(
            id=f"id-{self.created}",
            name=name,
            status="ERROR" if name in self.error_faults else "ACTIVE",
            fault=self.error_faults.get(name, ""),
            address=entry.node.address,
            image=entry.node.image,
            flavor=entry.node.flavor,
            tags=tags,
            host_key="" if name in self.never_boots else "ssh-ed25519 AAAA",
        )
        self._servers[server.id] = _Held(server)
        return server.id

    def _alive(self, held: _Held) -> bool:
        return held.gone_at is None or self.clock.now() < held.gone_at

    def alive(self) -> list[Server]:
        """Name every server, whoever's, without going through the port: it runs while the API is away."""
        return [held.server for held in self._servers.values() if self._alive(held)]

    def _ours(self, held: _Held) -> bool:
        return f"cluster={self.cluster}" in held.server.tags

    def servers(self) -> list[Server]:
        """List what exists and is our cluster's."""
        self._check()
        return [held.server for held in self._servers.values() if self._alive(held) and self._ours(held)]

    def server(self, server_id: str) -> Server | None:
        """Read one server; None if it is gone or another cluster's."""
        self._check()
        held = self._servers.get(server_id)
        return held.server if held and self._alive(held) and self._ours(held) else None

    def delete(self, server_id: str) -> None:
        """Begin a deletion; refused for a server of another cluster."""
        self._check()
        held = self._servers.get(server_id)
        if held and self._alive(held) and not self._ours(held):
            raise CloudError(f"server {server_id} is not ours")
        if held and held.gone_at is None:
            held.gone_at = self.clock.now() + self.delete_seconds

    def flavors(self) -> dict[str, Flavor]:
        """Return the one flavor there is."""
        self._check()
        return {"small": Flavor("small", 1, 1000)}

    def vanish(self, server_id: str) -> None:
        """Take a server away behind everybody's back."""
        self._servers.pop(server_id)

    def set_status(self, server_id: str, status: str, fault: str = "") -> None:
        """Change what the cloud tells of a server."""
        held = self._servers[server_id]
        held.server = replace(held.server, status=status, fault=fault)
