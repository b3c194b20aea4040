"""A create that fails: Slurm is told, the node rests, its job goes elsewhere, others go on."""

from typing import Any

import pytest

from slurm_powersave.decide.node import failure_policy
from slurm_powersave.model import phases
from slurm_powersave.model.errors import FailureClass, SlurmError
from slurm_powersave.model.modes import Mode
from slurm_powersave.model.nodes import SlurmJob
from slurm_powersave.model.slurm_versions import TESTED, Difference, has
from slurm_powersave.testing.world import MemoryWorld
from tests.unit.engine.checks import assert_at_rest, operations, outcomes, servers
from tests.unit.engine.failure_stories import QUOTA, REST
from tests.unit.engine.stories import run_until, up


@pytest.fixture(params=[str(version) for version in TESTED])
def world(request: pytest.FixtureRequest) -> MemoryWorld:
    """Four nodes; a rest is a minute."""
    return MemoryWorld.of(4, failure=REST, slurm_version=request.param)


def record_commands(world: MemoryWorld) -> list[tuple[str, str, str]]:
    """Note (state, flags before, reason) of each `scontrol update` of n1."""
    seen: list[tuple[str, str, str]] = []
    original = world.slurm.update_nodes

    def update(nodes: list[str], *, state: str, reason: str = "", **more: Any) -> None:
        if "n1" in nodes:
            seen.append((state, "+".join(sorted(world.slurm.node("n1").flags)), reason))
        original(nodes, state=state, reason=reason, **more)

    world.slurm.update_nodes = update  # type: ignore[method-assign,assignment]
    return seen


def test_slurm_is_told_in_the_order_that_it_needs(world: MemoryWorld) -> None:
    seen = record_commands(world)
    world.cloud.create_faults["n1"] = QUOTA
    world.slurm.submit("n1")
    world.settle(60)
    first = has(world.cluster.slurm_release, Difference.DRAIN_HOLDS_DURING_POWER_DOWN)
    assert [state for state, _, _ in seen] == ["DRAIN"] * first + ["POWER_DOWN_FORCE", "DRAIN"]
    assert "POWERING_DOWN" in seen[-1][1], "a DRAIN before that is wiped"
    reason = seen[-1][2]
    assert {told for state, _, told in seen if state == "DRAIN"} == {reason}, "one rest, recorded once"
    assert world.journal.node_records()["n1"].failures == 1
    assert reason.startswith("slurm-powersave: (quota) Quota exceeded for cores") and "rests until" in reason
    node = world.slurm.node("n1")
    assert node.has("DRAIN") and node.reason == reason
    assert outcomes(world, "n1")[0] == ("resume", "failed")
    assert operations(world, "n1")[0].text == QUOTA
    assert world.cloud.created == 0
    assert_at_rest(world)


def test_no_job_gets_a_failed_node_before_it_is_held(world: MemoryWorld) -> None:
    """Between POWER_DOWN_FORCE and POWERING_DOWN Slurm could give it to the next job."""
    world.cloud.create_faults["n1"] = QUOTA
    world.slurm.submit("n1")
    run_until(world, "n1", phases.FAILING)
    open_to_jobs = []
    for _ in range(60):
        world.run(0.1)
        node = world.slurm.node("n1")
        if not node.has("POWERING_UP", "DRAIN", "POWERED_DOWN"):
            open_to_jobs.append("+".join(sorted(node.flags)))
    first = has(world.cluster.slurm_release, Difference.DRAIN_HOLDS_DURING_POWER_DOWN)
    # Only the moment in which POWERING_DOWN wipes the DRAIN, when no job gets the node anyway.
    assert not first or all("POWERING_DOWN" in flags for flags in open_to_jobs), open_to_jobs


