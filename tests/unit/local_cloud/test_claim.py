"""Who gets a name and an address."""

from pathlib import Path
from typing import Any

import pytest
from local_cloud import faults
from local_cloud.claim import claim
from local_cloud.errors import CloudFault
from local_cloud.store import Store

WANTED = {
    "name": "n1",
    "address": "10.0.0.1",
    "image": "default",
    "flavor": "small",
    "key_pair": "ssh-ed25519 AAAA",
    "tags": ["cluster=demo", "operation=1"],
}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path / "cloud")
    made.prepare()
    return made


def test_a_free_name_gets_a_new_server(store: Store) -> None:
    record, new = claim(store, WANTED)
    assert new
    assert store.read(record["id"]) == record
    assert record["status"] == "BUILD"


@pytest.mark.parametrize("status", ["BUILD", "ACTIVE"])
def test_the_same_server_is_adopted_with_the_new_tags(store: Store, status: str) -> None:
    first, _ = claim(store, WANTED)
    store.write({**first, "status": status})
    tags = ["cluster=demo", "operation=2"]
    second, new = claim(store, {**WANTED, "tags": tags})
    assert not new
    assert second["id"] == first["id"]
    assert (store.read(first["id"]) or {})["tags"] == tags


@pytest.mark.parametrize(
    "other",
    [
        {"image": "other"},
        {"flavor": "large"},
        {"address": "10.0.0.2"},
        {"key_pair": "ssh-ed25519 BBBB"},
        {"tags": ["cluster=another"]},
        {"name": "n2"},
    ],
    ids=lambda other: next(iter(other)),
)
def test_what_differs_is_a_conflict(store: Store, other: dict[str, Any]) -> None:
    first, _ = claim(store, WANTED)
    with pytest.raises(CloudFault, match=first["id"]) as caught:
        claim(store, {**WANTED, **other})
    assert caught.value.kind == "conflict"
    assert store.server_ids() == [first["id"]]


def test_a_server_in_error_is_not_adopted(store: Store) -> None:
    first, _ = claim(store, WANTED)
    store.write({**first, "status": "ERROR"})
    with pytest.raises(CloudFault, match="delete it first"):
        claim(store, WANTED)


@pytest.mark.parametrize(("kind", "stays"), [("capacity", True), ("quota", False), ("auth", False)])
def test_a_failed_create_leaves_what_a_real_cloud_leaves(store: Store, kind: str, stays: bool) -> None:
    faults.add(store, faults.CREATE, "n1", 1, 0, kind, "")
    with pytest.raises(CloudFault) as caught:
        claim(store, WANTED)
    assert caught.value.kind == kind
    assert bool(caught.value.server_id) == stays
    assert [(store.read(server_id) or {})["status"] for server_id in store.server_ids()] == ["ERROR"] * stays
