"""The whole text of slurm.conf, gres.conf and cgroup.conf, from the cluster file."""

from collections.abc import Iterator, Mapping

from slurm_powersave.config.cluster import Cluster
from slurm_powersave.config.sections import Partition, Pool
from slurm_powersave.decide.slurm_files.removed_nodes import RemovedNodes
from slurm_powersave.decide.slurm_files.slurm_parameters import extra_lines, parameters
from slurm_powersave.model.hostlist import fold
from slurm_powersave.model.nodes import NodeFacts

HEADER = "# Written by slurm-powersave from the cluster file; changes here are overwritten.\n"


_ALL = RemovedNodes()


def slurm_conf(
    cluster: Cluster,
    facts: Mapping[str, NodeFacts],
    addresses: Mapping[str, str],
    removed: RemovedNodes = _ALL,
) -> str:
    """Write slurm.conf.

    Args:
        cluster: the cluster file.
        facts: CPUs and RealMemory by pool.
        addresses: the address of every node, as given (decide/slurm_files/addresses.py).
        leaving: what stays for now although the cluster file no longer has it.
    """
    found = parameters(cluster)
    if removed.protected:
        found.add("SuspendExcNodes", fold(removed.protected))
    for kind in {kind for node in removed.nodes for kind in _gres_kinds(node.options)}:
        found.add("GresTypes", kind)
    lines = [
        *found.lines(),
        "",
        *node_lines(cluster, facts, addresses, removed),
        *_why(cluster, facts, removed),
        *partition_lines(cluster, facts, removed),
        *(_line(key, value) for key in extra_lines(cluster) for value in cluster.slurm_conf_extra[key]),
    ]
    return HEADER + "\n".join(lines) + "\n"


def _line(key: str, value: str) -> str:
    # `Include=FILE` is an unknown key to Slurm.
    return f"{key} {value}" if key.lower() == "include" else f"{key}={value}"


def gres_conf(cluster: Cluster) -> str:
    """Write gres.conf; empty if the site gives none."""
    return HEADER + cluster.gres_conf.rstrip("\n") + "\n" if cluster.gres_conf.strip() else ""


def cgroup_conf(cluster: Cluster) -> str:
    """Write cgroup.conf: the site's, or jobs confined to the cores and the memory that they asked for."""
    text = cluster.cgroup_conf.strip("\n") or "ConstrainCores=yes\nConstrainRAMSpace=yes"
    return f"{HEADER}{text}\n"


def node_lines(
    cluster: Cluster,
    facts: Mapping[str, NodeFacts],
    addresses: Mapping[str, str],
    removed: RemovedNodes = _ALL,
) -> list[str]:
    """Write the NodeName lines: all nodes from the first day, a line for each run of numbers."""
    lines = [
        " ".join([f"NodeName={names}", f"NodeAddr={places}", *_node_options(pool, facts[pool.name])])
        for pool in cluster.node_pools
        for names, places in _runs(cluster.nodes_of(pool.name), addresses)
    ]
    return lines + [node.line() for node in removed.nodes]


_NEVER = 365 * 24 * 3600
"""Seconds; with INFINITE everywhere Slurm switches power saving off, and POWER_UP with it (22.05)."""


def partition_lines(
    cluster: Cluster, facts: Mapping[str, NodeFacts], removed: RemovedNodes = _ALL
) -> list[str]:
    """Write the PartitionName lines.

    SuspendTime stands here and not for the whole cluster, so that a node that a site adds by
    slurm_conf_extra is never suspended.
    """
    lines = []
    memory = memory_per_cpu(cluster, facts, removed)
    for partition in cluster.partitions:
        options: dict[str, tuple[str, str]] = {"state": ("State", "UP")}
        idle = cluster.power_save.suspend_time or _NEVER
        options["suspendtime"] = ("SuspendTime", str(idle))
        if partition.name in memory:
            options["defmempercpu"] = ("DefMemPerCPU", str(memory[partition.name]))
        options |= {key.lower(): (key, value) for key, value in partition.options.items()}
        nodes = [*cluster.partition_nodes(partition), *removed.in_partition(partition.name)]
        words = [f"PartitionName={partition.name}", f"Nodes={fold(nodes)}"]
        lines.append(" ".join(words + [f"{key}={value}" for key, value in options.values()]))
    kept = removed.gone({partition.name for partition in cluster.partitions})
    return lines + [partition.line() for partition in kept]


