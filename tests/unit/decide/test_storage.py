"""The shared directory's texts, for each way to have one."""

import subprocess
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from slurm_powersave.config.settings import Cluster
from slurm_powersave.decide.slurm_files import storage
from slurm_powersave.decide.slurm_files.addresses import assign
from slurm_powersave.decide.slurm_files.inventory import inventory
from slurm_powersave.decide.slurm_files.removed_nodes import RemovedNode, RemovedNodes
from slurm_powersave.model.nodes import NodeFacts

Make = Callable[..., Cluster]
FACTS = {"compute": NodeFacts(2, 1800), "big": NodeFacts(16, 60000)}
NODES = ["10.79.1.1", "10.79.1.2/31", "10.79.1.4", "10.79.2.1", "10.79.2.9"]


def variables(cluster: Cluster, removed: RemovedNodes = RemovedNodes()) -> Mapping[str, Any]:  # noqa: B008  # frozen
    """What the roles get."""
    return storage.variables(cluster, assign(cluster, {}), removed)


def lines(text: str) -> list[str]:
    """The settings of a unit."""
    return [line for line in text.splitlines() if "=" in line]


def test_without_shared_storage_there_is_nothing(make: Make) -> None:
    made = variables(make())
    assert made == {"server": {}, "login": storage.NOTHING, "nodes": storage.NOTHING}


def test_the_login_node_exports_to_the_nodes_and_nobody_else(make: Make) -> None:
    made = variables(make({"shared_storage": {"server": "login"}}))
    assert made["server"] == {
        "export": "/srv/ohpc",
        "program": "kernel",
        "packages": ["nfs_server_kernel"],
        "clients": [{"network": network, "squash": True} for network in NODES],
    }
    nodes, login = made["nodes"], made["login"]
    assert (nodes["unit"], nodes["mounts"], nodes["packages"]) == (
        "mnt-ohpc.mount",
        ["/mnt/ohpc"],
        ["nfs_client"],
    )
    assert lines(nodes["text"])[1:6] == [
        "What=10.79.0.10:/srv/ohpc",
        "Where=/mnt/ohpc",
        "Type=nfs4",
        "Options=vers=4.2,hard,noatime",
        "TimeoutSec=60",
    ]
    assert (login["unit"], login["mounts"], login["packages"]) == ("mnt-ohpc.mount", ["/mnt/ohpc"], [])
    assert lines(login["text"])[1:5] == [
        "What=/srv/ohpc",
        "Where=/mnt/ohpc",
        "Type=none",
        "Options=bind",
    ]


def test_a_login_node_that_exports_the_directory_itself_mounts_nothing(make: Make) -> None:
    made = variables(make({"shared_storage": {"export": "/mnt/ohpc"}}))
    assert made["login"] == storage.NOTHING
    assert "What=10.79.0.10:/mnt/ohpc" in made["nodes"]["text"]


def test_another_server_trusts_the_login_nodes_root(make: Make) -> None:
    change = {"server": "10.79.0.11", "user": "debian", "program": "ganesha", "clients": ["10.99.0.0/24"]}
    made = variables(make({"shared_storage": change}))
    assert made["login"] == made["nodes"]
    assert "What=10.79.0.11:/srv/ohpc" in made["login"]["text"]
    server = made["server"]
    assert (server["program"], server["packages"]) == ("ganesha", ["nfs_server_ganesha"])
    assert server["clients"][0] == {"network": "10.79.0.10", "squash": False}
    assert server["clients"][1:] == [{"network": net, "squash": True} for net in (*NODES, "10.99.0.0/24")]


def test_a_node_that_leaves_keeps_its_files(make: Make) -> None:
    removed = RemovedNodes((RemovedNode("demo-9", "10.79.1.9", "CPUs=2"),))
    made = variables(make({"shared_storage": {"root_squash": False}}), removed)
    assert {"network": "10.79.1.9", "squash": False} in made["server"]["clients"]


@pytest.mark.parametrize(
    ("change", "hosts"),
    [
        (None, {}),
        ({"server": "login"}, {"demo-login": {}}),
        ({"server": "10.79.0.11"}, {}),
        (
            {"server": "10.79.0.11", "user": "rocky"},
            {"demo-storage": {"ansible_host": "10.79.0.11", "ansible_user": "rocky", "ansible_become": True}},
        ),
    ],
    ids=["none", "login", "a server that is there", "a server of ours"],
)
def test_the_group_storage_holds_what_is_ours_to_configure(
    make: Make, change: Mapping[str, Any] | None, hosts: Mapping[str, Any]
) -> None:
    cluster = make({"shared_storage": change})
    made = inventory(cluster, FACTS, assign(cluster, {}))
    assert made.hosts["all"]["children"]["storage"]["hosts"] == hosts
    assert made.variables["slurm_powersave"]["storage"] == variables(cluster)


PATHS = {
    "/mnt/ohpc": "mnt-ohpc.mount",
    "/mnt/oh-pc/a.b": "mnt-oh\\x2dpc-a.b.mount",
    "/srv/share_1": "srv-share_1.mount",
}


@pytest.mark.parametrize("path", PATHS)
def test_units_have_the_names_that_systemd_wants(path: str) -> None:
    assert storage.unit_name(path) == PATHS[path]
    argv = ["systemd-escape", "--path", "--suffix=mount", path]
    assert subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip() == PATHS[path]


def test_networks_hold_the_addresses_and_no_other() -> None:
    assert storage.networks(["10.0.0.2", "10.0.0.3", "10.0.0.1"]) == ["10.0.0.1", "10.0.0.2/31"]
    assert storage.networks(f"10.0.1.{number}" for number in range(256)) == ["10.0.1.0/24"]
