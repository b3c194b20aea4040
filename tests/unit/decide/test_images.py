"""What is to be built, what may be copied, what is used, what is proven."""

from collections.abc import Callable
from typing import Any

import pytest

from slurm_powersave.config.settings import Cluster
from slurm_powersave.decide.commands.images import ImageRow, alike, order, refuse_images, refuse_node, rows
from slurm_powersave.model.errors import ConfigError, RefusedError
from slurm_powersave.model.images import BASE, BUILDING, CLUSTER, NODE, READY, ROLE, Identity, Image, Look
from slurm_powersave.model.modes import Mode
from slurm_powersave.model.nodes import NodeRecord, NodeSpec, Operation, Server, SlurmNode

ADDRESS = {"clouds.local.builder_address": "10.79.0.20"}
DRAINED = "IDLE+DRAIN+CLOUD"
SERVER = Server("id-1", "demo-1", "ACTIVE", tags=frozenset({"cluster=demo", "node=demo-1"}))

Make = Callable[..., Cluster]


@pytest.fixture
def cluster(make: Make) -> Cluster:
    return make(ADDRESS)


def said(cluster: Cluster, records: dict[str, NodeRecord] | None = None, **words: str) -> Any:
    return order(
        cluster, records or {}, **{"base": None, "node": None, "name": None, "pool": None, **words}, now=1e9
    )


def record(cluster: Cluster, node: str, image: str, server_id: str = "") -> dict[str, NodeRecord]:
    wanted = cluster.node_spec(node)
    changed = NodeSpec(**{**wanted.__dict__, "image": image})
    return {node: NodeRecord(changed, server_id=server_id)}


def test_an_order_has_what_its_pool_has(cluster: Cluster) -> None:
    found = said(cluster, base="default", pool="big")
    assert (found.name, found.flavor, found.address) == ("big-20010909-014640", "large", "10.79.0.20")
    assert (found.builder, found.proof) == ("demo-builder", "demo-proof")


def test_a_nodes_base_is_the_image_that_it_was_made_of(cluster: Cluster) -> None:
    found = said(cluster, record(cluster, "demo-2", "older"), node="demo-2", name="gold")
    assert (found.base, found.node, found.pool, found.disk) == ("older", "demo-2", "compute", "gold-disk")
    assert found.provenance(0, {"version": "1"}) == {
        "name": "gold",
        "base": "older",
        "node": "demo-2",
        "created": "1970-01-01T00:00:00Z",
        "roles": {"version": "1"},
    }


@pytest.mark.parametrize(
    ("words", "wrong"),
    [
        ({}, "--from NODE and --base IMAGE"),
        ({"base": "default", "node": "demo-1"}, "--from NODE and --base IMAGE"),
        ({"node": "demo-9"}, "not a configured node"),
        ({"node": "demo-1", "pool": "big"}, "demo-1 is in pool compute, not in big"),
        ({"base": "default"}, "there are several pools"),
        ({"base": "default", "pool": "none"}, "there is no pool none"),
        ({"base": "default", "pool": "big", "name": "a/b"}, "no name for an image"),
        ({"base": "default", "pool": "big", "name": "x" * 59}, "no name for an image"),
    ],
)
def test_what_can_not_be_ordered(cluster: Cluster, words: dict[str, str], wrong: str) -> None:
    with pytest.raises(ConfigError) as caught:
        said(cluster, **words)
    assert wrong in str(caught.value)


def test_without_an_address_there_is_no_builder(make: Make) -> None:
    with pytest.raises(ConfigError, match=r"clouds\.local\.builder_address"):
        said(make(), base="default", pool="big")


def test_images_that_are_there_and_that_are_not(cluster: Cluster) -> None:
    there = [
        Image("default"),
        Image("gold", properties={CLUSTER: "demo", ROLE: READY}),
        Image("half", properties={CLUSTER: "demo", ROLE: BUILDING}),
    ]
    refuse_images(said(cluster, base="gold", pool="big", name="new"), there)
    refuse_images(said(cluster, base="default", pool="big", name="half"), there)
    for words, wrong in (({"base": "none"}, "no image none"), ({"base": "half"}, "no image half")):
        with pytest.raises(ConfigError, match=wrong):
            refuse_images(said(cluster, **words, pool="big"), there)
    with pytest.raises(ConfigError, match="gold already"):
        refuse_images(said(cluster, base="default", pool="big", name="gold"), there)


@pytest.mark.parametrize("state", ["IDLE+CLOUD", DRAINED])
def test_an_idle_or_drained_node_may_be_copied(state: str) -> None:
    assert refuse_node("demo-1", SlurmNode("demo-1", frozenset(state.split("+"))), [SERVER], []) is SERVER


