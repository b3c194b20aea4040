"""What a Terraform plan may contain: forbidden plans, one difference each."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurm_powersave.decide.node.plan_guard import Contract, Expected, PlanMode, check
from tests.unit.decide.plans import (
    CONTRACT,
    FORBIDDEN,
    SHARD,
    Plan,
    address,
    attributes,
    created,
    deleted,
    entry,
    plan,
)


def violations(content: Plan, mode: PlanMode, *names: str) -> list[str]:
    """Hold a plan against a request for nodes."""
    expected = {
        name: Expected(
            entry(name),
            "" if mode is PlanMode.CREATE else f"id-{name}",
            "image" if mode is PlanMode.UPDATE else "",
        )
        for name in names
    }
    contract = Contract(CONTRACT.resource, CONTRACT.attributes, frozenset({"host_key"}))
    found = check(content, mode, expected, contract=contract, cluster="demo", shard=SHARD)
    return [str(one) for one in found]


def test_what_was_asked_for_passes() -> None:
    assert violations(plan(created("n1"), created("n2")), PlanMode.CREATE, "n1", "n2") == []
    assert violations(plan(deleted("n1"), deleted("n2")), PlanMode.DELETE, "n1", "n2") == []


def updated(name: str, **changes: Any) -> dict[str, Any]:
    """A change in place as Terraform plans it: image_id, unless others are given."""
    before = attributes(name) | {"id": f"id-{name}", "image_id": "old", "host_key": "k"}
    after = before | (changes or {"image_id": "img"})
    change = {"actions": ["update"], "before": before, "after": after, "after_unknown": {"tags": [False]}}
    return {"address": address(name), "mode": "managed", "change": change}


def update_violations(content: Plan, update: str = "image", server_id: str = "id-n1") -> list[str]:
    """Hold a plan against the request to change n1."""
    contract = Contract(CONTRACT.resource, CONTRACT.attributes, frozenset({"host_key"}))
    expected = {"n1": Expected(entry("n1"), server_id, update)}
    return [
        str(one)
        for one in check(content, PlanMode.UPDATE, expected, contract=contract, cluster="demo", shard=SHARD)
    ]


def test_a_change_of_just_the_image_or_just_the_flavor_passes() -> None:
    assert update_violations(plan(updated("n1"))) == []
    known = updated("n1")
    known["change"]["after_unknown"] = {"host_key": True, "network": [{"mac": False}]}
    assert update_violations(plan(known)) == []
    flavor = updated("n1", flavor_id="small", image_id="old")
    flavor["change"]["before"]["flavor_id"] = "tiny"
    assert update_violations(plan(flavor), "flavor") == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"image_id": "other"}, "image_id becomes 'other' where 'img'"),
        (
            {"image_id": "img", "flavor_id": "large"},
            "flavor_id changes from 'small' to 'large'; only image_id",
        ),
        ({"image_id": "img", "network": [{"fixed_ip_v4": "10.0.1.9"}]}, "network changes"),
        ({"image_id": "img", "tags": []}, "tags changes"),
        ({"image_id": "img", "user_data": "x"}, "user_data changes"),
    ],
)
def test_a_change_of_anything_else_is_refused(changes: dict[str, Any], words: str) -> None:
    assert words in "; ".join(update_violations(plan(updated("n1", **changes))))


def test_an_update_that_is_none_or_of_another_server_is_refused() -> None:
    assert "0 times" in update_violations(plan())[0]
    assert "not id-x" in update_violations(plan(updated("n1")), server_id="id-x")[0]
    replaced = updated("n1")
    replaced["change"]["actions"] = ["delete", "create"]
    assert "delete/create instead of update" in update_violations(plan(replaced))[0]
    unknown = updated("n1")
    unknown["change"]["after_unknown"] = {"network": True}
    assert "network is not known" in update_violations(plan(unknown))[0]
    stranger = updated("n1")
    stranger["change"]["before"]["tags"] = stranger["change"]["after"]["tags"] = ["cluster=other"]
    assert "our cluster's tag" in update_violations(plan(stranger))[0]
    assert "not asked for" in update_violations(plan(updated("n1"), updated("n2")))[0]


def test_nodes_that_stay_and_data_sources_that_are_read_pass() -> None:
    stays = {"address": address("n9"), "mode": "managed", "change": {"actions": ["no-op"]}}
    read = {"address": "data.cloud_image.x", "mode": "data", "change": {"actions": ["read"]}}
    assert violations(plan(created("n1"), stays, read), PlanMode.CREATE, "n1") == []


def test_a_server_that_is_gone_already_counts_as_deleted() -> None:
    drift = [{"address": address("n1"), "change": {"actions": ["delete"]}}]
    assert violations(plan(deleted("n2"), resource_drift=drift), PlanMode.DELETE, "n1", "n2") == []
    assert violations(plan(resource_drift=drift), PlanMode.CREATE, "n1"), "but not as created"


@pytest.mark.parametrize("name", FORBIDDEN)
def test_forbidden(name: str) -> None:
    mode, says, spoil = FORBIDDEN[name]
    content = plan(created("n1") if mode is PlanMode.CREATE else deleted("n1"))
    assert violations(copy.deepcopy(content), mode, "n1") == []
    spoil(content)
    found = violations(content, mode, "n1")
    assert found and says in " | ".join(found), found


def test_a_zone_that_was_asked_for_is_held_to() -> None:
    expected = {"n1": Expected(entry("n1", zone="az2"))}
    found = check(
        plan(created("n1")), PlanMode.CREATE, expected, contract=CONTRACT, cluster="demo", shard=SHARD
    )
    assert "availability_zone is 'nova' where 'az2' was asked for" in str(found[0])


def test_a_contract_without_an_attribute_lets_nothing_through() -> None:
    for word in ("name", "image", "flavor", "address", "tags"):
        short = Contract(
            CONTRACT.resource, {key: path for key, path in CONTRACT.attributes.items() if key != word}
        )
        expected = {"n1": Expected(entry("n1"))}
        assert check(
            plan(created("n1")), PlanMode.CREATE, expected, contract=short, cluster="demo", shard=SHARD
        )


_ACTION = st.sampled_from(["no-op", "create", "read", "update", "delete", "forget", "?"])


@given(
    mode=st.sampled_from(PlanMode),
    names=st.sets(st.sampled_from(["n1", "n2", "n3"])),
    changes=st.lists(
        st.tuples(st.sampled_from(["n1", "n2", "n3"]), st.lists(_ACTION, max_size=2)), max_size=4
    ),
)
def test_whatever_passes_is_exactly_what_was_asked_for(
    mode: PlanMode, names: set[str], changes: list[tuple[str, list[str]]]
) -> None:
    content = plan()
    for name, actions in changes:
        made = created(name) if "create" in actions else deleted(name)
        made = updated(name) if "update" in actions else made
        made["change"]["actions"] = actions
        content["resource_changes"].append(made)
    if not violations(content, mode, *sorted(names)):
        did = sorted((name, actions) for name, actions in changes if actions != ["no-op"])
        assert did == sorted((name, [mode.value]) for name in names)
