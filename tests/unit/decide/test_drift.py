"""What a node's server is, and what its pool wants."""

from dataclasses import replace

import pytest

from slurm_powersave.config.sections import Pool, Requirement
from slurm_powersave.decide.node.drift import drift, moved
from slurm_powersave.model.nodes import NodeRecord, NodeSpec, Server

POOL = Pool(name="p", nodes="n1", image="new", flavors=("small", "medium"), addresses="10.0.0.1")
WANTED = NodeSpec("n1", "p", "c", "new", "small", "", "10.0.0.1")
OLD = NodeRecord(replace(WANTED, image="old"), "c/nodes-001", "id1")
SERVER = Server("id1", "n1", "ACTIVE")
BY_HAND = replace(OLD, server_id="another", by_hand=frozenset({"image"}))


@pytest.mark.parametrize(
    ("record", "servers", "text"),
    [
        (OLD, None, "image old -> new"),
        (OLD, [SERVER], "image old -> new"),
        (OLD, [replace(SERVER, image="older")], "image older -> new"),
        (OLD, [replace(SERVER, image="new")], ""),
        (OLD, [replace(SERVER, image="debian", image_id="new")], ""),
        (OLD, [], ""),
        (replace(OLD, server_id=""), None, ""),
        (None, None, ""),
        (None, [replace(SERVER, image="old")], "image old -> new"),
        (BY_HAND, [replace(SERVER, image="x")], "image x -> new"),
        (replace(OLD, node=WANTED), [SERVER], ""),
        (replace(OLD, node=replace(WANTED, flavor="medium")), [SERVER], ""),
        (replace(OLD, node=replace(WANTED, flavor="large")), [SERVER], "flavor large -> small"),
        (
            replace(OLD, node=replace(WANTED, image="test", flavor="large"), by_hand=frozenset({"image"})),
            [replace(SERVER, image="test", flavor="large")],
            "image test (by hand) -> new, flavor large -> small",
        ),
        (replace(OLD, node=WANTED, by_hand=frozenset({"image"})), [SERVER], ""),
    ],
)  # fmt: skip
def test_what_differs(record: NodeRecord | None, servers: list[Server] | None, text: str) -> None:
    assert drift(record, servers, POOL).text() == text


def test_only_what_is_not_the_pools_at_that_moment_is_by_hand() -> None:
    record = moved(OLD, "image", "test", "id-7", WANTED)
    assert (record.node.image, record.node.ref("image"), record.by_hand) == ("test", "id-7", {"image"})
    record = moved(record, "flavor", "large", "large", WANTED)
    assert record.by_hand == {"image", "flavor"}
    record = moved(record, "image", "new", "", WANTED)
    assert (record.node.image, record.node.flavor, record.by_hand) == ("new", "large", {"flavor"})
    assert record.node.ref("image") == "new"


def test_any_of_the_pools_flavors_will_do() -> None:
    """A requirement is met by many; without the cloud's word nobody is behind."""
    pool = POOL.model_copy(update={"flavors": (Requirement(cores=2),)})
    node = replace(OLD, node=replace(WANTED, flavor="large"))
    assert drift(node, [SERVER], pool, ("medium", "large")).flavor.differs is False
    assert drift(node, [SERVER], pool, ("medium",)).flavor.text("flavor") == "flavor large -> medium"
    assert drift(node, [SERVER], pool).flavor.differs is False
