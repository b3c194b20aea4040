"""How a node's server differs from what its pool asks for now. Pure.

Editing a pool's image or flavors changes no server: a node is behind until it is reimaged, resized or
made anew. What was asked for by hand differs, too, and is told apart.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from slurm_powersave.config.sections import Pool
from slurm_powersave.decide.flavor.flavor_choice import names, needs_the_cloud
from slurm_powersave.model.nodes import NodeRecord, NodeSpec, Server


@dataclass(frozen=True)
class Aspect:
    """The image or the flavor of a node."""

    actual: str
    """Empty while the node has no server."""
    wanted: str
    differs: bool
    by_hand: bool
    """Somebody asked for the actual one; it holds until the server is made anew or given the pool's."""

    def text(self, name: str) -> str:
        """Say a difference; empty if there is none."""
        by_hand = " (by hand)" if self.by_hand else ""
        return f"{name} {self.actual}{by_hand} -> {self.wanted}" if self.differs else ""


@dataclass(frozen=True)
class Drift:
    """Both aspects."""

    image: Aspect
    flavor: Aspect

    def text(self) -> str:
        """Say what differs; empty if nothing does."""
        return ", ".join(filter(None, (self.image.text("image"), self.flavor.text("flavor"))))


def drift(
    record: NodeRecord | None,
    servers: Sequence[Server] | None,
    pool: Pool,
    flavors: Sequence[str] | None = None,
) -> Drift:
    """Compare.

    Args:
        record: what the journal holds of the node.
        servers: those of its name; None if the cloud could not be read, or has no adapter.
        pool: the node's pool in the cluster file.
        flavors: those that its nodes may have, the preferred one first; without them the names in the
            cluster file, and a pool with requirements is not behind in its flavor.
    """
    if servers is None:
        server = Server(record.server_id, "", "") if record and record.server_id else None
    else:
        held = record.server_id if record else ""
        server = next((one for one in servers if one.id == held), servers[0] if servers else None)
    known = record.node if record and server and record.server_id == server.id else None
    by_hand = record.by_hand if record and known else frozenset()
    # A cloud that does not tell them leaves them empty.
    image = (image_of(server, pool.image) or (known.image if known else "")) if server else ""
    flavor = (server.flavor or (known.flavor if known else "")) if server else ""
    return Drift(
        _aspect(image, (pool.image,), "image" in by_hand),
        _aspect(flavor, flavors or _named(pool) or (flavor,), "flavor" in by_hand),
    )


def image_of(server: Server, asked: str) -> str:
    """Return the name of a server's image; its id where that is what it was asked for by."""
    return asked if asked and asked == server.image_id else server.image


def _named(pool: Pool) -> Sequence[str]:
    return () if needs_the_cloud(pool.flavors) else names(pool.flavors) or ()


def _aspect(actual: str, wanted: Sequence[str], by_hand: bool) -> Aspect:
    differs = bool(actual) and actual not in wanted
    return Aspect(actual, wanted[0], differs, by_hand and differs)


def moved(record: NodeRecord, attribute: str, value: str, ref: str, pool: NodeSpec) -> NodeRecord:
    """Record that a node's server has another image or flavor from now on.

    Args:
        record: what was recorded.
        attribute: image or flavor.
        value: the new one.
        ref: what the cloud calls it.
        pool: what the cluster file wants of the node at this moment.
    """
    by_hand: Collection[str] = () if value == pool.value(attribute) else (attribute,)
    node = record.node.changed(attribute, value, ref)
    if attribute == "image":
        node = replace(node, generation=node.generation + 1)
    return replace(record, node=node, by_hand=(record.by_hand - {attribute}).union(by_hand))
