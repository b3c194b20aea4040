"""What image is to be built and from what, who uses one, and whether one is proven. Pure."""

import re
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from slurm_powersave.config.settings import Cluster
from slurm_powersave.decide.node.drift import image_of
from slurm_powersave.model.errors import ConfigError, RefusedError
from slurm_powersave.model.images import BASE, BUILDER_TAG, BUILDING, CLUSTER, NODE, ROLE, Image, Look
from slurm_powersave.model.nodes import NodeRecord, Operation, Server, SlurmNode

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,57}", re.ASCII)
"""With `-disk` behind it, it is still a name of at most 63 characters."""
_NOT_YET = ("REBOOT_REQUESTED", "REBOOT_ISSUED", "REBOOT", "POWER_DOWN", "FAIL")


@dataclass(frozen=True)
class Order:
    """An image to be built."""

    name: str
    cluster: str
    pool: str
    cloud: str
    base: str
    """The image that the builder starts from; of a node, the one that it was made from."""
    node: str
    """The node whose disk is taken; empty for none."""
    flavor: str
    """The pool's first; empty if that is a requirement."""
    zone: str
    address: str
    """Of the builder, then of the server that proves the image."""

    @property
    def builder(self) -> str:
        """The builder's name."""
        return f"{self.cluster}-builder"

    @property
    def proof(self) -> str:
        """The name of the server that proves the image."""
        return f"{self.cluster}-proof"

    @property
    def disk(self) -> str:
        """The name of the copy of the node's disk; it lives for a minute."""
        return f"{self.name}-disk"

    @property
    def origin(self) -> str:
        """What it is made from, in words."""
        return f"the disk of {self.node} (image {self.base})" if self.node else f"image {self.base}"

    def properties(self) -> dict[str, str]:
        """What the cloud is to keep with the image."""
        return {ROLE: BUILDING, BASE: self.base, NODE: self.node}

    def provenance(self, created: float, roles: Mapping[str, str]) -> dict[str, Any]:
        """What the image is to say of itself; the builder adds the versions of its packages."""
        when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(created))
        return {
            "name": self.name,
            "base": self.base,
            "node": self.node,
            "created": when,
            "roles": dict(roles),
        }


def order(
    cluster: Cluster,
    records: Mapping[str, NodeRecord],
    *,
    base: str | None,
    node: str | None,
    name: str | None,
    pool: str | None,
    now: float,
) -> Order:
    """Make an order of what a person said.

    Raises:
        ConfigError: it can't be one.
    """
    if bool(base) == bool(node):
        raise ConfigError(
            "an image is built from a node or from an image", todo="Give one of --from NODE and --base IMAGE."
        )
    if node:
        found = cluster.pool_of(node)
        if pool not in (None, found.name):
            raise ConfigError(f"{node} is in pool {found.name}, not in {pool}", where="--pool")
        record = records.get(node)
        base = record.node.image if record else found.image
    else:
        found = cluster.pool(_pool(cluster, pool))
    cloud = cluster.cloud_of(found)
    address = cluster.clouds[cloud].builder_address
    if address is None:
        raise ConfigError(
            "there is no address for the server that becomes the image",
            where=f"{cluster.file}: clouds.{cloud}.builder_address",
            todo="Set it to an address of the nodes' network that no node has.",
        )
    name = name or f"{found.name}-{time.strftime('%Y%m%d-%H%M%S', time.gmtime(now))}"
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"{name!r} is no name for an image",
            where="--name",
            todo="Letters, digits, _ . and -, at most 58, a letter or digit first.",
        )
    return Order(
        name=name,
        cluster=cluster.cluster_name,
        pool=found.name,
        cloud=cloud,
        base=str(base),
        node=node or "",
        flavor=found.flavors[0] if isinstance(found.flavors[0], str) else "",
        zone=found.zone,
        address=address,
    )


def _pool(cluster: Cluster, given: str | None) -> str:
    names = [pool.name for pool in cluster.node_pools]
    if given in names:
        return str(given)
    if given is None and len(names) == 1:
        return names[0]
    what = f"there is no pool {given}" if given else "there are several pools"
    raise ConfigError(what, where="--pool", todo=f"One of {', '.join(names)}.")


def refuse_images(order: Order, images: Sequence[Image]) -> None:
    """See that the image to start from is there, and the new one is not.

    Raises:
        ConfigError: one or the other.
    """
    names = {image.name for image in images if not unfinished(image, order.cluster)}
    if not order.node and order.base not in names:
        raise ConfigError(
            f"the cloud {order.cloud} has no image {order.base}", todo=f"It has: {', '.join(sorted(names))}."
        )
    if order.name in names:
        raise ConfigError(
            f"there is an image {order.name} already",
            todo="Choose another name, or delete that one: slurm-powersave image delete",
        )


