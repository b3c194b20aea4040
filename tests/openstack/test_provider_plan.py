"""How the provider for tests plans: as Terraform's old SDK for Go does. No cloud, no root."""

import sys
from typing import Any

import pytest

from tests.openstack.harness import CHECKOUT

sys.path.insert(0, str(CHECKOUT / "tests/openstack/provider"))

from openstack_provider import schema
from openstack_provider.cloud import duration
from openstack_provider.instance import Instance
from openstack_provider.plan import differences, fill, known, replacing, same
from tf.types import Unknown

BLOCK = schema.resource(Instance.type_name)


def server(**values: Any) -> dict[str, Any]:
    """Return a configuration of a server."""
    network = schema.empty(BLOCK["block_types"]["network"]["block"])
    base = {"name": "n1", "image_id": "i", "flavor_id": "f", "network": [network | {"uuid": "net"}]}
    return schema.empty(BLOCK) | base | values


def stored(**values: Any) -> dict[str, Any]:
    """Return the state of a server."""
    planned = known(fill(BLOCK, server(), Instance.defaults, create=True))
    return planned | {"id": "1", "image_name": "debian", "availability_zone": "nova"} | values


@pytest.mark.parametrize(
    ("old", "new", "alike"),
    [
        (None, "", True), ("", None, True), (None, [], True), ([], None, True), (0, None, True),
        (False, None, True), (None, False, False), (None, True, False), ("a", "b", False), ("a", None, False),
    ],
)  # fmt: skip
def test_null_and_zero(old: Any, new: Any, alike: bool) -> None:
    """Null is a zero value; but a false that is wanted is no nothing, which is why imports plan an update."""
    assert same(old, new) is alike


def test_set_has_no_order() -> None:
    """Tags come back in another order."""
    assert same(["a", "b"], ["b", "a"], ["set", "string"])
    assert not same(["a", "b"], ["b", "a"], ["list", "string"])


def test_creation_has_unknowns_and_defaults() -> None:
    """What is computed is unknown, what has a default is not, in nested blocks, too."""
    planned = fill(BLOCK, server(), Instance.defaults, create=True)
    assert planned["id"] is Unknown and planned["image_name"] is Unknown
    assert planned["force_delete"] is False and planned["power_state"] == "active"
    assert planned["user_data"] is None
    assert planned["network"][0]["access_network"] is False
    assert planned["network"][0]["mac"] is Unknown


@pytest.mark.parametrize(
    ("change", "paths", "replaces"),
    [
        ({}, [], False),
        ({"image_id": "j"}, [("image_id",)], False),
        ({"flavor_id": "g"}, [("flavor_id",)], False),
        ({"name": "n2"}, [("name",)], False),
        ({"key_pair": "other"}, [("key_pair",)], True),
        ({"user_data": "x"}, [("user_data",)], True),
        ({"config_drive": True}, [("config_drive",)], True),
        ({"availability_zone": "b"}, [("availability_zone",)], True),
        ({"network": [{"uuid": "other"}]}, [("network", 0, "uuid")], True),
        ({"network": [{"uuid": "net"}] * 2}, [("network",)], True),
        ({"scheduler_hints": [{"group": "g"}]}, [("scheduler_hints",)], True),
    ],
)
def test_what_forces_a_replacement(change: dict[str, Any], paths: list[Any], replaces: bool) -> None:
    """Network, key and user data do; image and flavor don't."""
    prior = stored()
    planned = fill(BLOCK, prior | change, Instance.defaults, create=False)
    found = differences(BLOCK, prior, planned)
    assert found == paths
    assert bool(replacing(found, Instance.force_new)) is replaces


def test_a_flavor_that_was_deleted_forces_a_replacement() -> None:
    """It is read as empty (CustomizeDiff of the real one)."""
    prior = stored() | {"flavor_id": "", "flavor_name": ""}
    found = differences(
        BLOCK, prior, fill(BLOCK, prior | {"flavor_id": "f"}, Instance.defaults, create=False)
    )
    instance = Instance(None)  # type: ignore[arg-type]  # no cloud is asked
    assert replacing(found, instance.forcing(prior)) == [("flavor_id",)]
    assert replacing(found, instance.forcing(prior | {"flavor_id": "e"})) == []


def test_time_limits() -> None:
    """As Go writes durations."""
    assert [duration(text, 7) for text in ("20m", "1h30m", "90s", None)] == [1200, 5400, 90, 7]
