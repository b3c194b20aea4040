"""The whole cluster file as one frozen value. Made by settings.load, which finds every mistake."""

from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import Field

from slurm_powersave.config import fields
from slurm_powersave.config.layout import Layout
from slurm_powersave.config.sections import (
    Cloud,
    FailurePolicy,
    History,
    Login,
    Partition,
    Pool,
    PowerSave,
    Section,
    SharedStorage,
    TerraformSettings,
    lowest_first,
)
from slurm_powersave.model.errors import ConfigError
from slurm_powersave.model.hostlist import expand
from slurm_powersave.model.nodes import NodeSpec
from slurm_powersave.model.slurm_version import Version
from slurm_powersave.model.slurm_versions import DEFAULT, Difference, has

SITE_PREFIXES = ("site_", "ansible_")
"""Keys that begin so are the site's own: passed to Ansible, and not looked at."""


class Cluster(Section):
    """The whole cluster file. Relative paths in it are relative to the file."""

    cluster_name: fields.ClusterName = Field(
        description="Slurm's ClusterName, and in the tags of every server."
    )
    state_dir: fields.LocalPath = Field(
        description="Journal, keys, Terraform states; /var/lib/slurm-powersave/CLUSTER_NAME."
    )
    clouds: dict[fields.Label, Cloud] = Field(min_length=1, description="The clouds by name.")
    terraform: TerraformSettings = Field(
        default_factory=TerraformSettings, description="How Terraform is run."
    )
    login: Login = Field(description="The login node.")
    node_pools: tuple[Pool, ...] = Field(min_length=1, description="The node pools.")
    partitions: tuple[Partition, ...] = Field(min_length=1, description="The partitions.")
    power_save: PowerSave = Field(default_factory=PowerSave, description="Slurm's power-save timing.")
    failure: FailurePolicy = Field(default_factory=FailurePolicy, description="What a failed node costs.")
    history: History = Field(
        default_factory=History, description="For how long the journal keeps what has ended."
    )
    fast_start: bool | None = Field(
        None,
        description="Batch jobs begin at once on fresh nodes (PrologSlurmctld); null: from Slurm "
        f"{Difference.PROLOG_SLURMCTLD_DELAYS_SALLOC.value.before} on.",
    )
    reboot_from_controller: bool = Field(True, description="slurmctld calls RebootProgram, not slurmd.")
    dns_servers: tuple[fields.Address, ...] = Field(
        (), description="For resolv.conf of the nodes; empty: left alone."
    )
    mounts: tuple[fields.NodePath, ...] = Field(
        ("/mnt/ohpc",), description="Must be mount points on a node before slurmd starts."
    )
    shared_storage: SharedStorage | None = Field(
        None, description="A directory shared by NFS; null: none of ours."
    )
    slurm_conf_extra: dict[fields.SlurmKey, fields.SlurmLines] = Field(
        default_factory=dict,
        description="slurm.conf: replaces or adds a key; a list gives several lines, null leaves it out.",
    )
    gres_conf: str = Field("", description="Text of gres.conf.")
    cgroup_conf: str = Field("", description="Text of cgroup.conf; empty: cores and memory are constrained.")
    prolog: fields.LocalPath | None = Field(
        None, description="The site's Prolog, a file beside this one; copied to the nodes."
    )
    epilog: fields.LocalPath | None = Field(None, description="The site's Epilog, likewise.")
    prolog_slurmctld: fields.LocalPath | None = Field(
        None, description="The site's PrologSlurmctld; with fast start it is run after ours."
    )
    slurm_version: fields.SlurmVersion = Field(
        DEFAULT, description="The version of slurmctld; slurm.conf is written for it."
    )
    site: dict[str, Any] = Field(default_factory=dict, exclude=True, description="Keys site_* and ansible_*.")
    file: Path = Field(exclude=True, description="Where it was read from.")

    @property
    def layout(self) -> Layout:
        """Where things are in the state directory."""
        return Layout(self.state_dir)

    @property
    def fast_start_on(self) -> bool:
        """Fast start as set; where it is not set, by what it costs with this version of Slurm."""
        if self.fast_start is None:
            return not self.slurm_has(Difference.PROLOG_SLURMCTLD_DELAYS_SALLOC)
        return self.fast_start

    @property
    def slurm_release(self) -> Version:
        """The version of Slurm that the file names."""
        return Version.of(self.slurm_version)

    def slurm_has(self, difference: Difference) -> bool:
        """Tell whether the version of Slurm that the file names does it."""
        return has(self.slurm_release, difference)

    @cached_property
    def _nodes_by_pool(self) -> dict[str, tuple[str, ...]]:
        return {pool.name: pool_nodes(self.cluster_name, pool) for pool in self.node_pools}

    @cached_property
    def _places(self) -> dict[str, tuple[Pool, int]]:
        return {
            name: (pool, index)
            for pool in self.node_pools
            for index, name in enumerate(self._nodes_by_pool[pool.name])
        }

    @cached_property
    def _addresses(self) -> dict[str, tuple[str, ...]]:
        return {pool.name: fields.address_range(pool.addresses) for pool in self.node_pools}

    def __contains__(self, node: str) -> bool:
        """Tell whether a node is configured."""
        return node in self._places

    def nodes(self) -> tuple[str, ...]:
        """Name all nodes, pool by pool, in the order of their expressions."""
        return tuple(self._places)

    def nodes_of(self, pool: str) -> tuple[str, ...]:
        """Name the nodes of a pool, in the order of its expression."""
        return self._nodes_by_pool[pool]

    def persistent(self) -> tuple[str, ...]:
        """Name the nodes that always stay up: each pool's min_nodes with the lowest numbers."""
        return tuple(
            name
            for pool in self.node_pools
            for name in lowest_first(self.nodes_of(pool.name))[: pool.min_nodes]
        )

    def pool(self, name: str) -> Pool:
        """Return a pool by name; KeyError if there is none."""
        return next(pool for pool in self.node_pools if pool.name == name)

    def pool_of(self, node: str) -> Pool:
        """Return a node's pool.

        Raises:
            ConfigError: the node is not configured.
        """
        return self._place(node)[0]

    def cloud_of(self, part: Pool | Login) -> str:
        """Name the cloud of a pool or of the login node."""
        return part.cloud or next(iter(self.clouds))

    def partition_nodes(self, partition: Partition) -> tuple[str, ...]:
        """Name a partition's nodes in order, without duplicates."""
        names = [name for pool in partition.pools for name in self.nodes_of(pool)]
        if partition.nodes:
            names += expand(partition.nodes, self._places)
        return tuple(dict.fromkeys(names))

    def address_by_position(self, node: str) -> str:
        """Return the address that a node's place in its pool gives it; a recorded one comes before it."""
        pool, index = self._place(node)
        return self._addresses[pool.name][index]

    def node_spec(self, node: str, *, address: str = "") -> NodeSpec:
        """Say what a node is to be: the pool's image, first flavor, and the recorded or computed address.

        The flavor is empty if the pool's first is a requirement: the cloud tells what meets it.

        Raises:
            ConfigError: the node is not configured.
        """
        pool = self.pool_of(node)
        return NodeSpec(
            name=node,
            pool=pool.name,
            cloud=self.cloud_of(pool),
            image=pool.image,
            flavor=pool.flavors[0] if isinstance(pool.flavors[0], str) else "",
            zone=pool.zone,
            address=address or self.address_by_position(node),
        )

    def _place(self, node: str) -> tuple[Pool, int]:
        try:
            return self._places[node]
        except KeyError:
            raise ConfigError(
                f"{node} is not a configured node", where=str(self.file), todo="Add it to a pool's `nodes`."
            ) from None


def pool_nodes(cluster_name: str, pool: Pool) -> tuple[str, ...]:
    """Expand a pool's nodes, from `nodes` or from the short form max_nodes."""
    if pool.nodes is not None:
        return fields.node_names(pool.nodes)
    return short_form(cluster_name, pool.name, pool.max_nodes or 0)


def short_form(cluster_name: str, pool: str, max_nodes: int) -> tuple[str, ...]:
    """Name the nodes that `max_nodes` stands for, as eiffel-ohpc does: ohpc-compute-0, ..."""
    return tuple(f"{cluster_name}-{pool}-{index}" for index in range(max_nodes))
