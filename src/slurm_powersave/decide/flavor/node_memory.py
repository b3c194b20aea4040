"""What Slurm may count on at a node of a pool, from the cluster file and the cloud's flavors."""

from collections.abc import Collection, Mapping

from slurm_powersave.config.cluster import Cluster
from slurm_powersave.config.sections import Pool
from slurm_powersave.decide.flavor import flavor_choice
from slurm_powersave.decide.flavor.flavor_choice import Choice
from slurm_powersave.decide.slurm_files.slurm_parameters import overrides
from slurm_powersave.model.errors import ConfigError
from slurm_powersave.model.hardware import FirstNode, Hardware
from slurm_powersave.model.nodes import Flavor, NodeFacts


def facts(
    cluster: Cluster, flavors: Mapping[str, Mapping[str, Flavor]], first: Collection[FirstNode] = ()
) -> dict[str, NodeFacts]:
    """Work out CPUs and RealMemory of each pool.

    A node may get any of its pool's flavors, so the smallest counts. The kernel and the firmware keep
    some of a flavor's RAM from the node: that is `memory_margin`, until a first node has said how much.

    Args:
        cluster: the cluster file.
        flavors: the flavors by cloud and name; a cloud may be missing if all its pools say both numbers.
        first: what the first nodes have said of their hardware.

    Raises:
        ConfigError: no flavor of a cloud is what a pool asks for, or one is smaller than slurm.conf would
            promise; lists all such.
    """
    found: dict[str, NodeFacts] = {}
    wrong: list[str] = []
    believable = () if overrides(cluster) else first
    for index, pool in enumerate(cluster.node_pools):
        cloud = cluster.cloud_of(pool)
        if cloud not in flavors and _said(pool):
            found[pool.name] = of_pool(pool, Choice(()))
            continue
        choice = flavor_choice.choose(pool.flavors, flavors.get(cloud, {}))
        where = f"node_pools[{index}]"
        wrong += [f"{where}.flavors: {cloud} has {why}" for why in choice.wrong]
        wrong += [f"{where}.{why}" for why in too_small(pool, choice)]
        if choice.flavors:
            found[pool.name] = of_pool(pool, choice, believable)
    if wrong:
        raise ConfigError(
            "; ".join(wrong),
            where=str(cluster.file),
            todo="Name flavors that the cloud has and that are as large as cpus and real_memory of the pool.",
        )
    return found


def by_pool(cluster: Cluster, flavors: Mapping[str, Mapping[str, Flavor]]) -> dict[str, tuple[str, ...]]:
    """Name the flavors that each pool's nodes may have, the preferred one first; without unread clouds."""
    return {
        pool.name: flavor_choice.choose(pool.flavors, flavors[cluster.cloud_of(pool)]).names
        for pool in cluster.node_pools
        if cluster.cloud_of(pool) in flavors
    }


def of_pool(pool: Pool, choice: Choice, first: Collection[FirstNode] = ()) -> NodeFacts:
    """Say what one pool's nodes have at least. Without flavors the cluster file must say it."""
    measured = {one.flavor: one.hardware for one in first if one.pool == pool.name}
    sizes = [_size(pool, flavor, measured.get(flavor.name)) for flavor in choice.flavors]
    cpus = pool.cpus or min(size.cpus for size in sizes)
    return NodeFacts(cpus, pool.real_memory or min(size.real_memory for size in sizes))


def _size(pool: Pool, flavor: Flavor, measured: Hardware | None) -> NodeFacts:
    if measured and believed(measured, flavor):
        return NodeFacts(measured.cpus, measured.real_memory)
    return NodeFacts(flavor.vcpus, max(1, int(flavor.ram * (1 - pool.memory_margin))))


def believed(measured: Hardware, flavor: Flavor) -> bool:
    """Tell whether a node of this flavor can have what it says: no more than the flavor, nor under a half."""
    return (
        flavor.vcpus <= 2 * measured.cpus
        and measured.cpus <= flavor.vcpus
        and flavor.ram <= 2 * measured.real_memory
        and measured.real_memory <= flavor.ram
    )


def _said(pool: Pool) -> bool:
    return pool.cpus is not None and pool.real_memory is not None


def too_small(pool: Pool, choice: Choice) -> list[str]:
    """Name the flavors on which a node could not have what the cluster file lets slurm.conf promise.

    Slurm sets a node down that registers with less.
    """
    return [
        f"{key}: flavor {flavor.name} has {has}{unit}, {configured} are promised"
        for flavor in choice.flavors
        for key, has, configured, unit in (
            ("cpus", flavor.vcpus, pool.cpus, ""),
            ("real_memory", flavor.ram, pool.real_memory, " MiB"),
        )
        if configured is not None and has < configured
    ]


def fits(flavor: Flavor, configured: NodeFacts | None) -> bool:
    """Tell whether a node on this flavor can have what slurm.conf promises of it; None: that is unknown.

    A flavor may be younger than slurm.conf, and smaller than all that were there when that was written.
    """
    return configured is None or (flavor.vcpus >= configured.cpus and flavor.ram >= configured.real_memory)
