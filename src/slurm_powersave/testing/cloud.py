"""A clock that stands still, and a cloud in memory."""

import math
from collections.abc import Collection
from dataclasses import dataclass, field, replace

from slurm_powersave.model.errors import CloudError, FailureClass
from slurm_powersave.model.leftovers import KEPT, SERVER, Leftover
from slurm_powersave.model.nodes import Flavor, Limit, Server, TerraformNode
from slurm_powersave.model.permit import Act, Permit


class MemoryClock:
    """Time that moves only by `advance`, and an engine's host whose wall clock is set by `jump`."""

    def __init__(self, start: float = 1_000_000.0) -> None:
        self._now, self._jumped = start, 0.0
        self._booted, self._boots = start - 1000.0, 1

    def now(self) -> float:
        """Return the true time, which all but the engine's host keep. Seconds since the epoch."""
        return self._now

    def wall(self) -> float:
        """Return what the wall clock of the engine's host shows."""
        return self._now + self._jumped

    def monotonic(self) -> float:
        """Return the seconds since the engine's host was booted."""
        return self._now - self._booted

    def boot(self) -> str:
        """Name the boot of the engine's host."""
        return f"boot-{self._boots}"

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._now += seconds

    def jump(self, seconds: float) -> None:
        """Set the wall clock by so much."""
        self._jumped += seconds

    def reboot(self) -> None:
        """Boot the engine's host: the monotonic clock begins anew."""
        self._booted, self._boots = self._now, self._boots + 1


_BUSY = ("REBOOT", "REBUILD", "RESIZE")


@dataclass
class _Held:
    server: Server
    gone_at: float | None = None
    boots: int = 1
    busy_until: float = 0.0
    """When a reboot, rebuild or resize is done."""
    disk_key: str = ""
    """What its sshd shows."""
    soft: bool = False
    """Deleted, and kept by the cloud with its address: in no listing."""


