"""Frozen values about node images: what a cloud tells of one, and what a server made from one says itself."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

CLUSTER = "slurm_powersave_cluster"
"""Property of an image: the cluster whose `image build` made it. Only images with ours are ever changed."""
ROLE = "slurm_powersave_role"
"""Property: BUILDING until it is proven, then READY."""
BASE = "slurm_powersave_base"
"""Property: the image that it was built from."""
NODE = "slurm_powersave_node"
"""Property: the node whose disk it was; empty if none's."""

BUILDING, READY = "builder", "node"

BUILDER_TAG = "role=builder"
"""Tag of the servers of an image build; no node has it."""
PROVENANCE = "/usr/lib/slurm-powersave/image.json"
"""In each image that `image build` makes: what it is."""


@dataclass(frozen=True)
class Image:
    """An image as the cloud tells it."""

    name: str
    status: str = "active"
    """queued, saving, active, killed: Glance's words."""
    created: float | None = None
    """Seconds since the epoch; None if the cloud does not tell."""
    size: int | None = None
    """Bytes; None if the cloud does not tell."""
    properties: Mapping[str, str] | None = None

    def property(self, name: str) -> str:
        """Return a property; empty if it has none of that name."""
        return (self.properties or {}).get(name, "")


@dataclass(frozen=True)
class NewServer:
    """A server that is to be made past Terraform, to become an image or to prove one."""

    name: str
    image: str
    flavor: str
    address: str
    zone: str
    """Empty: the cloud chooses."""
    key_pair: str
    """A public key, as text."""
    tags: frozenset[str]
    """Beside our cluster's own."""


@dataclass(frozen=True)
class Identity:
    """By what a booted host differs from every other one."""

    host_key: str
    """The SSH host's public key, as the cloud handed it out."""
    machine_id: str
    """/etc/machine-id."""
    boot_id: str
    """/proc/sys/kernel/random/boot_id."""


@dataclass(frozen=True)
class Look:
    """What a server says of itself over SSH."""

    identity: Identity
    provenance: Mapping[str, Any]
    """The provenance file; empty if there is none."""
