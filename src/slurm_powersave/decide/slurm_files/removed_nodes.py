"""What slurm.conf still holds beyond the cluster file, while nodes are on their way out. Pure.

A node that leaves may have a job for another day, and other nodes are not to wait for that. What Slurm
needs of it meanwhile stands in the inventory of the last deploy: its NodeName line and its partitions.
"""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from slurm_powersave.model.hostlist import expand_any, fold, natural
from slurm_powersave.model.nodes import NodeFacts

_LINE = re.compile(r"(?:NodeName|PartitionName)=(\S+) (?:NodeAddr|Nodes)=(\S*) ?(.*)")


@dataclass(frozen=True)
class RemovedNode:
    """A node that the cluster file no longer has."""

    name: str
    address: str
    options: str
    """The rest of its NodeName line."""

    def line(self) -> str:
        """Write its line of slurm.conf."""
        return f"NodeName={self.name} NodeAddr={self.address} {self.options}".rstrip()


@dataclass(frozen=True)
class OldPartition:
    """A partition as it was; of its nodes those that leave."""

    name: str
    nodes: tuple[str, ...]
    options: str

    def line(self) -> str:
        """Write the line of a partition that the cluster file no longer has."""
        return f"PartitionName={self.name} Nodes={fold(self.nodes)} {self.options}".rstrip()


@dataclass(frozen=True)
class RemovedNodes:
    """What is kept for now."""

    nodes: tuple[RemovedNode, ...] = ()
    partitions: tuple[OldPartition, ...] = ()
    protected: tuple[str, ...] = ()
    """Nodes that are not to be suspended, beyond those of the cluster file."""
    memory: Mapping[str, int] = field(default_factory=dict)
    """Partition -> the DefMemPerCPU in MiB that we gave it last: it is not lowered."""

    def in_partition(self, name: str) -> tuple[str, ...]:
        """Name the nodes that leave a partition."""
        return next((partition.nodes for partition in self.partitions if partition.name == name), ())

    def gone(self, partitions: Collection[str]) -> list[OldPartition]:
        """Return the old partitions that are none of these."""
        return [partition for partition in self.partitions if partition.name not in partitions]


def removed(
    names: Iterable[str],
    addresses: Mapping[str, str],
    protected: Iterable[str],
    node_lines: Sequence[str],
    partition_lines: Sequence[str],
) -> RemovedNodes:
    """Cut what is kept out of the lines of the last slurm.conf.

    Args:
        names: the nodes that are not in the cluster file any more and stay for now.
        addresses: their recorded addresses.
        protected: the nodes that stay in SuspendExcNodes.
        node_lines: the NodeName lines of the last inventory.
        partition_lines: its PartitionName lines.
    """
    wanted = sorted(set(names), key=natural)
    options = {name: rest for expression, _, rest in _parsed(node_lines) for name in expand_any(expression)}
    partitions = []
    for name, nodes, rest in _parsed(partition_lines):
        inside = set(expand_any(nodes))
        if kept := tuple(node for node in wanted if node in inside):
            partitions.append(OldPartition(name, kept, rest))
    return RemovedNodes(
        tuple(RemovedNode(name, addresses[name], options[name]) for name in wanted if name in options),
        tuple(partitions),
        tuple(sorted(set(protected), key=natural)),
    )


def configured(node_lines: Sequence[str]) -> dict[str, NodeFacts]:
    """Read what NodeName lines of ours promise of each node."""
    found: dict[str, NodeFacts] = {}
    for expression, _, rest in _parsed(node_lines):
        said = dict(word.partition("=")[::2] for word in rest.split())
        if said.keys() >= {"CPUs", "RealMemory"}:
            facts = NodeFacts(int(said["CPUs"]), int(said["RealMemory"]))
            found |= dict.fromkeys(expand_any(expression), facts)
    return found


def _parsed(lines: Sequence[str]) -> list[tuple[str, str, str]]:
    return [match.groups() for line in lines if (match := _LINE.fullmatch(line))]  # type: ignore[misc]  # three groups


def meaning(slurm_conf: str) -> frozenset[str]:
    """Return what a slurm.conf says, however its nodes are folded and its lines are ordered.

    Addresses are left out: one that is given stays with its name.
    """
    found: set[str] = set()
    for line in slurm_conf.splitlines():
        if line.startswith("#") or not line.strip():
            continue
        if not (match := _LINE.fullmatch(line)):
            key, _, value = line.partition("=")
            plain = key != "SuspendExcNodes" or ":" in value
            found.add(line if plain else f"{key}={fold(expand_any(value))}")
        elif line.startswith("NodeName="):
            found.update(f"NodeName={name} {match[3]}" for name in expand_any(match[1]))
        else:
            found.add(f"PartitionName={match[1]} {fold(expand_any(match[2]))} {match[3]}")
    return frozenset(found)
