"""What the engine relies on in Terraform, as cases that the fake and the real one both have to pass."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

import pytest

from slurm_powersave.decide.node import plan_guard
from slurm_powersave.decide.node.plan_guard import Expected, PlanMode
from slurm_powersave.model.errors import FailureClass, RefusedError
from slurm_powersave.model.nodes import NodeProgress, NodeSpec, RunRecord, RunResult, TerraformNode
from slurm_powersave.model.permit import Act
from slurm_powersave.ports.cloud import Cloud
from slurm_powersave.ports.run import Run
from slurm_powersave.ports.terraform import Terraform
from tests.permits import permit

CLUSTER = "contract"


class Subject(Protocol):
    """Terraform to be tried, on a cloud without servers."""

    terraform: Terraform
    cloud: Cloud
    cloud_name: str
    network: str
    """The first half of the addresses."""

    def let_pass(self, seconds: float) -> None:
        """Let some time go by."""

    def fail_creates(self, name: str) -> None:
        """Let the server of a name end in ERROR: no valid host."""

    def renew_module(self) -> None:
        """Give the cloud a newer root module, which changes nothing."""

    def restart(self) -> None:
        """Drop the object, as a killed engine does, and make another for the same states."""


def end(
    subject: Subject, run: Run, look: Callable[[], object] = lambda: None
) -> tuple[RunResult, list[NodeProgress]]:
    """Let a run end, and look at something meanwhile; return its result and its news."""
    news: list[NodeProgress] = []
    for _ in range(600):
        news += run.progress()
        look()
        if result := run.poll():
            return result, news + list(run.progress())
        subject.let_pass(0.1)
    pytest.fail("the run has not ended after a minute")


def entry(subject: Subject, name: str, operation: str = "1a2b") -> TerraformNode:
    """What a node's entry in the map is to be."""
    address = f"{subject.network}.9.1{name[-1]}"
    return TerraformNode(
        NodeSpec(name, "compute", subject.cloud_name, "default", "small", "", address), operation
    )


def with_ids(made: TerraformNode) -> TerraformNode:
    """The same with ids, as an adapter tells them."""
    return replace(made, node=replace(made.node, image_id="9c21", flavor_id="f-1"))


def shard(subject: Subject) -> str:
    """Initialise the first shard."""
    name = f"{subject.cloud_name}/nodes-001"
    result, _ = end(subject, subject.terraform.init(subject.cloud_name, name))
    assert result.ok, result
    return name


def planned(
    subject: Subject,
    name: str,
    mode: PlanMode,
    expected: dict[str, Expected],
    *,
    refresh: bool = False,
) -> tuple[RunRecord, list[plan_guard.Violation]]:
    """Plan for the expected nodes; return the plan and what the plan guard says of it."""
    run = subject.terraform.plan(name, list(expected), refresh=refresh)
    result, _ = end(subject, run)
    assert result.ok, result
    contract = subject.terraform.contract(name)
    plan = subject.terraform.plan_json(run.record)
    return run.record, plan_guard.check(plan, mode, expected, contract=contract, cluster=CLUSTER, shard=name)


def created(subject: Subject, name: str, *nodes: str) -> dict[str, str]:
    """Make servers; return node -> id."""
    entries = {node: entry(subject, node) for node in nodes}
    subject.terraform.write_nodes(name, {**subject.terraform.nodes(name), **entries})
    plan, wrong = planned(
        subject, name, PlanMode.CREATE, {node: Expected(found) for node, found in entries.items()}
    )
    assert not wrong
    run = subject.terraform.apply(name, plan, len(nodes))
    busy: list[bool] = []
    result, news = end(subject, run, lambda: busy.append(subject.terraform.busy(name)))
    assert result.ok, result
    assert any(busy), "the state was not locked while Terraform worked"
    subject.terraform.forget(plan)
    subject.terraform.forget(run.record)
    assert {one.node for one in news} == set(nodes) and all(one.ok for one in news)
    return {one.node: one.server_id for one in news}