@pytest.mark.parametrize(
    ("state", "wrong"),
    [
        ("ALLOCATED+CLOUD", "in use"),
        ("MIXED+DRAIN+CLOUD", "in use"),
        ("IDLE+COMPLETING+CLOUD", "in use"),
        ("IDLE+RESERVED+CLOUD", "in use"),
        ("IDLE+CLOUD+POWERED_DOWN", "neither idle nor drained"),
        ("IDLE+CLOUD+POWERING_DOWN", "neither idle nor drained"),
        ("ALLOCATED+CLOUD+POWERING_UP", "neither idle nor drained"),
        ("IDLE+CLOUD+NOT_RESPONDING", "neither idle nor drained"),
        ("DOWN+CLOUD", "neither idle nor drained"),
        ("IDLE+CLOUD+REBOOT_REQUESTED", "neither idle nor drained"),
        ("UNKNOWN", "neither idle nor drained"),
        ("", "neither idle nor drained"),
    ],
)
def test_any_other_node_may_not(state: str, wrong: str) -> None:
    with pytest.raises(RefusedError) as caught:
        refuse_node("demo-1", SlurmNode("demo-1", frozenset(state.split("+"))), [SERVER], [])
    assert wrong in str(caught.value) and "drain" in caught.value.todo.lower()


def test_a_node_with_something_under_way_or_without_one_server_may_not() -> None:
    seen = SlurmNode("demo-1", frozenset(DRAINED.split("+")))
    running = Operation("1a", "r", "demo-1", Mode.SUSPEND, "deleting", 0, 0)
    off = Server("id-2", "demo-1", "SHUTOFF", tags=SERVER.tags)
    for servers, operations, wrong in (
        ([SERVER], [running], "suspend 1a is under way"),
        ([], [], "none"),
        ([off], [], "SHUTOFF"),
        ([SERVER, off], [], "id-1 ACTIVE, id-2 SHUTOFF"),
    ):
        with pytest.raises(RefusedError, match=wrong):
            refuse_node("demo-1", seen, servers, operations)
    with pytest.raises(RefusedError, match="does not know it"):
        refuse_node("demo-1", None, [SERVER], [])


BEFORE = Look(Identity("key-1", "machine-1", "boot-1"), {})


@pytest.mark.parametrize(
    ("identity", "name", "wrong"),
    [
        (Identity("key-2", "machine-2", "boot-2"), "gold", []),
        (Identity("key-1", "machine-2", "boot-2"), "gold", ["its SSH host key is the builder's"]),
        (Identity("key-2", "machine-1", "boot-2"), "gold", ["its machine id is the builder's"]),
        (Identity("key-2", "", "boot-2"), "gold", ["it has no machine id"]),
        (Identity("key-2", "machine-2", "boot-1"), "gold", ["its boot id is the builder's"]),
        (Identity("key-2", "machine-2", "boot-2"), "old", ["it calls itself old, not gold"]),
        (Identity("key-2", "machine-2", "boot-2"), "", ["it calls itself nothing, not gold"]),
    ],
)
def test_a_proof_is_another_host_of_that_image(identity: Identity, name: str, wrong: list[str]) -> None:
    assert alike([BEFORE], Look(identity, {"name": name} if name else {}), "gold") == wrong


def test_images_are_listed_with_who_uses_them(make: Make) -> None:
    cluster = make({**ADDRESS, "node_pools[0].image": "gold"})
    images = [
        Image("gold", "active", 20, 1000, {CLUSTER: "demo", ROLE: READY, BASE: "default", NODE: "demo-2"}),
        Image("default"),
        Image("half", "saving", 30, None, {CLUSTER: "demo", ROLE: BUILDING, BASE: "default"}),
        Image("theirs", properties={CLUSTER: "other", ROLE: READY}),
        Image("public"),
        Image("old", "active", 10, 1, {CLUSTER: "demo", ROLE: READY, BASE: "default"}),
    ]
    records = record(cluster, "demo-1", "old", "id-1") | record(cluster, "demo-2", "half")
    servers = [
        Server("id-1", "demo-1", "ACTIVE", image="old"),
        Server("id-2", "demo-3", "ACTIVE", image="old"),
        Server("id-3", "demo-login", "ACTIVE", image="default"),
    ]
    found = rows(cluster, {"local": images}, records, {"local": servers})
    assert found == [
        ImageRow("default", "", "", None, None, "active", "local", ("pool big", "login node demo-login")),
        ImageRow("old", "default", "", 10, 1, "active", "local", ("node demo-1", "node demo-3")),
        ImageRow("gold", "default", "demo-2", 20, 1000, "active", "local", ("pool compute",)),
        ImageRow("half", "default", "", 30, None, "unfinished", "local", ()),
    ]
