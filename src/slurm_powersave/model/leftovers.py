"""Everything of one cluster that a cloud holds, of whatever kind."""

from dataclasses import dataclass

SERVER, IMAGE = "server", "image"
"""The two kinds that are more than named: servers are deleted by id, images are kept unless asked for."""
KEPT = "deleted server that the cloud keeps"
"""SOFT_DELETED: in no listing of servers, and yet its port holds address and network."""

INTERFACE, RULE = "router interface", "security group rule"
"""Parts of a router and of a security group, without tags: they go with what they are parts of."""


@dataclass(frozen=True)
class Leftover:
    """One thing in a cloud that carries our cluster's tag, or its name where there are no tags."""

    kind: str
    """server, port, network, subnet, router, security group, key pair, floating IP, server group, volume,
    image, KEPT, INTERFACE or RULE."""
    id: str
    name: str = ""
    part_of: str = ""
    """The id of the router or security group that it is a part of."""

    def __str__(self) -> str:
        return (
            f"{self.kind} {self.name} ({self.id})"
            if self.name not in ("", self.id)
            else f"{self.kind} {self.id}"
        )
