"""What a cloud tells before anything is made in it: the input of decide/preflight/clouds.py.

An adapter fills what it can. None stands for "not read" (the reason is among the troubles), or for a cloud
that has no such thing; an empty collection was read and is empty.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from slurm_powersave.model.nodes import Flavor, Limit, Server


class Asked(StrEnum):
    """What a trouble was met with."""

    REACH = "reach"
    """No answer at all: name, route, certificate, timeout."""
    CREDENTIALS = "credentials"
    """It answers, and does not let us in (401), or no credentials were found."""
    ROLE = "role"
    """It lets us in, and a call is not allowed (403)."""
    SERVICE = "service"
    """A service is missing from the catalogue, or fails (5xx)."""


@dataclass(frozen=True)
class Trouble:
    """Something that could not be asked, in the outside's own words."""

    asked: Asked
    text: str
    where: str = ""
    """The service and its address: `compute https://cloud:8774/v2.1`."""


@dataclass(frozen=True)
class ImageFacts:
    """An image as Glance tells it."""

    id: str
    name: str
    status: str = "active"
    min_disk: int = 0
    """GiB."""
    min_ram: int = 0
    """MiB."""
    size: int | None = None
    """Bytes that it takes on a disk (virtual_size, or else size); None if the cloud does not tell."""


@dataclass(frozen=True)
class NetworkFacts:
    """A network that we can see."""

    id: str
    name: str
    external: bool = False
    """router:external: floating IPs and routers' gateways come from it."""
    tags: frozenset[str] = frozenset()
    port_security: bool = True
    """port_security_enabled; without it no security group can be set on a port there."""


@dataclass(frozen=True)
class AddressUse:
    """Who has a fixed address."""

    address: str
    by: str
    """For a person: `server n1`, `port 1a2b (network:dhcp)`."""
    tags: frozenset[str] = frozenset()
    """Those of the port, and of the server that has it."""


@dataclass(frozen=True)
class SubnetFacts:
    """A subnet that we can see."""

    id: str
    name: str
    network_id: str
    cidr: str
    pools: tuple[tuple[str, str], ...] = ()
    """Allocation pools, first and last address: the cloud gives these to anybody by itself."""
    gateway: str = ""
    in_use: tuple[AddressUse, ...] = ()
    tags: frozenset[str] = frozenset()


@dataclass(frozen=True)
class GroupFacts:
    """A security group of the project."""

    id: str
    name: str
    tags: frozenset[str] = frozenset()


@dataclass(frozen=True)
class ServerGroupFacts:
    """A server group of the project."""

    id: str
    name: str


@dataclass(frozen=True)
class CloudFacts:
    """One reading of a cloud. Making it raises nothing: what went wrong stands in `troubles`."""

    asked: tuple[str, ...] = ()
    """What was asked, for a person: `identity https://cloud:5000/v3 as demo in project demo`."""
    troubles: tuple[Trouble, ...] = ()
    roles: frozenset[str] | None = None
    """Names of our roles in the project; None where there are no roles."""
    images: tuple[ImageFacts, ...] | None = None
    """Every image that is listed, and those asked for by an id that is not, in any status; two may have one
    name."""
    image_paths: bool = False
    """Whether a path of this host, which begins with /, is an image as well."""
    flavors: Mapping[str, Flavor] | None = None
    """By name."""
    zones: frozenset[str] | None = None
    """Availability zones for servers that are available."""
    networks: tuple[NetworkFacts, ...] | None = None
    subnets: tuple[SubnetFacts, ...] | None = None
    limits: Mapping[str, Limit] = field(default_factory=dict)
    """instances, cores, ram (MiB), ports, floating_ips, server_group_members (of each group), and others
    if they are known; what is missing is not known."""
    key_pair: str | None = None
    """Public half (`ssh-ed25519 AAAA... comment`) of the key pair slurm-powersave-CLUSTER; empty if there is
    no such key pair."""
    security_groups: tuple[GroupFacts, ...] | None = None
    server_groups: tuple[ServerGroupFacts, ...] | None = None
    servers: tuple[Server, ...] | None = None
    """All of the project, whoever's."""
    clock_skew: float | None = None
    """Seconds by which the cloud's clock is ahead of ours (the Date header of an answer)."""


@dataclass(frozen=True)
class Tools:
    """What runs on this host."""

    terraform: str = ""
    """Version of terraform (or OpenTofu); empty if it is not there."""
    trouble: str = ""
    """Why not, for a person."""
    providers: Mapping[str, str] = field(default_factory=dict)
    """Version by source address, as chosen by an `init`; empty before."""