@dataclass
class MemoryCloud:
    """Servers with a delay for deletion, and faults by node name. Implements ports.Cloud and TellsLeftovers.

    What it knows of clouds is what the contract test shows on the local one (tests/contract/cloud_cases.py).
    """

    clock: MemoryClock
    cluster: str
    """The cluster whose tag a server carries to be seen."""
    delete_seconds: float = 1.0
    soft_delete: bool = False
    """Whether a deleted server is kept until it is deleted once more."""
    unreachable: str = ""
    """If set, every call fails with this text."""
    create_faults: dict[str, str] = field(default_factory=dict)
    """Node -> what the cloud says instead of creating it."""
    error_faults: dict[str, str] = field(default_factory=dict)
    """Node -> why its server is made and ends in ERROR."""
    terse_errors: bool = False
    """Whether Terraform keeps the reason of an ERROR to itself, as its openstack provider does (measured)."""
    never_boots: set[str] = field(default_factory=set)
    lists_keys: bool = True
    """Whether a listing tells host keys; where it does not, a question for the one server does."""
    change_seconds: float = 2.0
    """What a reboot, rebuild or resize takes."""
    refused_changes: dict[str, str] = field(default_factory=dict)
    """Node -> why its server is not changed; nothing happens to it."""
    failed_changes: dict[str, str] = field(default_factory=dict)
    """Node -> why its server ends in ERROR when it is changed."""
    all_images: frozenset[str] = frozenset({"default", "other"})
    sizes: dict[str, Flavor] = field(
        default_factory=lambda: {"small": Flavor("small", 1, 1000), "large": Flavor("large", 2, 2000)}
    )
    limits: dict[str, Limit] = field(default_factory=dict)
    """The project's quota; `used` is what others use, our servers are added. What is missing is unlimited."""
    full: set[str] = field(default_factory=set)
    """Flavors that no host has room for."""
    quota_reads: int = 0
    """How often quota() was called."""
    ids: dict[str, str] = field(
        default_factory=lambda: {"default": "i-1", "other": "i-2", "small": "f-1", "large": "f-2"}
    )
    """Image or flavor -> its id; others have their name for one."""
    created: int = 0
    """How many servers were ever made."""
    others: list[Leftover] = field(default_factory=list)
    """What of ours there is beside the servers."""
    locked: set[str] = field(default_factory=set)
    """Servers, by id, that somebody has locked: they are not deleted."""
    undying: set[str] = field(default_factory=set)
    """Servers, by id, whose deletion is accepted and never ends."""
    keeps_consoles: bool = False
    """Whether a console still shows what it showed before a rebuild."""
    _keys: int = 0
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
        no_room = "No valid host was found" if entry.node.flavor in self.full else ""
        fault = self.error_faults.get(name, "") or no_room
        server = Server(
            id=f"id-{self.created + 1}",
            name=name,
            status="ERROR" if fault else "ACTIVE",
            fault=fault,
            address=entry.node.address,
            image=self._named(entry.node.ref("image")),
            flavor=self._named(entry.node.ref("flavor")),
            tags=tags,
            host_key="" if name in self.never_boots else self._new_key(),
        )
        self._refuse(server)
        for kept in self.kept():
            if kept.address == server.address:
                text = f"Fixed IP address {server.address} is already in use on instance {kept.id}."
                raise CloudError(text)
        self.created += 1
        self.add(server)
        return server.id

    def add(self, server: Server) -> None:
        """Add a server that Terraform here has not made; its sshd has the host key that the cloud tells."""
        self._servers[server.id] = _Held(server, disk_key=server.host_key)

    def _new_key(self) -> str:
        self._keys += 1
        return f"ssh-ed25519 AAAA{self._keys:04}"

    def forge(self, server_id: str) -> None:
        """Let somebody who is root in a server print a host key of his own on its console."""
        held = self._servers[server_id]
        held.server = replace(held.server, later_keys=(*held.server.later_keys, self._new_key()))

    def fault(self, server_id: str) -> str:
        """Say why a server is in ERROR; empty if it is not."""
        return self._servers[server_id].server.fault

    def _alive(self, held: _Held) -> bool:
        return held.gone_at is None or self.clock.now() < held.gone_at

    def alive(self) -> list[Server]:
        """Name every server, whoever's, without going through the port: it runs while the API is away."""
        return [held.server for held in self._servers.values() if self._alive(held) and not held.soft]

    def kept(self) -> list[Server]:
        """List the deleted servers that the cloud still keeps, without going through the port."""
        return [held.server for held in self._servers.values() if held.soft and self._alive(held)]

    def _ours(self, held: _Held) -> bool:
        return f"cluster={self.cluster}" in held.server.tags

    def servers(self) -> list[Server]:
        """List what exists and is our cluster's."""
        self._check()
        found = [
            held
            for held in self._servers.values()
            if self._alive(held) and self._ours(held) and not held.soft
        ]
        told = map(self._told, found)
        if self.lists_keys:
            return list(told)
        return [replace(server, host_key="", later_keys=()) for server in told]

    def leftovers(self) -> list[Leftover]:
        """List what is our cluster's."""
        found = [Leftover(SERVER, server.id, server.name) for server in self.servers()]
        return [*found, *(Leftover(KEPT, server.id, server.name) for server in self.kept()), *self.others]

    def _told(self, held: _Held) -> Server:
        server = replace(held.server, locked=held.server.id in self.locked)
        done = self.clock.now() >= held.busy_until
        return replace(server, status="ACTIVE") if done and server.status in _BUSY else server

    def server(self, server_id: str) -> Server | None:
        """Read one server; None if it is gone or another cluster's."""
        self._check()
        held = self._servers.get(server_id)
        return self._told(held) if held and self._alive(held) and self._ours(held) else None

    def delete(self, server_id: str, permit: Permit) -> None:
        """Begin a deletion; refused for a server of another cluster."""
        permit.use(Act.DELETE, server_id)
        self.drop(server_id)

    def drop(self, server_id: str) -> None:
        """Delete as Terraform does, whose plan had the permit."""
        self._check()
        held = self._servers.get(server_id)
        if held and self._alive(held) and not self._ours(held):
            raise CloudError(f"server {server_id} is not ours")
        if held and server_id in self.locked:
            raise CloudError(f"server {server_id} is locked", failure=FailureClass.CONFIG)
        if held and self.soft_delete and not held.soft:
            held.soft, held.server = True, replace(held.server, status="SOFT_DELETED")
        elif held and held.gone_at is None and server_id not in self.undying:
            held.gone_at = self.clock.now() + self.delete_seconds

    def flavors(self) -> dict[str, Flavor]:
        """Return the flavors there are."""
        self._check()
        return dict(self.sizes)

    def images(self) -> frozenset[str]:
        """Return the images there are."""
        self._check()
        return self.all_images

    def image_id(self, name: str) -> str:
        """Return an image's id.

        Raises:
            CloudError: there is no such image.
        """
        return self._id("image", name, self.images())

    def flavor_id(self, name: str) -> str:
        """Return a flavor's id.

        Raises:
            CloudError: there is no such flavor.
        """
        return self._id("flavor", name, self.flavors())

    def _id(self, what: str, name: str, known: Collection[str]) -> str:
        if name in self.ids.values():
            return name
        if name not in known:
            raise CloudError(f"there is no {what} {name}", failure=FailureClass.CONFIG)
        return self.ids.get(name, name)

    def _named(self, ref: str) -> str:
        return next((name for name, known in self.ids.items() if known == ref), ref)

    def quota(self) -> dict[str, Limit]:
        """Return the limits, with what is used by all."""
        self._check()
        self.quota_reads += 1
        return {
            name: Limit(limit.limit, limit.used + sum(self._takes(server, name) for server in self.alive()))
            for name, limit in self.limits.items()
        }

    def _takes(self, server: Server, what: str) -> int:
        size = self.sizes[server.flavor]
        return {"instances": 1, "ports": 1, "server_group": 1, "cores": size.vcpus, "ram": size.ram}.get(
            what, 0
        )

    def _refuse(self, new: Server) -> None:
        """Say what Nova says before it makes anything."""
        for name, limit in self.limits.items():
            used = limit.used + sum(self._takes(server, name) for server in self.alive())
            if limit.limit is not None and used + self._takes(new, name) > limit.limit:
                asked = self._takes(new, name)
                raise CloudError(
                    f"Quota exceeded for {name}: Requested {asked}, but already used {used} of {limit.limit}"
                )

    def reboot(self, server_id: str, permit: Permit) -> None:
        """Begin a reboot."""
        permit.use(Act.REBOOT, server_id)
        self._change(server_id, "REBOOT")

    def rebuild(self, server_id: str, image: str, permit: Permit) -> None:
        """Begin a rebuild."""
        permit.use(Act.REBUILD, server_id)
        self.change_image(server_id, image)

    def change_image(self, server_id: str, image: str) -> None:
        """Rebuild as Terraform does."""
        self._change(server_id, "REBUILD", image=self._named(image))
        held = self._servers[server_id]
        if held.server.status == "REBUILD":
            held.disk_key, shown = self._new_key(), (held.server.host_key, *held.server.later_keys)
            first, *later = (*shown, held.disk_key) if self.keeps_consoles else (held.disk_key,)
            held.server = replace(held.server, host_key=first, later_keys=tuple(later))

    def host_key(self, name: str) -> str:
        """Return the key that the sshd of a name has; empty if there is none."""
        return next(
            (h.disk_key for h in self._servers.values() if self._alive(h) and h.server.name == name), ""
        )

    def resize(self, server_id: str, flavor: str, permit: Permit) -> None:
        """Begin a resize."""
        permit.use(Act.RESIZE, server_id)
        self.change_flavor(server_id, flavor)

    def change_flavor(self, server_id: str, flavor: str) -> None:
        """Resize as Terraform does."""
        self._change(server_id, "RESIZE", flavor=self._named(flavor))

    def _change(self, server_id: str, status: str, **changes: str) -> None:
        self._check()
        held = self._servers.get(server_id)
        if held is None or not self._alive(held):
            raise CloudError(f"server {server_id} could not be found")
        if not self._ours(held):
            raise CloudError(f"server {server_id} is not ours")
        if text := self.refused_changes.get(held.server.name):
            raise CloudError(text)
        if text := self.failed_changes.get(held.server.name):
            held.server = replace(held.server, status="ERROR", fault=text)
            return
        if held.server.status == "SHUTOFF" and status != "REBOOT":
            held.server = replace(held.server, **changes)  # type: ignore[arg-type]  # image or flavor
            return  # one that is off stays so, as with Nova
        held.server = replace(held.server, status=status, **changes)  # type: ignore[arg-type]  # image or flavor
        held.busy_until = self.clock.now() + self.change_seconds
        held.boots += 1

    def boot_id(self, name: str) -> str:
        """What the guest of a name would tell as its boot id; empty while there is none."""
        found = [held for held in self._servers.values() if self._alive(held) and held.server.name == name]
        return f"{found[0].server.id}-{found[0].boots}" if found else ""

    def vanish(self, server_id: str) -> None:
        """Take a server away behind everybody's back."""
        self._servers.pop(server_id)

    def set_status(self, server_id: str, status: str, fault: str = "") -> None:
        """Change what the cloud tells of a server."""
        self.edit(server_id, status=status, fault=fault)

    def edit(self, server_id: str, **changes: object) -> None:
        """Change fields of a server as somebody else would."""
        held = self._servers[server_id]
        held.server = replace(held.server, **changes)  # type: ignore[arg-type]  # any of its fields

    def keep_busy(self, server_id: str) -> None:
        """Let a reboot, rebuild or resize of a server never end."""
        self._servers[server_id].busy_until = math.inf
