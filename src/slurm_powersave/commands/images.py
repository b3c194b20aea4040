"""Node images for a person: build one, list them, delete one.

Whoever builds or deletes one holds the commands' lock (commands/command_lock.py): an image may be a build's.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from slurm_powersave.adapters import connect
from slurm_powersave.adapters.ansible import project
from slurm_powersave.adapters.journal.sqlite import SqliteJournal
from slurm_powersave.adapters.state_dir import own_files
from slurm_powersave.commands import deployed
from slurm_powersave.commands.act_records import acts_of
from slurm_powersave.commands.image_build import Build
from slurm_powersave.commands.messages import Dialog
from slurm_powersave.commands.serve import WallClock
from slurm_powersave.config.settings import Cluster, Pool
from slurm_powersave.decide.commands import images
from slurm_powersave.decide.flavor import flavor_choice
from slurm_powersave.model.errors import ConfigError, RefusedError
from slurm_powersave.model.images import CLUSTER
from slurm_powersave.model.nodes import NodeRecord, Operation, Server
from slurm_powersave.ports.images import ImageCloud


@dataclass(frozen=True)
class Built:
    """What came of a build."""

    name: str
    provenance: Mapping[str, Any] = field(default_factory=dict)
    """As the image says it; empty if nothing was built."""
    seconds: Mapping[str, float] = field(default_factory=dict)
    """What each step took."""


def build(
    cluster: Cluster,
    dialog: Dialog,
    *,
    base: str | None,
    node: str | None,
    name: str | None,
    pool: str | None,
    dry_run: bool = False,
) -> Built | None:
    """Build a node image; None if the person said no.

    Raises:
        PowersaveError: what failed; what was made is removed again.
    """
    layout = cluster.layout
    deployed.require(layout, (layout.private_key, layout.inventory))
    clock = WallClock()
    records, _ = _journal(cluster)
    order = images.order(cluster, records, base=base, node=node, name=name, pool=pool, now=clock.wall())
    cloud = connect.image_cloud(cluster, order.cloud)
    order = _with_flavor(order, cluster.pool(order.pool), cloud)

    def check_node() -> Server:
        seen = connect.slurm(cluster).snapshot([order.node])
        if order.node in seen.unreadable:
            raise RefusedError("what Slurm says of it can't be read", where=f"node {order.node}")
        return images.refuse_node(
            order.node, seen.nodes.get(order.node), cloud.servers(), _journal(cluster)[1]
        )

    if order.node:
        check_node()
    images.refuse_images(order, cloud.list_images())
    plays = connect.image_plays(cluster, order.pool)
    with acts_of(cluster, f"image build {order.name}") as acts:
        work = Build(
            order,
            cloud,
            plays,
            clock,
            time.sleep,
            _timed(dialog.say),
            check_node,
            own_files.public_key(cluster),
            project.version(),
            cluster.failure.boot_timeout,
            acts,
        )
        if dry_run:
            dialog.show(_plan(work))
            return Built(order.name)
        dialog.show(_plan(work))
        if not dialog.ask("Build it?"):
            return None
        with plays:
            provenance = work.run()
    total = sum(work.seconds.values())
    dialog.say(
        f"image {order.name} is ready after {total:.0f} s; set it as `image` of the pool {order.pool}."
    )
    return Built(order.name, provenance, work.seconds)


def _with_flavor(order: images.Order, pool: Pool, cloud: ImageCloud) -> images.Order:
    """The builder gets the pool's first flavor; where that is a requirement the cloud tells what meets it."""
    if not flavor_choice.needs_the_cloud(pool.flavors[:1]):
        return order
    choice = flavor_choice.choose(pool.flavors, cloud.flavors())
    if not choice.flavors:
        raise ConfigError(f"pool {pool.name}: the cloud {order.cloud} has {'; '.join(choice.wrong)}")
    return replace(order, flavor=choice.names[0])


def _plan(work: Build) -> str:
    order = work.order
    return "\n".join(
        [
            f"image {order.name} for pool {order.pool}, from {order.origin}:",
            *(f"  remove what an earlier build left: {left}" for left in work.leftovers()),
            *(f"  {text}" for _, text, _ in work.steps()),
        ]
    )


def listed(cluster: Cluster) -> list[images.ImageRow]:
    """List the images that we made, and those that the cluster uses."""
    clouds = _image_clouds(cluster)
    records, _ = _journal(cluster)
    return images.rows(
        cluster,
        {name: cloud.list_images() for name, cloud in clouds.items()},
        records,
        {name: cloud.servers() for name, cloud in clouds.items()},
    )


def delete(cluster: Cluster, name: str, dialog: Dialog) -> bool:
    """Delete an image that we made; False if the person said no.

    Raises:
        ConfigError: there is none of that name.
        RefusedError: it is not ours, or something uses it.
    """
    clouds = _image_clouds(cluster)
    records, _ = _journal(cluster)
    for place, cloud in clouds.items():
        found = next((image for image in cloud.list_images() if image.name == name), None)
        if found is None:
            continue
        if found.property(CLUSTER) != cluster.cluster_name:
            raise RefusedError("`image build` of this cluster did not make it", where=f"image {name}")
        if users := images.used_by(cluster, place, name, records, cloud.servers()):
            raise RefusedError(
                f"it is in use by {', '.join(users)}",
                where=f"image {name}",
                todo="Give the pool another image, and reimage or suspend its nodes first.",
            )
        if not dialog.ask(f"Delete image {name}?"):
            return False
        cloud.delete_image(name)
        dialog.say(f"image {name} is deleted")
        return True
    raise ConfigError(f"there is no image {name}", todo="These are there: slurm-powersave image list")


def _image_clouds(cluster: Cluster) -> dict[str, ImageCloud]:
    return {
        name: connect.image_cloud(cluster, name) for name, cloud in cluster.clouds.items() if cloud.adapter
    }


def _journal(cluster: Cluster) -> tuple[Mapping[str, NodeRecord], list[Operation]]:
    """Read nodes and running operations; the engine may be writing at the same time."""
    if not cluster.layout.journal.exists():
        return {}, []
    journal = SqliteJournal(cluster.layout.journal)
    try:
        return journal.node_records(), list(journal.open_operations())
    finally:
        journal.close()


def _timed(say: Callable[[str], None]) -> Callable[[str], None]:
    """Say each line with the seconds since the first one."""
    began = time.monotonic()
    return lambda text: say(f"{time.monotonic() - began:6.1f} s  {text}")