def memory_per_cpu(
    cluster: Cluster, facts: Mapping[str, NodeFacts], removed: RemovedNodes = _ALL
) -> dict[str, int]:
    """Return the DefMemPerCPU in MiB that we set, by partition; none where the cluster file sets one.

    Where memory is a resource, a job that does not ask for any gets its cores' share: without DefMemPerCPU it
    would get all, and each node one job. It is what fits every node of the partition, but never less than we
    set before: a small pool that joins must not take memory from the jobs of the others.
    """
    if "_memory" not in parameters(cluster).get("SelectTypeParameters").lower():
        return {}
    return {
        partition.name: max(_smallest(cluster, partition, facts)[0], removed.memory.get(partition.name, 0))
        for partition in cluster.partitions
        if not {key.lower() for key in partition.options} & {"defmempercpu", "defmempernode"}
    }


def _smallest(cluster: Cluster, partition: Partition, facts: Mapping[str, NodeFacts]) -> tuple[int, str]:
    """The share in MiB that fits every node of the partition, and the pool that has the least."""
    pools = {cluster.pool_of(name).name for name in cluster.partition_nodes(partition)}
    return min((max(1, facts[pool].real_memory // facts[pool].cpus), pool) for pool in pools)


def _why(cluster: Cluster, facts: Mapping[str, NodeFacts], removed: RemovedNodes) -> Iterator[str]:
    """Say in the file itself what we set and why."""
    set_by_us = memory_per_cpu(cluster, facts, removed)
    for partition in cluster.partitions:
        if value := set_by_us.get(partition.name):
            least, pool = _smallest(cluster, partition, facts)
            why = f"the memory per CPU of pool {pool}, the least in it"
            if least < value:
                why = f"as it was; pool {pool} has {least} MiB per CPU only"
            yield f"# DefMemPerCPU={value} of {partition.name}: {why}. options.DefMemPerCPU sets another."


def _gres_kinds(options: str) -> list[str]:
    gres = dict(word.partition("=")[::2] for word in options.split()).get("Gres", "")
    return [kind for item in gres.split(",") if (kind := item.partition(":")[0])]


def _node_options(pool: Pool, fact: NodeFacts) -> Iterator[str]:
    yield f"CPUs={fact.cpus}"
    yield f"RealMemory={fact.real_memory}"
    if pool.features:
        yield f"Feature={','.join(pool.features)}"
    if pool.gres:
        yield f"Gres={pool.gres}"
    yield from (f"{key}={value}" for key, value in pool.options.items())
    yield "State=CLOUD"


def _runs(names: tuple[str, ...], addresses: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Fold nodes and their addresses together, as long as both count up in step."""
    start = 0
    for end in range(1, len(names) + 1):
        if end < len(names) and (
            _follows(names[end - 1], names[end])
            and _follows(addresses[names[end - 1]], addresses[names[end]])
        ):
            continue
        run = names[start:end]
        yield fold(run), _span([addresses[name] for name in run])
        start = end


def _follows(before: str, after: str) -> bool:
    """Tell whether only the number at the end differs, and is one more."""
    head, number = _cut(before)
    return bool(number) and after == f"{head}{int(number) + 1:0{len(number)}}"


def _span(addresses: list[str]) -> str:
    first, last = addresses[0], addresses[-1]
    head, number = _cut(first)
    return first if first == last else f"{head}[{number}-{_cut(last)[1]}]"


def _cut(name: str) -> tuple[str, str]:
    head = name.rstrip("0123456789")
    return head, name[len(head) :]