def a_new_shard_is_empty(subject: Subject) -> None:
    assert list(subject.terraform.shards(subject.cloud_name)) == []
    name = f"{subject.cloud_name}/nodes-001"
    assert not subject.terraform.initialised(name)
    assert shard(subject) == name
    assert list(subject.terraform.shards(subject.cloud_name)) == [name]
    assert subject.terraform.initialised(name) and not subject.terraform.busy(name)
    assert dict(subject.terraform.nodes(name)) == {} and dict(subject.terraform.servers(name)) == {}


def the_map_is_read_as_it_was_written(subject: Subject) -> None:
    name = shard(subject)
    nodes = {
        node: with_ids(entry(subject, node, operation)) for node, operation in (("c-1", "1a"), ("c-2", "2b"))
    }
    subject.terraform.write_nodes(name, nodes)
    assert dict(subject.terraform.nodes(name)) == nodes
    subject.terraform.write_nodes(name, {})
    assert dict(subject.terraform.nodes(name)) == {}


def servers_are_made_and_deleted(subject: Subject) -> None:
    name = shard(subject)
    made = created(subject, name, "c-1", "c-2")
    assert not subject.terraform.busy(name)
    held = subject.terraform.servers(name)
    assert {node: server.id for node, server in held.items()} == made
    assert not any(server.tainted for server in held.values())
    for server in subject.cloud.servers():
        assert server.tags == plan_guard.tags(CLUSTER, name, entry(subject, server.name))

    _, wrong = planned(subject, name, PlanMode.CREATE, {"c-1": Expected(entry(subject, "c-1"))})
    assert wrong, "a create that was asked for, and there are no changes"

    subject.terraform.write_nodes(name, {"c-2": entry(subject, "c-2")})
    plan, wrong = planned(
        subject, name, PlanMode.DELETE, {"c-1": Expected(entry(subject, "c-1"), made["c-1"])}
    )
    assert not wrong
    for given in ([], [permit("delete", made["c-2"])], [permit("reboot", made["c-1"])]):
        with pytest.raises(RefusedError, match="no permit"):
            subject.terraform.apply(name, plan, 1, given)
    assert set(subject.terraform.servers(name)) == {"c-1", "c-2"}
    result, news = end(subject, subject.terraform.apply(name, plan, 1, [permit("delete", made["c-1"])]))
    assert result.ok and [(one.node, one.ok) for one in news] == [("c-1", True)]
    assert set(subject.terraform.servers(name)) == {"c-2"}
    assert {server.id for server in subject.cloud.servers()} == {made["c-2"]}


def another_server_than_the_journals_is_not_deleted(subject: Subject) -> None:
    name = shard(subject)
    created(subject, name, "c-1")
    subject.terraform.write_nodes(name, {})
    _, wrong = planned(subject, name, PlanMode.DELETE, {"c-1": Expected(entry(subject, "c-1"), "another-id")})
    assert len(wrong) == 1 and "another-id" in str(wrong[0])


def a_create_that_fails_says_why(subject: Subject) -> None:
    name = shard(subject)
    subject.fail_creates("c-1")
    entries = {node: entry(subject, node) for node in ("c-1", "c-2")}
    subject.terraform.write_nodes(name, entries)
    plan, wrong = planned(
        subject, name, PlanMode.CREATE, {node: Expected(found) for node, found in entries.items()}
    )
    assert not wrong
    result, news = end(subject, subject.terraform.apply(name, plan, 2))
    assert not result.ok and result.failure is FailureClass.CAPACITY and "No valid host" in result.text
    assert [one.server_id != "" for one in news if one.node == "c-2" and one.ok] == [True]
    why = [one.failure for one in news if one.node == "c-1" and one.failure]
    assert len(why) == 1 and why[0].failure is FailureClass.CAPACITY and "No valid host" in why[0].text
    # The server is there, in ERROR; it is in the state, as tainted, to be deleted.
    held = subject.terraform.servers(name)
    assert {node: server.tainted for node, server in held.items()} == {"c-1": True, "c-2": False}
    assert {server.id: server.status for server in subject.cloud.servers()}[held["c-1"].id] == "ERROR"


