"""The shared directory: what its server exports to whom, and how the others mount it. Texts only."""

import string
from collections.abc import Iterable, Mapping
from ipaddress import IPv4Network, collapse_addresses
from typing import Any

from slurm_powersave.config.cluster import Cluster
from slurm_powersave.config.sections import SharedStorage
from slurm_powersave.decide.slurm_files.removed_nodes import RemovedNodes

HEADER = "# Written by slurm-powersave from the cluster file; changes here are overwritten.\n"
MOUNT_SECONDS = 60
"""For mount.nfs, which by itself tries for two minutes (nfs(5), retry)."""
_PLAIN = frozenset(string.ascii_letters + string.digits + ":_.")

NOTHING: dict[str, Any] = {"mounts": [], "packages": [], "unit": "", "text": ""}
"""A host that has nothing to mount."""


def server_name(cluster: Cluster) -> str:
    """Name the inventory's host of a server that the base module makes."""
    return f"{cluster.cluster_name}-storage"


def variables(cluster: Cluster, addresses: Mapping[str, str], removed: RemovedNodes) -> dict[str, Any]:
    """Say what each kind of host is to have, for the roles.

    `login` and `nodes`: `unit` and `text` of the mount unit, `mounts` (what must be a mount point) and
    `packages` (kinds, as the role `packages` names them). `server`: the directory and who gets it.
    """
    shared = cluster.shared_storage
    if shared is None:
        return {"server": {}, "login": NOTHING, "nodes": NOTHING}
    on_login = shared.server == "login"
    source = f"{cluster.login.address if on_login else shared.server}:{shared.export}"
    client = {
        "mounts": [shared.mount],
        "packages": ["nfs_client"],
        "unit": unit_name(shared.mount),
        "text": mount_unit(source, shared.mount, "nfs4", shared.mount_options),
    }
    login = client
    if on_login and shared.export == shared.mount:
        login = NOTHING
    elif on_login:
        login = {
            **client,
            "packages": [],
            "text": mount_unit(shared.export, shared.mount, "none", "bind"),
        }
    held = [addresses[name] for name in cluster.nodes()] + [node.address for node in removed.nodes]
    return {"server": _server(cluster, shared, held), "login": login, "nodes": client}


def _server(cluster: Cluster, shared: SharedStorage, nodes: Iterable[str]) -> dict[str, Any]:
    # The login node's root installs what all use; a node's root is nobody special.
    login = [] if shared.server == "login" else [cluster.login.address]
    return {
        "export": shared.export,
        "program": shared.program,
        "packages": [f"nfs_server_{shared.program}"],
        "clients": [
            *({"network": network, "squash": False} for network in login),
            *(
                {"network": network, "squash": shared.root_squash}
                for network in (*networks(nodes), *shared.clients)
            ),
        ],
    }


def networks(addresses: Iterable[str]) -> list[str]:
    """Fold addresses into the fewest networks that hold them and no other."""
    folded = collapse_addresses(IPv4Network(address) for address in addresses)
    return [str(net.network_address) if net.prefixlen == 32 else str(net) for net in folded]


def unit_name(path: str) -> str:
    """Name a path's mount unit, as `systemd-escape --path --suffix=mount` does (systemd.unit(5))."""
    escaped = "".join(
        character if character in _PLAIN else "-" if character == "/" else f"\\x{ord(character):02x}"
        for character in path.strip("/")
    )
    return f"{escaped}.mount"


def mount_unit(what: str, where: str, kind: str, options: str) -> str:
    """Write a mount unit (systemd.mount(5)).

    It is enabled on the login node only. On a compute node slurmd requires it, and nothing else does:
    a node that boots is no use before the engine has looked at it.
    """
    return HEADER + "\n".join(
        [
            "[Unit]",
            f"Description=Shared storage of the cluster at {where}",
            "",
            "[Mount]",
            f"What={what}",
            f"Where={where}",
            f"Type={kind}",
            f"Options={options}",
            f"TimeoutSec={MOUNT_SECONDS}",
            "",
            "[Install]",
            "WantedBy=multi-user.target",
            "",
        ]
    )
