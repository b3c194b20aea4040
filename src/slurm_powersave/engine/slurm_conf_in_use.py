"""What slurmctld was last given: the inventory on the disk may be of a run that ended half way."""

import errno
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from slurm_powersave.config.settings import Cluster
from slurm_powersave.decide.slurm_files.inventory import VARIABLES
from slurm_powersave.decide.slurm_files.literal import read_yaml
from slurm_powersave.decide.slurm_files.removed_nodes import meaning
from slurm_powersave.decide.slurm_files.slurm_parameters import protected_by
from slurm_powersave.ports.state_store import SlurmConfRecord


@dataclass(frozen=True)
class SlurmConfInUse:
    """The parts of an inventory that slurm.conf is made of."""

    slurm_conf: str = ""
    gres_conf: str = ""
    cgroup_conf: str = ""
    node_lines: tuple[str, ...] = ()
    partition_lines: tuple[str, ...] = ()
    memory: Mapping[str, int] = field(default_factory=dict)
    """Partition -> the DefMemPerCPU in MiB that we set."""

    def same(self, other: "SlurmConfInUse") -> bool:
        """Tell whether Slurm would see a difference."""
        return (meaning(self.slurm_conf), self.gres_conf, self.cgroup_conf) == (
            meaning(other.slurm_conf),
            other.gres_conf,
            other.cgroup_conf,
        )


def of(variables: Mapping[str, Any]) -> SlurmConfInUse:
    """Cut it out of an inventory's variables."""
    ours = variables["slurm_powersave"]
    return SlurmConfInUse(
        ours["slurm_conf"],
        ours["gres_conf"],
        ours["cgroup_conf"],
        tuple(ours["node_lines"]),
        tuple(ours["partition_lines"]),
        ours.get("memory_per_cpu", {}),
    )


def save(store: SlurmConfRecord) -> None:
    """Record that slurmctld has taken the inventory that is on the disk."""
    store.save_applied(json.dumps(asdict(_of_inventory(store)), indent=1) + "\n")


def is_known(store: SlurmConfRecord) -> bool:
    """Tell whether there is anything to load."""
    return store.applied() is not None or store.inventory_variables() is not None


def load(store: SlurmConfRecord) -> SlurmConfInUse:
    """Read what was applied last; of a cluster that knows no such record, what is in its inventory."""
    text = store.applied()
    if text is None:
        return _of_inventory(store)
    found = json.loads(text)
    lines = {key: tuple(found[key]) for key in ("node_lines", "partition_lines")}
    return SlurmConfInUse(**(found | lines))


def persistent(cluster: Cluster, store: SlurmConfRecord) -> tuple[str, ...]:
    """Name the nodes of min_nodes that slurmctld keeps up by now; all of them where no record tells.

    An edited cluster file does nothing before a deploy or resize: Slurm would suspend such a node again.
    """
    names = cluster.persistent()
    if store.applied() is None:
        return names
    kept = protected_by(load(store).slurm_conf)
    return tuple(name for name in names if name in kept)


def _of_inventory(store: SlurmConfRecord) -> SlurmConfInUse:
    text = store.inventory_variables()
    if text is None:
        raise FileNotFoundError(errno.ENOENT, "there is no inventory before the first deploy", VARIABLES)
    return of(read_yaml(text))
