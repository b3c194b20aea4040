"""Node images for a person: build one, list them, delete one.

Whoever builds or deletes one holds the commands' lock (commands/command_lock.py): an image may be a build's.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from slurm_powersave.commands import deployed
from slurm_powersave.commands.act_records import acts_of
from slurm_powersave.commands.image_build import Build
from slurm_powersave.commands.messages import Dialog
from slurm_powersave.config.settings import Pool
from slurm_powersave.decide.commands import images
from slurm_powersave.decide.flavor import flavor_choice
from slurm_powersave.model.errors import ConfigError, RefusedError
from slurm_powersave.model.images import CLUSTER
from slurm_powersave.model.nodes import NodeRecord, Operation, Server
from slurm_powersave.ports.images import ImageCloud
from slurm_powersave.ports.site import Site


@dataclass(frozen=True)
class Built:
    """What came of a build."""

    name: str
    provenance: Mapping[str, Any] = field(default_factory=dict)
    """As the image says it; empty if nothing was built."""
    seconds: Mapping[str, float] = field(default_factory=dict)
    """What each step took."""


def build(
    site: Site,
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
    cluster, layout, clock = site.cluster, site.cluster.layout, site.clock
    deployed.require(layout, (layout.private_key, layout.inventory))
    records, _ = _journal(site)
    order = images.order(cluster, records, base=base, node=node, name=name, pool=pool, now=clock.wall())
    cloud = site.image_cloud(order.cloud)
    order = _with_flavor(order, cluster.pool(order.pool), cloud)

    def check_node() -> Server:
        seen = site.slurm().snapshot([order.node])
        if order.node in seen.unreadable:
            raise RefusedError("what Slurm says of it can't be read", where=f"node {order.node}")
        return images.refuse_node(order.node, seen.nodes.get(order.node), cloud.servers(), _journal(site)[1])

    if order.node:
        check_node()
    images.refuse_images(order, cloud.list_images())
    plays = site.image_work(order.pool)
    acts = acts_of(site, f"image build {order.name}")
    work = Build(
        order,
        cloud,
        plays,
        clock,
        site.wait,
        _timed(dialog.say),
        check_node,
        site.own_files().public_key(),
        site.plays().version(),
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


def listed(site: Site) -> list[images.ImageRow]:
    """List the images that we made, and those that the cluster uses."""
    clouds = _image_clouds(site)
    records, _ = _journal(site)
    return images.rows(
        site.cluster,
        {name: cloud.list_images() for name, cloud in clouds.items()},
        records,
        {name: cloud.servers() for name, cloud in clouds.items()},
    )


def delete(site: Site, name: str, dialog: Dialog) -> bool:
    """Delete an image that we made; False if the person said no.

    Raises:
        ConfigError: there is none of that name.
        RefusedError: it is not ours, or something uses it.
    """
    clouds = _image_clouds(site)
    records, _ = _journal(site)
    for place, cloud in clouds.items():
        found = next((image for image in cloud.list_images() if image.name == name), None)
        if found is None:
            continue
        if found.property(CLUSTER) != site.cluster.cluster_name:
            raise RefusedError("`image build` of this cluster did not make it", where=f"image {name}")
        if users := images.used_by(site.cluster, place, name, records, cloud.servers()):
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


def _image_clouds(site: Site) -> dict[str, ImageCloud]:
    return {name: site.image_cloud(name) for name, cloud in site.cluster.clouds.items() if cloud.adapter}


def _journal(site: Site) -> tuple[Mapping[str, NodeRecord], list[Operation]]:
    """Read nodes and running operations; the engine may be writing at the same time."""
    journal = site.existing_journal()
    return (journal.node_records(), list(journal.open_operations())) if journal else ({}, [])


def _timed(say: Callable[[str], None]) -> Callable[[str], None]:
    """Say each line with the seconds since the first one."""
    began = time.monotonic()
    return lambda text: say(f"{time.monotonic() - began:6.1f} s  {text}")
