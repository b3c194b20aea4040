"""What the first node of a pool says of its hardware, held against its flavor and slurm.conf. Pure.

A node may lie, or be broken. Its numbers are taken only where they can be those of its flavor.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence

from slurm_powersave.config.cluster import Cluster
from slurm_powersave.config.sections import Pool
from slurm_powersave.decide.flavor import node_memory
from slurm_powersave.decide.flavor.flavor_choice import Choice, choose
from slurm_powersave.decide.preflight.findings import Finding, Found, warning
from slurm_powersave.decide.slurm_files.removed_nodes import configured
from slurm_powersave.decide.slurm_files.slurm_parameters import overrides
from slurm_powersave.model.hardware import FirstNode
from slurm_powersave.model.nodes import Flavor, NodeFacts, NodeSpec


def is_first(known: FirstNode | None, node: NodeSpec, image: str) -> bool:
    """Tell whether what a node with a fresh disk says is to be recorded for its pool and flavor.

    Another image may have another kernel, which leaves another part of the RAM. A fresh server of the node
    that was the first speaks anew.

    Args:
        known: what is recorded for them.
        node: the node.
        image: the image of its pool; a node with another one, by hand, speaks for itself alone.
    """
    if node.image != image:
        return False
    return known is None or known.node == node.name or known.image != image


def findings(
    cluster: Cluster,
    sizes: Mapping[str, Mapping[str, Flavor]],
    first: Collection[FirstNode],
    node_lines: Sequence[str],
) -> Found:
    """Say where slurm.conf and the first nodes disagree, and what becomes of it.

    Args:
        cluster: the cluster file.
        sizes: the flavors by cloud and name; a cloud that could not be read is missing.
        first: what is recorded.
        node_lines: the NodeName lines that slurmctld was last given.
    """
    if overrides(cluster):
        return  # Slurm believes slurm.conf, whatever a node has
    written = configured(node_lines)
    for index, pool in enumerate(cluster.node_pools):
        choice = choose(pool.flavors, sizes.get(cluster.cloud_of(pool), {}))
        first_of_pool = [one for one in first if one.pool == pool.name]
        now = next((written[name] for name in cluster.nodes_of(pool.name) if name in written), None)
        yield from _of_pool(f"node_pools[{index}]", pool, choice, first_of_pool, now)


def _of_pool(
    key: str, pool: Pool, choice: Choice, first_of_pool: Sequence[FirstNode], now: NodeFacts | None
) -> Iterator[Finding]:
    known = {flavor.name: flavor for flavor in choice.flavors}
    good = []
    for one in first_of_pool:
        flavor = known.get(one.flavor)
        if flavor and not node_memory.believed(one.hardware, flavor):
            yield warning(
                key,
                f"pool {pool.name}: {_first(one)} says {one.hardware}; its flavor has {flavor.vcpus} CPUs and"
                f" {flavor.ram} MiB",
                "It is not taken: slurm.conf promises what the flavor has, less memory_margin. Look at node"
                " and image; a fresh server of this node says it anew.",
            )
        elif flavor or not known:
            good.append(one)
            yield from _says_too_much(key, pool, one)
    wanted = node_memory.of_pool(pool, choice, good) if choice.flavors else None
    if good and now and wanted and now != wanted:
        names = ", ".join(f"{one.node} (flavor {one.flavor})" for one in good)
        yield warning(
            key,
            f"pool {pool.name}: slurm.conf says CPUs {now.cpus} and RealMemory {now.real_memory}, its nodes"
            f" have {wanted.cpus} and {wanted.real_memory}: slurmd -C of {names}",
            "The next `slurm-powersave deploy` or `resize` writes that.",
        )


def _says_too_much(key: str, pool: Pool, one: FirstNode) -> Iterator[Finding]:
    for name, said, given, has in (
        ("cpus", "CPUs", pool.cpus, one.hardware.cpus),
        ("real_memory", "RealMemory", pool.real_memory, one.hardware.real_memory),
    ):
        if given is not None and given > has:
            yield warning(
                f"{key}.{name}",
                f"pool {pool.name}: the cluster file says {said} {given}, {_first(one)} has {has}",
                f"Slurm drains a node that registers with too little. Correct {name}, or leave it out.",
            )


def _first(one: FirstNode) -> str:
    return f"the first node with flavor {one.flavor} ({one.node})"
