"""What Slurm may count on at a node of a pool, from the cluster file and the cloud's flavors."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass

from slurm_powersave.decide.cluster import Cluster
from slurm_powersave.model.errors import ConfigError
from slurm_powersave.model.nodes import Flavor


@dataclass(frozen=True)
class NodeFacts:
    """The hardware of a pool's nodes as slurm.conf states it."""

    cpus: int
    real_memory: int
    """MiB."""


def facts(cluster: Cluster, flavors: Mapping[str, Mapping[str, Flavor]]) -> dict[str, NodeFacts]:
    """Work out CPUs and RealMemory of each pool.

    A node may get any of its pool's flavors, so the smallest counts. The kernel and the firmware keep
    some of a flavor's RAM from the node: that is `memory_margin`.

    Args:
        cluster: the cluster file.
        flavors: the flavors by cloud and name; a cloud may be missing if all its pools say both numbers.

    Raises:
        ConfigError: a cloud does not have a flavor; lists all such.
    """
    found: dict[str, NodeFacts] = {}
    wrong: list[str] = []
    for index, pool in enumerate(cluster.node_pools):
        if pool.cpus is not None and pool.real_memory is not None:
            found[pool.name] = NodeFacts(pool.cpus, pool.real_memory)
            continue
        known = flavors.get(cluster.cloud_of(pool), {})
        if missing := [name for name in pool.flavors if name not in known]:
            near = difflib.get_close_matches(missing[0], list(known), n=1)
            right = f"did you mean {near[0]}?" if near else f"it has {', '.join(sorted(known)) or 'none'}"
            wrong.append(
                f"node_pools[{index}].flavors: {cluster.cloud_of(pool)} has no flavor {missing[0]} ({right})"
            )
            continue
        mine = [known[name] for name in pool.flavors]
        ram = min(flavor.ram for flavor in mine)
        found[pool.name] = NodeFacts(
            cpus=pool.cpus or min(flavor.vcpus for flavor in mine),
            real_memory=pool.real_memory or max(1, int(ram * (1 - pool.memory_margin))),
        )
    if wrong:
        raise ConfigError(
            "; ".join(wrong),
            where=str(cluster.file),
            todo="Name flavors that the cloud has, or set cpus and real_memory of the pool.",
        )
    return found
