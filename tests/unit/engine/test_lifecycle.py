"""Nodes come and go on the in-memory world: one node's way, and requests that meet each other."""

from collections import deque

import pytest

from slurm_powersave.engine.intake import pump
from slurm_powersave.model import phases
from slurm_powersave.model.modes import Mode
from slurm_powersave.model.nodes import Request
from slurm_powersave.testing.world import MemoryWorld, cluster
from tests.unit.engine.checks import assert_at_rest, assert_one_outcome_each, operations, outcomes, servers
from tests.unit.engine.stories import run_until, up


def test_a_job_brings_its_nodes_up_and_only_them() -> None:
    world = MemoryWorld.of(4)
    world.slurm.submit("n1", "n2")
    world.settle(60)
    assert world.slurm.node("n1").up and world.slurm.node("n2").up
    assert set(servers(world)) == {"n1", "n2"}
    assert outcomes(world, "n1") == [("resume", "done")]
    assert_at_rest(world)


def test_suspend_takes_the_servers_away_and_gives_the_node_back_early() -> None:
    world = MemoryWorld.of(4)
    job = up(world, "n1", "n2")
    world.slurm.end(job)
    world.slurm.suspend("n1")
    world.settle(15)
    assert world.slurm.node("n1").has("POWERED_DOWN"), "released before SuspendTimeout (20 s)"
    assert set(servers(world)) == {"n2"}
    assert_at_rest(world)


def test_the_last_node_goes_too_and_nothing_comes_instead() -> None:
    world = MemoryWorld.of(2)
    world.slurm.end(up(world, "n1"))
    world.slurm.suspend("n1")
    world.settle(60)
    world.run(90)
    assert servers(world) == {} and world.cloud.created == 1
    assert_at_rest(world)


@pytest.mark.parametrize("mode", [Mode.RESUME, Mode.SUSPEND])
def test_an_operation_that_joins_another_names_it(mode: Mode) -> None:
    world = MemoryWorld.of(1)
    if mode is Mode.SUSPEND:
        world.slurm.end(up(world, "n1"))
        world.slurm.suspend("n1")
    else:
        world.slurm.submit("n1")
    world.run(1)
    world.request(mode, "n1", source="operator")
    world.run(1)
    first, second = operations(world, "n1")[-2:]
    assert (second.outcome, second.joined) == ("joined", first.id) and not first.joined
    world.settle(60)
    assert world.journal.operation(second.joined).outcome == "done"  # type: ignore[union-attr]


def test_the_same_node_comes_and_goes_five_times() -> None:
    world = MemoryWorld.of(2)
    for _ in range(5):
        world.slurm.end(up(world, "n1"))
        world.slurm.suspend("n1")
        world.settle(60)
    assert world.cloud.created == 5
    assert_at_rest(world)


def test_resume_and_suspend_before_anything_began_cancel_out() -> None:
    world = MemoryWorld.of(2)
    world.slurm.submit("n1")
    world.clock.advance(0.05)
    world.slurm.end(1)
    world.slurm.suspend("n1")
    world.settle(60)
    assert outcomes(world, "n1") == [("resume", "cancelled"), ("suspend", "done")]
    assert world.cloud.created == 0


@pytest.mark.parametrize(
    "phase",
    [
        phases.CHECKING,
        phases.PLANNING,
        phases.APPLYING,
        phases.BOOTING,
        phases.CONFIGURING,
        phases.REGISTERING,
    ],
)
def test_suspend_during_each_phase_of_a_resume(phase: str) -> None:
    world = MemoryWorld.of(2)
    world.run(2)
    job = world.slurm.submit("n1")
    if phase == phases.REGISTERING:
        world.playbooks.register = lambda node: None
    if phase == phases.BOOTING:
        world.cloud.never_boots.add("n1")
    if phase == phases.CHECKING:
        world.cloud.unreachable = "connection refused"
    run_until(world, "n1", phase)
    world.slurm.end(job)
    world.slurm.suspend("n1")
    world.run(1)
    world.cloud.unreachable = ""
    world.settle(60)
    world.run(25)
    assert servers(world) == {}
    assert [mode for mode, _ in outcomes(world, "n1")] == ["resume", "suspend"]
    assert operations(world, "n1")[-1].outcome == "done"
    assert world.slurm.node("n1").has("POWERED_DOWN")
    assert_at_rest(world)


