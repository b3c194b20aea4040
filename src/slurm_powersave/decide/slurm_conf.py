"""The whole text of slurm.conf, gres.conf and cgroup.conf, from the cluster file."""

from collections.abc import Iterator, Mapping

from slurm_powersave.decide.cluster import Cluster
from slurm_powersave.decide.leaving import Leaving
from slurm_powersave.decide.sections import Partition, Pool
from slurm_powersave.decide.slurm_parameters import extra_lines, parameters
from slurm_powersave.model.hostlist import fold
from slurm_powersave.model.nodes import NodeFacts

HEADER = "# Written by slurm-powersave from the cluster file; changes here are overwritten.\n"


_ALL = Leaving()


def slurm_conf(
    cluster: Cluster, facts: Mapping[str, NodeFacts], addresses: Mapping[str, str], leaving: Leaving = _ALL
) -> str:
    """Write slurm.conf.

    Args:
        cluster: the cluster file.
        facts: CPUs and RealMemory by pool.
        addresses: the address of every node, as given (decide/addresses.py).
        leaving: what stays for now although the cluster file no longer has it.
    """
    found = parameters(cluster)
    if leaving.protected:
        found.add("SuspendExcNodes", fold(leaving.protected))
    for kind in {kind for node in leaving.nodes for kind in _gres_kinds(node.options)}:
        found.add("GresTypes", kind)
    lines = [
        *found.lines(),
        "",
        *node_lines(cluster, facts, addresses, leaving),
        *partition_lines(cluster, facts, leaving),
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
    cluster: Cluster, facts: Mapping[str, NodeFacts], addresses: Mapping[str, str], leaving: Leaving = _ALL
) -> list[str]:
    """Write the NodeName lines: all nodes from the first day, a line for each run of numbers."""
    lines = [
        " ".join([f"NodeName={names}", f"NodeAddr={places}", *_node_options(pool, facts[pool.name])])
        for pool in cluster.node_pools
        for names, places in _runs(cluster.nodes_of(pool.name), addresses)
    ]
    return lines + [node.line() for node in leaving.nodes]


_NEVER = 365 * 24 * 3600
"""Seconds; with INFINITE everywhere Slurm switches power saving off, and POWER_UP with it (22.05)."""


def partition_lines(cluster: Cluster, facts: Mapping[str, NodeFacts], leaving: Leaving = _ALL) -> list[str]:
    """Write the PartitionName lines.

    SuspendTime stands here and not for the whole cluster, so that a node that a site adds by
    slurm_conf_extra is never suspended. Where memory is a resource, a job that does not ask for any
    gets its cores' share: without DefMemPerCPU it would get all, and each node one job.
    """
    lines = []
    memory = "_memory" in parameters(cluster).get("SelectTypeParameters").lower()
    for partition in cluster.partitions:
        options: dict[str, tuple[str, str]] = {"state": ("State", "UP")}
        idle = cluster.power_save.suspend_time or _NEVER
        options["suspendtime"] = ("SuspendTime", str(idle))
        given = {key.lower() for key in partition.options}
        if memory and not given & {"defmempercpu", "defmempernode"}:
            options["defmempercpu"] = ("DefMemPerCPU", str(_memory_per_cpu(cluster, partition, facts)))
        options |= {key.lower(): (key, value) for key, value in partition.options.items()}
        nodes = [*cluster.partition_nodes(partition), *leaving.in_partition(partition.name)]
        words = [f"PartitionName={partition.name}", f"Nodes={fold(nodes)}"]
        lines.append(" ".join(words + [f"{key}={value}" for key, value in options.values()]))
    kept = leaving.gone({partition.name for partition in cluster.partitions})
    return lines + [partition.line() for partition in kept]


def _memory_per_cpu(cluster: Cluster, partition: Partition, facts: Mapping[str, NodeFacts]) -> int:
    """The share in MiB that fits every node of the partition."""
    pools = {cluster.pool_of(name).name for name in cluster.partition_nodes(partition)}
    return max(1, min(facts[pool].real_memory // facts[pool].cpus for pool in pools))


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