def test_an_engine_that_is_killed_between_drain_and_power_down_goes_on(world: MemoryWorld) -> None:
    world.cloud.create_faults["n1"] = QUOTA
    world.slurm.submit("n1")
    original, told = world.slurm.update_nodes, []

    def update(nodes: list[str], *, state: str = "", reason: str = "", **more: Any) -> None:
        told.append(state)
        if state == "POWER_DOWN_FORCE" and told.count(state) == 1:
            raise SlurmError("slurmctld is away")
        original(nodes, state=state, reason=reason, **more)

    world.slurm.update_nodes = update  # type: ignore[method-assign,assignment]
    run_until(world, "n1", phases.FAILING)
    world.run(1)
    world.crash()
    world.settle(60)
    node = world.slurm.node("n1")
    assert node.has("DRAIN") and node.reason.startswith(failure_policy.REASON_PREFIX)
    assert world.journal.node_records()["n1"].failures == 1
    assert outcomes(world, "n1")[0] == ("resume", "failed")
    assert_at_rest(world)


def test_slurm_knows_within_five_seconds_of_the_clouds_error(world: MemoryWorld) -> None:
    world.cloud.create_faults["n1"] = QUOTA
    world.slurm.submit("n1")
    run_until(world, "n1", phases.FAILING)
    world.run(5)
    assert world.slurm.node("n1").reason.startswith(failure_policy.REASON_PREFIX)


def test_the_job_says_why(world: MemoryWorld) -> None:
    world.cloud.create_faults["n1"] = QUOTA
    job = world.slurm.submit("n1")
    world.settle(60)
    assert "n1: Quota exceeded" in world.slurm.comments[job]["AdminComment"]


def test_other_nodes_of_the_same_apply_go_on(world: MemoryWorld) -> None:
    world.cloud.create_faults |= {"n1": QUOTA, "n2": "No valid host was found"}
    for number in (1, 2, 3, 4):
        world.slurm.submit(f"n{number}")
    world.settle(60)
    assert [name for name in world.cluster.nodes() if world.slurm.node(name).up] == ["n3", "n4"]
    assert operations(world, "n1")[0].text == QUOTA
    assert "No valid host" in operations(world, "n2")[0].text, "each with its own reason"
    assert_at_rest(world)
    # The next run is not poisoned by them.
    world.cloud.create_faults.clear()
    world.run(70)
    world.settle(600)


def test_a_requeued_job_is_let_go_at_once_but_at_most_three_times(world: MemoryWorld) -> None:
    world.cloud.create_faults |= {f"n{number}": QUOTA for number in (1, 2, 3, 4)}
    told: list[dict[str, str]] = []
    original = world.slurm.update_job

    def update(job: int, **fields: str) -> None:
        told.append(fields)
        original(job, **fields)

    world.slurm.update_job = update  # type: ignore[method-assign]
    job = world.slurm.submit("n1")
    for number in (1, 2, 3, 4):
        name = f"n{number}"
        if number > 1:
            # Slurm starts the requeued job on the next node.
            world.slurm.jobs[job] = SlurmJob(job, "CONFIGURING", (name,))
            world.slurm.power_up(name)
        world.settle(60)
        world.run(1)
    assert [fields for fields in told if "StartTime" in fields] == [{"StartTime": "now"}] * 3


def test_a_server_that_never_boots_is_removed(world: MemoryWorld) -> None:
    world = MemoryWorld.of(2, failure={"boot_timeout": 20})
    world.cloud.never_boots.add("n1")
    world.slurm.submit("n1")
    world.settle(90)
    assert "did not boot" in operations(world, "n1")[0].text
    assert servers(world) == {}
    assert_at_rest(world)


def test_a_server_that_vanishes_while_it_boots_is_noticed(world: MemoryWorld) -> None:
    world.cloud.never_boots.add("n1")
    world.slurm.submit("n1")
    run_until(world, "n1", phases.BOOTING)
    world.run(1)
    world.cloud.vanish(servers(world)["n1"][0])
    world.settle(30)
    assert "vanished" in operations(world, "n1")[0].text
    assert_at_rest(world)