@pytest.mark.parametrize(
    "phase", [phases.DELETE_QUEUED, phases.DELETE_PLANNING, phases.DELETING, phases.VERIFYING]
)
def test_resume_while_the_delete_runs_waits_until_the_old_server_is_gone(phase: str) -> None:
    world = MemoryWorld.of(2)
    world.cloud.delete_seconds = 12.0
    world.slurm.end(up(world, "n1"))
    if phase == phases.DELETE_QUEUED:
        world.terraform.locked.add("mem/nodes-001")
    world.slurm.suspend("n1")
    run_until(world, "n1", phase)
    # SuspendTimeout runs out while the delete is still going on, and a job comes.
    world.slurm.set_flags("n1", "IDLE", "CLOUD", "POWERED_DOWN")
    world.slurm.submit("n1")
    for _ in range(250):
        world.run(0.1)
        assert len(servers(world).get("n1", [])) <= 1, "a new server beside the old one"
        world.terraform.locked.clear()
    assert world.slurm.node("n1").up
    assert outcomes(world, "n1") == [("resume", "done"), ("suspend", "done"), ("resume", "done")]
    assert_at_rest(world)


def test_resume_called_twice_makes_one_server() -> None:
    world = MemoryWorld.of(2)
    world.slurm.submit("n1")
    world.request(Mode.RESUME, "n1")
    world.run(3)
    world.request(Mode.RESUME, "n[1-2]")
    world.settle(60)
    assert world.cloud.created == 1
    assert outcomes(world, "n1") == [("resume", "done"), ("resume", "joined"), ("resume", "joined")]
    assert outcomes(world, "n2") == [("resume", "cancelled")], "Slurm does not wait for it"
    assert_at_rest(world)


def test_suspend_of_a_node_that_is_gone_already_is_done() -> None:
    world = MemoryWorld.of(2)
    world.request(Mode.SUSPEND, "n1")
    world.settle(60)
    assert outcomes(world, "n1") == [("suspend", "done")]


def test_two_suspends_delete_once() -> None:
    world = MemoryWorld.of(2)
    world.slurm.end(up(world, "n1"))
    world.slurm.suspend("n1")
    world.request(Mode.SUSPEND, "n1")
    world.settle(60)
    assert outcomes(world, "n1")[1:] == [("suspend", "done"), ("suspend", "joined")]
    assert_at_rest(world)


def test_resume_timeout_cleans_up_and_gives_the_node_back() -> None:
    world = MemoryWorld.of(2)
    world.slurm.resume_timeout = 30.0
    world.cloud.never_boots.add("n1")
    world.slurm.submit("n1")
    world.run(40)
    world.settle(60)
    assert outcomes(world, "n1")[:2] == [("resume", "failed"), ("resume-fail", "done")]
    assert servers(world) == {}
    world.run(100)  # it rests, as after any failure
    node = world.slurm.node("n1")
    assert not node.has("DOWN", "DRAIN"), "back in service without an administrator"
    assert node.has("POWERED_DOWN")
    world.cloud.never_boots.clear()
    up(world, "n1")
    assert_at_rest(world)


def test_resume_timeout_leaves_an_administrators_down_alone() -> None:
    world = MemoryWorld.of(2)
    world.slurm.set_flags("n1", "DOWN", "CLOUD", "POWERED_DOWN", reason="bad DIMM")
    world.request(Mode.RESUME_FAIL, "n1")
    world.settle(60)
    assert world.slurm.node("n1").has("DOWN") and world.slurm.node("n1").reason == "bad DIMM"


def test_resume_timeout_leaves_an_administrators_drain_alone() -> None:
    world = MemoryWorld.of(2)
    world.slurm.set_flags("n1", "DOWN", "DRAIN", "CLOUD", "POWERED_DOWN", reason="ResumeTimeout reached")
    world.request(Mode.RESUME_FAIL, "n1")
    world.settle(60)
    assert world.slurm.node("n1").has("DRAIN")


def test_a_host_key_that_no_listing_tells_is_asked_for() -> None:
    world = MemoryWorld.of(2)
    world.cloud.lists_keys = False
    up(world, "n1")
    assert_at_rest(world)