def refuse_node(
    node: str, seen: SlurmNode | None, servers: Sequence[Server], operations: Sequence[Operation]
) -> Server:
    """See that a node's disk may be copied now; return its server.

    Raises:
        RefusedError: the node is in use, or something is under way with it.
    """
    todo = (
        f"Take it out of service first: scontrol update nodename={node} state=DRAIN reason=image; "
        "build when it is DRAINED, and give it back with state=RESUME."
    )
    where = f"node {node}"
    if seen is None:
        raise RefusedError("Slurm does not know it", where=where)
    state = seen.state
    if seen.in_use or seen.has("RESERVED", "MAINTENANCE"):
        raise RefusedError(f"it is in use ({state})", where=where, todo=todo)
    if not seen.up or not seen.has("IDLE") or seen.has(*_NOT_YET):
        raise RefusedError(
            f"it is neither idle nor drained ({state})", where=where, todo="Bring it up, then drain it."
        )
    running = next((operation for operation in operations if operation.node == node), None)
    if running:
        raise RefusedError(f"{running.mode.value} {running.id} is under way ({running.phase})", where=where)
    mine = [server for server in servers if f"node={node}" in server.tags]
    if len(mine) != 1 or mine[0].status != "ACTIVE":
        shown = ", ".join(f"{server.id} {server.status}" for server in mine) or "none"
        raise RefusedError(f"it does not have exactly one ACTIVE server: {shown}", where=where)
    return mine[0]


def unfinished(image: Image, cluster: str) -> bool:
    """Tell whether a build of ours left the image, or is at it."""
    return image.property(CLUSTER) == cluster and image.property(ROLE) == BUILDING


def is_builder(server: Server) -> bool:
    """Tell whether a server belongs to an image build."""
    return BUILDER_TAG in server.tags


def alike(before: Sequence[Look], after: Look, name: str) -> list[str]:
    """Say what a server that was booted from an image has in common with one that was there before.

    Args:
        before: the builder, and whatever else the image may be too much like.
        after: the server that was booted from the image.
        name: what the image must call itself.
    """
    wrong = []
    new = after.identity
    for attribute, what in (
        ("host_key", "SSH host key"),
        ("machine_id", "machine id"),
        ("boot_id", "boot id"),
    ):
        value = getattr(new, attribute)
        if not value:
            wrong.append(f"it has no {what}")
        elif any(getattr(look.identity, attribute) == value for look in before):
            wrong.append(f"its {what} is the builder's")
    if after.provenance.get("name") != name:
        wrong.append(f"it calls itself {after.provenance.get('name') or 'nothing'}, not {name}")
    return wrong


@dataclass(frozen=True)
class ImageRow:
    """An image, as `slurm-powersave image list` shows it."""

    name: str
    base: str
    node: str
    created: float | None
    size: int | None
    status: str
    """The cloud's word, or unfinished."""
    cloud: str
    used_by: tuple[str, ...]


def rows(
    cluster: Cluster,
    images: Mapping[str, Sequence[Image]],
    records: Mapping[str, NodeRecord],
    servers: Mapping[str, Sequence[Server]],
) -> list[ImageRow]:
    """List the images that we made, and those that the cluster uses; by cloud, the oldest first."""
    found = []
    for cloud, listed in images.items():
        for image in sorted(listed, key=lambda image: image.created or 0):
            users = used_by(cluster, cloud, image.name, records, servers.get(cloud, ()))
            ours = image.property(CLUSTER) == cluster.cluster_name
            if ours or users:
                found.append(
                    ImageRow(
                        name=image.name,
                        base=image.property(BASE) if ours else "",
                        node=image.property(NODE) if ours else "",
                        created=image.created,
                        size=image.size,
                        status="unfinished" if unfinished(image, cluster.cluster_name) else image.status,
                        cloud=cloud,
                        used_by=users,
                    )
                )
    return found


def used_by(
    cluster: Cluster,
    cloud: str,
    image: str,
    records: Mapping[str, NodeRecord],
    servers: Collection[Server],
) -> tuple[str, ...]:
    """Name the pools, nodes and servers that an image is used by, or will be at their next boot."""
    pools = [
        f"pool {pool.name}"
        for pool in cluster.node_pools
        if pool.image == image and cluster.cloud_of(pool) == cloud
    ]
    if cluster.login.image == image and cluster.cloud_of(cluster.login) == cloud:
        pools.append(f"login node {cluster.login.name}")
    nodes = {server.name for server in servers if image_of(server, image) == image}
    nodes |= {
        name
        for name, record in records.items()
        if record.server_id and record.node.image == image and record.node.cloud == cloud
    }
    return (*pools, *(f"node {name}" for name in sorted(nodes - {cluster.login.name})))
