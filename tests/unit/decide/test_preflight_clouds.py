"""What the pre-flight says of a cloud: tests/cases/preflight.yml."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from slurm_powersave.config.settings import Cluster
from slurm_powersave.decide.preflight.clouds import findings
from slurm_powersave.decide.preflight.findings import Here
from slurm_powersave.model.cloud_facts import (
    AddressUse,
    Asked,
    CloudFacts,
    GroupFacts,
    ImageFacts,
    NetworkFacts,
    ServerGroupFacts,
    SubnetFacts,
    Tools,
    Trouble,
)
from slurm_powersave.model.nodes import Flavor, Limit, NodeSpec, Server
from tests.unit.conftest import path_of

TABLE = yaml.safe_load(Path(__file__).parents[2].joinpath("cases/preflight.yml").read_text())
CLUSTER: dict[str, Any] = {
    "cluster_name": "demo",
    "state_dir": "/nonexistent",
    "clouds": {
        "os": {
            "nodes_module": "/n",
            "base_module": "/b",
            "settings": {"external_network": "public", "ssh_from": ["192.0.2.7/32"]},
        }
    },
    "login": {"name": "demo-login", "address": "10.0.0.5", "image": "rocky9", "flavor": "login"},
    "node_pools": [
        {
            "name": "compute",
            "nodes": "n[1-8]",
            "min_nodes": 2,
            "image": "rocky9",
            "flavors": ["small", "large"],
            "addresses": "10.0.1.1-10.0.1.8",
        }
    ],
    "partitions": [{"name": "main", "pools": ["compute"]}],
    "file": "/nonexistent/all.yml",
}


def tagged(item: dict[str, Any]) -> dict[str, Any]:
    """Tags are a set."""
    return item | {"tags": frozenset(item["tags"])} if "tags" in item else item


def subnet(item: dict[str, Any]) -> SubnetFacts:
    """A subnet as the table writes it."""
    uses = tuple(AddressUse(address, by, frozenset(tags)) for address, by, tags in item.get("in_use", []))
    pools = tuple((low, high) for low, high in item.get("pools", []))
    return SubnetFacts(**tagged(item) | {"in_use": uses, "pools": pools})


MAKE: dict[str, Callable[[Any], Any]] = {
    "troubles": lambda items: tuple(Trouble(Asked(kind), text, where) for kind, text, where in items),
    "roles": frozenset,
    "images": lambda items: tuple(ImageFacts(**item) for item in items),
    "flavors": lambda sizes: {name: Flavor(name, *size) for name, size in sizes.items()},
    "zones": frozenset,
    "networks": lambda items: tuple(NetworkFacts(**tagged(item)) for item in items),
    "subnets": lambda items: tuple(subnet(item) for item in items),
    "limits": lambda items: {name: Limit(*numbers) for name, numbers in items.items()},
    "security_groups": lambda items: tuple(GroupFacts(**tagged(item)) for item in items),
    "server_groups": lambda items: tuple(ServerGroupFacts(**item) for item in items),
    "servers": lambda items: tuple(Server(**{"status": "ACTIVE"} | tagged(item)) for item in items),
}


def read(values: dict[str, Any]) -> CloudFacts:
    """Make the facts of a case."""
    kept = {"key_pair", "clock_skew"}
    made = {k: v if k in kept or v is None else MAKE[k](v) for k, v in values.items()}
    return CloudFacts(**made)


def cluster(changes: dict[str, Any]) -> Cluster:
    """The cluster file of a case."""
    content = copy.deepcopy(CLUSTER)
    for key, value in changes.items():
        *above, last = path_of(key)
        place: Any = content
        for part in above:
            place = place[part]
        place[last] = value
    return Cluster.model_validate(content)


@pytest.mark.parametrize("case", TABLE["cases"], ids=lambda case: case["name"])
def test_findings(case: dict[str, Any]) -> None:
    held = case.get("here", {})
    made = {
        name: NodeSpec(name, "compute", "os", "rocky9", flavor, "", "", flavor_id=flavor_id)
        for name, (flavor, flavor_id) in held.get("servers", {}).items()
    }
    here = Here(**{"public_key": "ssh-ed25519 AAAA us"} | held | {"servers": made})
    facts = read(TABLE["facts"] | case.get("facts", {}))
    tools = Tools(**{"terraform": "1.11.4"} | case.get("tools", {}))
    found = findings(cluster(case.get("cluster", {})), {"os": facts}, tools, here)
    expected = case.get("expect", [])
    told = [(str(one.severity), one.where, one.wrong, one.right) for one in found]
    assert len(told) == len(expected), told
    for parts, said in zip(expected, told, strict=True):
        assert parts[0] == said[0]
        for part, text in zip(parts[1:], said[1:], strict=True):
            assert part in text, (part, text)
        assert all(said)


def test_only_what_is_made_in_a_cloud_is_asked_of_it() -> None:
    """A second cloud has no login node, key pair or network of ours."""
    content = copy.deepcopy(CLUSTER)
    content["clouds"]["b"] = {"nodes_module": "/n"}
    content["login"]["cloud"], content["node_pools"][0]["cloud"] = "os", "b"
    made = Cluster.model_validate(content)
    facts = read(TABLE["facts"] | {"key_pair": "ssh-ed25519 BBBB", "zones": []})
    found = findings(made, {"b": facts}, Tools("1.11"), Here("ssh-ed25519 AAAA"))
    assert found == []
    found = findings(made, {"os": facts}, Tools("1.11"), Here("ssh-ed25519 AAAA"))
    assert ["key pair" in one.where for one in found] == [True]
