"""What the pre-flight finds, and what it looks at: one cloud as the cluster file wants to use it. Pure."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Any

from slurm_powersave.config.cluster import Cluster
from slurm_powersave.config.sections import FlavorItem, Pool
from slurm_powersave.decide.flavor import flavor_choice
from slurm_powersave.decide.flavor.flavor_choice import Choice
from slurm_powersave.model import nearest_name
from slurm_powersave.model.cloud_facts import CloudFacts
from slurm_powersave.model.nodes import NodeSpec


class Severity(StrEnum):
    """An error makes `deploy` refuse; a warning is only told."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True)
class Finding:
    """One thing that is not as it should be."""

    severity: Severity
    where: str
    """Key of the cluster file, or what was asked."""
    wrong: str
    right: str
    """What to do."""


Found = Iterator[Finding]


def error(where: str, wrong: str, right: str) -> Finding:
    """Make an error."""
    return Finding(Severity.ERROR, where, wrong, right)


def warning(where: str, wrong: str, right: str) -> Finding:
    """Make a warning."""
    return Finding(Severity.WARNING, where, wrong, right)


@dataclass(frozen=True)
class Here:
    """What this host holds of the cluster."""

    public_key: str = ""
    """Public half of the cluster's key; empty before the first deploy."""
    deployed: bool = False
    """Whether there is a Terraform state of the network and the login node."""
    jump_is_known: bool = True
    """Whether the jump host's key is there; true without a jump host."""
    addresses: Mapping[str, str] = field(default_factory=dict)
    """Node -> the address that it was given; others get theirs by their place in the pool."""
    servers: Mapping[str, NodeSpec] = field(default_factory=dict)
    """Node that has a server -> what that was made as."""
    shared: Mapping[str, Any] = field(default_factory=dict)
    """The base module's output `shared`: what every new node needs of the network."""


@dataclass(frozen=True)
class Part:
    """Servers of one kind that the cluster file wants in a cloud."""

    key: str
    """Its key in the cluster file."""
    image: str
    flavors: Sequence[FlavorItem]
    addresses: Mapping[str, str]
    """Server name -> address."""
    zone: str = ""
    zone_key: str = "zone"
    always: int = 1
    """So many of its servers are always there."""
    pool: Pool | None = None


@dataclass(frozen=True)
class Ask:
    """One cloud, and what the cluster file wants of it."""

    cluster: Cluster
    name: str
    facts: CloudFacts
    here: Here

    @property
    def key(self) -> str:
        """The cloud's key in the cluster file."""
        return f"clouds.{self.name}"

    @property
    def settings(self) -> Mapping[str, Any]:
        """The cloud's settings."""
        return self.cluster.clouds[self.name].settings

    @property
    def ours(self) -> str:
        """The name of the key pair, network and security group that we make."""
        return f"slurm-powersave-{self.cluster.cluster_name}"

    @property
    def home(self) -> bool:
        """Whether the network and the login node are made here."""
        login = self.cluster.login
        return self.cluster.cloud_of(login) == self.name and login.connection == "ssh"

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        """The login node, the server for shared storage, and the pools."""
        found: list[Part] = []
        login, storage = self.cluster.login, self.settings.get("shared_storage")
        if self.home:
            zone = str(self.settings.get("login_zone") or "")
            key = f"{self.key}.settings.login_zone"
            addresses = {login.name: login.address}
            found.append(Part("login", login.image, (login.flavor,), addresses, zone, key))
        if self.home and isinstance(storage, Mapping):
            named = {f"{self.cluster.cluster_name}-storage": str(storage.get("address", ""))}
            image, flavor = str(storage.get("image", "")), str(storage.get("flavor", ""))
            found.append(Part(f"{self.key}.settings.shared_storage", image, (flavor,), named))
        for index, pool in enumerate(self.cluster.node_pools):
            if self.cluster.cloud_of(pool) != self.name:
                continue
            key = f"node_pools[{index}]"
            names = self.cluster.nodes_of(pool.name)
            given = self.here.addresses
            addresses = {name: given.get(name) or self.cluster.address_by_position(name) for name in names}
            found.append(
                Part(key, pool.image, pool.flavors, addresses, pool.zone, f"{key}.zone", pool.min_nodes, pool)
            )
        return tuple(found)

    def choice(self, part: Part) -> Choice:
        """Find the flavors of a part."""
        return flavor_choice.choose(part.flavors, self.facts.flavors or {})

    def is_ours(self, tags: Collection[str]) -> bool:
        """Tell whether something carries our cluster's tags."""
        return {"slurm-powersave", f"cluster={self.cluster.cluster_name}"} <= set(tags)


def nearest(given: str, known: Collection[str]) -> str:
    """Say which name was probably meant."""
    near = nearest_name.nearest(given, known)
    return f"Did you mean {near}?" if near else f"It has {few(sorted(known)) or 'none'}."


def few(names: Sequence[str], most: int = 6) -> str:
    """Name some, and count the others."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