def test_a_server_in_error_fails_with_the_clouds_words(world: MemoryWorld) -> None:
    world.cloud.never_boots.add("n1")
    world.slurm.submit("n1")
    run_until(world, "n1", phases.BOOTING)
    world.cloud.set_status(servers(world)["n1"][0], "ERROR", "Exceeded maximum number of retries")
    world.settle(30)
    assert operations(world, "n1")[0].text == "Exceeded maximum number of retries"
    assert_at_rest(world)


def test_a_failed_play_fails_its_node_only(world: MemoryWorld) -> None:
    world.playbooks.faults["n1"] = "munge: not found"
    world.slurm.submit("n1")
    world.slurm.submit("n2")
    world.settle(60)
    assert world.slurm.node("n2").up and "munge" in world.slurm.node("n1").reason
    assert_at_rest(world)


def test_a_node_that_never_registers_fails(world: MemoryWorld) -> None:
    world = MemoryWorld.of(2, failure={"registration_timeout": 20})
    world.playbooks.register = lambda node: None
    world.slurm.submit("n1")
    world.settle(90)
    assert "did not register" in operations(world, "n1")[0].text
    assert_at_rest(world)


@pytest.mark.parametrize("terse", [False, True])
def test_an_error_server_that_terraform_marked_tainted_poisons_nothing(
    world: MemoryWorld, terse: bool
) -> None:
    """Also where Terraform does not tell why: the cloud does."""
    world.cloud.terse_errors = terse
    world.cloud.error_faults["n1"] = "No valid host was found"
    world.slurm.submit("n1", "n2")
    world.settle(60)
    world.run(3)
    world.settle(60)
    assert "No valid host" in operations(world, "n1")[0].text
    assert operations(world, "n1")[0].failure is FailureClass.CAPACITY
    assert set(servers(world)) == {"n2"}
    assert_at_rest(world)
    world.cloud.error_faults.clear()
    world.request(Mode.RESUME, "n1", source="operator")
    world.run(30)
    world.settle(60)
    assert world.slurm.node("n1").up
    assert_at_rest(world)


def test_a_plan_with_something_else_in_it_is_refused_and_says_so(world: MemoryWorld) -> None:
    up(world, "n2")
    applies = sum(run.record.kind == "apply" for run in world.terraform.runs.values())

    def spoil(plan: dict) -> None:  # type: ignore[type-arg]
        plan["resource_changes"].append(
            {
                "address": 'memory_server.node["n2"]',
                "mode": "managed",
                "change": {"actions": ["delete", "create"]},
            }
        )

    world.terraform.spoil_plan = spoil
    world.slurm.submit("n1")
    world.settle(60)
    assert sum(run.record.kind == "apply" for run in world.terraform.runs.values()) == applies
    assert "node[ n2 ]: delete/create of something" in world.slurm.node("n1").reason
    assert world.slurm.node("n2").up and set(servers(world)) == {"n2"}


def test_a_refused_plan_of_a_delete_still_deletes_what_was_asked_for(world: MemoryWorld) -> None:
    job = up(world, "n1", "n2")
    world.slurm.end(job)
    world.terraform.spoil_plan = lambda plan: plan["resource_changes"].append(
        {"address": 'memory_server.node["n2"]', "mode": "managed", "change": {"actions": ["delete"]}}
    )
    world.slurm.suspend("n1")
    world.run(30)
    assert set(servers(world)) == {"n2"}
    plans = sum(run.record.kind == "plan" for run in world.terraform.runs.values())
    world.run(60)
    assert sum(run.record.kind == "plan" for run in world.terraform.runs.values()) - plans < 10, (
        "a plan that is refused is not made again and again"
    )
    world.terraform.spoil_plan = None
    world.run(120)
    world.settle(120)
    assert_at_rest(world)


def test_failing_init_fails_the_nodes_and_does_not_loop(world: MemoryWorld) -> None:
    world.terraform.init_fault = "Failed to query available provider packages"
    world.slurm.submit("n1")
    world.run(60)
    assert "provider packages" in operations(world, "n1")[0].text
    assert sum(run.record.kind == "init" for run in world.terraform.runs.values()) < 15
    world.terraform.init_fault = ""
    world.run(200)
    up(world, "n2")