def an_apply_outlives_its_engine(subject: Subject) -> None:
    name = shard(subject)
    found = entry(subject, "c-1")
    subject.terraform.write_nodes(name, {"c-1": found})
    plan, wrong = planned(subject, name, PlanMode.CREATE, {"c-1": Expected(found)})
    assert not wrong
    record = subject.terraform.apply(name, plan, 1).record
    subject.restart()
    result, news = end(subject, subject.terraform.reattach(record))
    assert result.ok and [(one.node, one.ok) for one in news] == [("c-1", True)]
    assert subject.terraform.servers(name)["c-1"].id == news[0].server_id
    # Adopted again when it is long over: all its news once more.
    result, news = end(subject, subject.terraform.reattach(record))
    assert result.ok and [one.node for one in news] == ["c-1"]


def a_server_that_went_otherwise_leaves_the_state_too(subject: Subject) -> None:
    name = shard(subject)
    made = created(subject, name, "c-1", "c-2")
    subject.cloud.delete(made["c-1"], permit("delete", made["c-1"]))
    while subject.cloud.server(made["c-1"]):
        subject.let_pass(0.2)
    assert set(subject.terraform.servers(name)) == {"c-1", "c-2"}, "nobody has told Terraform yet"
    forget = Act.VANISHED
    for given in ([permit("delete", made["c-1"], "c-1")], [permit(forget, made["c-1"], "c-2")]):
        with pytest.raises(RefusedError):
            subject.terraform.forget_servers(name, given)
    run = subject.terraform.forget_servers(name, [permit(forget, made["c-1"], "c-1")])
    result, _ = end(subject, run)
    assert result.ok, result
    assert set(subject.terraform.servers(name)) == {"c-2"}
    assert {server.id for server in subject.cloud.servers()} == {made["c-2"]}, "nothing was destroyed"


def a_refresh_takes_out_of_the_state_what_is_gone(subject: Subject) -> None:
    name = shard(subject)
    made = created(subject, name, "c-1", "c-2")
    subject.cloud.delete(made["c-1"], permit("delete", made["c-1"]))
    while subject.cloud.server(made["c-1"]):
        subject.let_pass(0.2)
    result, _ = end(subject, subject.terraform.refresh(name))
    assert result.ok, result
    assert set(subject.terraform.servers(name)) == {"c-2"}
    assert {server.id for server in subject.cloud.servers()} == {made["c-2"]}, "nothing was made or destroyed"
    assert not subject.terraform.is_broken(name) and subject.terraform.nodes(name).keys() == {"c-1", "c-2"}


def a_newer_root_module_is_named_until_it_is_taken(subject: Subject) -> None:
    name = f"{subject.cloud_name}/nodes-001"
    assert subject.terraform.newer_module(name) == "", "a shard that was never initialised has none"
    assert shard(subject) == name and subject.terraform.newer_module(name) == ""
    subject.renew_module()
    newer = subject.terraform.newer_module(name)
    assert newer and subject.terraform.newer_module("nowhere/nodes-001") == ""
    for take in (False, True):
        result, _ = end(subject, subject.terraform.try_module(name))
        assert result.ok, result
        subject.terraform.end_trial(name, take=take)
        assert subject.terraform.newer_module(name) == ("" if take else newer)


def a_state_has_another_version_after_each_change(subject: Subject) -> None:
    name = shard(subject)
    made = created(subject, name, "c-1", "c-2")
    subject.let_pass(3)
    before = subject.terraform.state_version(name)
    assert before and subject.terraform.state_version(name) == before
    subject.cloud.delete(made["c-1"], permit("delete", made["c-1"]))
    while subject.cloud.server(made["c-1"]):
        subject.let_pass(0.2)
    assert subject.terraform.state_version(name) == before, "nobody has told Terraform yet"
    result, _ = end(subject, subject.terraform.refresh(name))
    assert result.ok and subject.terraform.state_version(name) != before


CASES: Sequence[Callable[[Subject], None]] = (
    a_new_shard_is_empty,
    the_map_is_read_as_it_was_written,
    servers_are_made_and_deleted,
    another_server_than_the_journals_is_not_deleted,
    a_create_that_fails_says_why,
    an_apply_outlives_its_engine,
    a_server_that_went_otherwise_leaves_the_state_too,
    a_refresh_takes_out_of_the_state_what_is_gone,
    a_newer_root_module_is_named_until_it_is_taken,
    a_state_has_another_version_after_each_change,
)