def test_an_edited_image_touches_no_node_that_runs() -> None:
    world = MemoryWorld.of(4)
    up(world, "n1")
    before = servers(world)["n1"]
    pool = world.cluster.node_pools[0].model_copy(update={"image": "other"})
    world.cluster = cluster(4, node_pools=(pool,))
    world.crash()
    up(world, "n2")
    world.slurm.end(2)
    world.slurm.suspend("n2")
    world.settle(60)
    assert servers(world) == {"n1": before}
    assert world.cloud.server(before[0]).image == "default"  # type: ignore[union-attr]
    assert_at_rest(world)
    up(world, "n3")
    assert {s.name: s.image for s in world.cloud.servers()} == {"n1": "default", "n3": "other"}


def test_requests_within_the_collect_window_share_one_apply() -> None:
    world = MemoryWorld.of(8)
    world.run(2)
    applies = sum(run.record.kind == "apply" for run in world.terraform.runs.values())
    for number in range(1, 9):
        world.slurm.submit(f"n{number}")
    world.settle(60)
    assert sum(run.record.kind == "apply" for run in world.terraform.runs.values()) == applies + 1
    assert_at_rest(world)


def test_a_slow_apply_does_not_hold_up_another_request() -> None:
    world = MemoryWorld.of(4)
    world.terraform.create_seconds = 100.0
    world.slurm.submit("n1")
    run_until(world, "n1", phases.APPLYING)
    world.terraform.create_seconds = 3.0
    world.slurm.submit("n2")
    world.run(20)
    assert world.slurm.node("n2").up and not world.slurm.node("n1").up
    world.settle(200)
    assert_at_rest(world)


def test_a_request_that_comes_twice_counts_once() -> None:
    world = MemoryWorld.of(2)

    class Twice:
        """An intake whose connection dropped before the acknowledgement."""

        acknowledged: list[str] = []  # noqa: RUF012

        def receive(self) -> list[tuple[str, Request | str]]:
            request = Request("one", Mode.SUSPEND, "n1", world.clock.now())
            return [("one", request), ("bad", "truncated"), ("one", request)]

        def acknowledge(self, request_id: str) -> None:
            self.acknowledged.append(request_id)

    intake = Twice()
    assert pump(intake, world.journal, world.clock, deque()) == 1
    assert pump(intake, world.journal, world.clock, deque()) == 0
    assert intake.acknowledged == ["one", "bad", "one"] * 2
    world.settle(60)
    assert len(operations(world, "n1")) == 1


def test_unknown_nodes_are_refused_and_the_good_ones_served() -> None:
    world = MemoryWorld.of(3)
    world.slurm.submit("n1", "n3")
    request = world.request(Mode.RESUME, "n1,x7,n[2-3],$(id)")
    world.settle(60)
    assert world.slurm.node("n1").up and world.slurm.node("n3").up
    assert {part for part, _ in world.journal.refusals(request)} == {"x7", "$(id)"}
    assert {op.node for op in world.journal.operations_of(request)} == {"n1", "n2", "n3"}
    assert_one_outcome_each(world)


def test_a_large_request_uses_several_states() -> None:
    world = MemoryWorld.of(200)
    world.slurm.submit(*(f"n{number}" for number in range(1, 201)))
    world.settle(120)
    sizes = [len(state) for state in world.terraform.states.values() if state]
    assert sum(sizes) == 200 and max(sizes) <= 64 and len(sizes) >= 4
    assert_at_rest(world)
    world.slurm.end(1)
    world.slurm.suspend(*(f"n{number}" for number in range(1, 201)))
    world.settle(120)
    assert servers(world) == {}
    assert_at_rest(world)


def test_operation_ids_of_a_thousand_node_request_are_all_different(monkeypatch: pytest.MonkeyPatch) -> None:
    world = MemoryWorld.of(1000)
    drawn = iter(["aaaaaa", "aaaaaa", "bbbbbb"])
    monkeypatch.setattr("secrets.token_hex", lambda size: next(drawn))
    one = world.journal.new_operation("r", "n1", Mode.RESUME, "checking", 0.0)
    two = world.journal.new_operation("r", "n2", Mode.RESUME, "checking", 0.0)
    assert one.id != two.id
