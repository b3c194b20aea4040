"""The inventory for Ansible: usable by plain `ansible-playbook -i STATE/inventory` and by the engine."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from slurm_powersave.config.cluster import Cluster
from slurm_powersave.config.layout import (
    FAST_START,
    HOOKS,
    SITE_EPILOG,
    SITE_PROLOG,
    SITE_PROLOG_SLURMCTLD,
    SPOOL,
)
from slurm_powersave.decide.slurm_files import slurm_conf, ssh_options, storage
from slurm_powersave.decide.slurm_files.literal import yaml_text
from slurm_powersave.decide.slurm_files.removed_nodes import RemovedNodes
from slurm_powersave.model.hostlist import fold
from slurm_powersave.model.nodes import NodeFacts
from slurm_powersave.model.slurm_versions import Difference

HOSTS = "hosts.yml"
VARIABLES = "group_vars/all/slurm_powersave.yml"
_NOTE = "# Written by slurm-powersave from the cluster file; changes here are overwritten.\n"


@dataclass(frozen=True)
class Inventory:
    """Groups and hosts, and the variables of all hosts."""

    hosts: Mapping[str, Any]
    variables: Mapping[str, Any]

    def files(self) -> dict[str, str]:
        """Return the texts by their names below the inventory directory; the same input, the same text."""
        return {
            name: _NOTE + yaml_text(content)
            for name, content in ((HOSTS, self.hosts), (VARIABLES, self.variables))
        }


def inventory(
    cluster: Cluster,
    facts: Mapping[str, NodeFacts],
    addresses: Mapping[str, str],
    removed: RemovedNodes = RemovedNodes(),  # noqa: B008  # frozen
) -> Inventory:
    """Make the inventory.

    Groups: `login`, `nodes`, `pool_NAME` for each pool (a - in the name becomes _, which is what
    Ansible wants of a group's name), and `storage`, the server of the shared directory where it is ours
    to configure. Variables: the whole cluster file with its defaults under its
    own keys, and what is computed from it under `slurm_powersave`.
    """
    pools = {
        group(pool.name): {
            "hosts": {
                name: {"ansible_host": addresses[name], "slurm_pool": pool.name}
                for name in cluster.nodes_of(pool.name)
            },
            "vars": {
                **_login_as(pool.image_user),
                "before_configure": str(pool.before_configure or ""),
                "after_configure": str(pool.after_configure or ""),
            },
        }
        for pool in cluster.node_pools
    }
    if removed.nodes:
        pools["leaving"] = {"hosts": {node.name: {"ansible_host": node.address} for node in removed.nodes}}
    login = {"ansible_host": cluster.login.address, **_login_as(cluster.login.user)}
    if cluster.login.connection == "local":
        login["ansible_connection"] = "local"
    elif jump := ssh_options.through(cluster.login.jump, cluster.layout):
        login["ansible_ssh_common_args"] = ssh_options.ansible(cluster.layout.known_hosts, *jump)
    hosts = {
        "all": {
            "children": {
                "login": {"hosts": {cluster.login.name: login}},
                "nodes": {"children": pools},
                "storage": {"hosts": _storage_host(cluster)},
            }
        }
    }
    return Inventory(hosts, _variables(cluster, facts, addresses, removed))


def group(pool: str) -> str:
    """Name the Ansible group of a pool."""
    return f"pool_{pool.replace('-', '_')}"


def _storage_host(cluster: Cluster) -> dict[str, Any]:
    shared = cluster.shared_storage
    if shared is None:
        return {}
    if shared.server == "login":
        return {cluster.login.name: {}}
    if shared.user is None:
        return {}
    return {storage.server_name(cluster): {"ansible_host": shared.server, **_login_as(shared.user)}}


def _login_as(user: str) -> dict[str, Any]:
    """How Ansible becomes root there."""
    return {"ansible_user": user, "ansible_become": user != "root"}


def _variables(
    cluster: Cluster, facts: Mapping[str, NodeFacts], addresses: Mapping[str, str], removed: RemovedNodes
) -> dict[str, Any]:
    layout = cluster.layout
    own = cluster.model_dump(mode="json", exclude_none=False)
    return {
        "ansible_ssh_private_key_file": str(layout.private_key),
        "ansible_ssh_common_args": ssh_options.ansible(layout.known_hosts),
        "ansible_ssh_pipelining": True,
        "ansible_python_interpreter": "/usr/bin/python3",
        **own,
        **cluster.site,
        "slurm_powersave": {
            # One text: Ansible would take a second of CPU per node to template 5,000 dictionaries.
            "etc_hosts": _etc_hosts(cluster, addresses, removed),
            "node_lines": slurm_conf.node_lines(cluster, facts, addresses, removed),
            "partition_lines": slurm_conf.partition_lines(cluster, facts, removed),
            "memory_per_cpu": slurm_conf.memory_per_cpu(cluster, facts, removed),
            "min_nodes": fold(cluster.persistent()),
            "slurm_conf": slurm_conf.slurm_conf(cluster, facts, addresses, removed),
            "gres_conf": slurm_conf.gres_conf(cluster),
            "cgroup_conf": slurm_conf.cgroup_conf(cluster),
            "storage": storage.variables(cluster, addresses, removed),
            "spool": SPOOL,
            "hooks": HOOKS,
            "fast_start": cluster.fast_start_on,
            "fast_start_path": FAST_START,
            "slurm_version": str(cluster.slurm_release),
            "reconfigure_takes_nodes": cluster.slurm_has(Difference.RECONFIGURE_TAKES_NODES),
            "reconfigure_ends_prologs": cluster.slurm_has(Difference.WAITING_PROLOG_KILLED),
            "scripts": {
                "prolog": {"source": str(cluster.prolog or ""), "path": SITE_PROLOG},
                "epilog": {"source": str(cluster.epilog or ""), "path": SITE_EPILOG},
                "prolog_slurmctld": {
                    "source": str(cluster.prolog_slurmctld or ""),
                    "path": SITE_PROLOG_SLURMCTLD,
                },
            },
            "state_dir": str(layout.root),
            "known_hosts": str(layout.known_hosts),
            "private_key": str(layout.private_key),
            "public_key": str(layout.public_key),
            "munge_key": str(layout.munge_key),
        },
    }


def _etc_hosts(cluster: Cluster, addresses: Mapping[str, str], removed: RemovedNodes) -> str:
    hosts = [(cluster.login.address, cluster.login.name)]
    hosts += [(addresses[name], name) for name in cluster.nodes()]
    hosts += [(node.address, node.name) for node in removed.nodes]
    return "".join(f"{address} {name}\n" for address, name in hosts)
