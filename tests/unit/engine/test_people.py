"""What people have set, ask for and pause: kept, refused with the reason, or done by force."""

from dataclasses import replace

import pytest

from slurm_powersave.decide.node.reboot import FORCE
from slurm_powersave.model import phases
from slurm_powersave.model.modes import Mode
from slurm_powersave.model.nodes import Operation, Request
from slurm_powersave.model.records import Pause
from slurm_powersave.testing.world import MemoryWorld, cluster
from tests.unit.engine.checks import assert_one_outcome_each, coarsely, operations, servers
from tests.unit.engine.stories import drained, run_job


def ask(world: MemoryWorld, mode: Mode, node: str, words: str = "") -> Operation:
    """Ask as an operator and wait for the outcome."""
    request = Request(f"r-{world.clock.now()}", mode, node, world.clock.now(), "operator", action=words)
    world.journal.add_request(request, world.clock.now())
    world.run(0.2)
    world.settle(300)
    return world.journal.operations_of(request.id)[0]


# By a person


def test_a_suspend_leaves_a_node_that_somebody_has_drained() -> None:
    world = MemoryWorld.of(1)
    world.slurm.end(run_job(world, "n1"))
    drained(world, "n1", "bad DIMM")
    op = ask(world, Mode.SUSPEND, "n1")
    assert op.outcome == "refused" and "bad DIMM" in op.text and "root" in op.text and "--force" in op.text
    assert servers(world) and world.slurm.node("n1").has("DRAIN")


@pytest.mark.parametrize("state", ["DRAIN", "DOWN"])
@pytest.mark.parametrize("reason", ["bad DIMM", "", "prüfen: Lüfter 3"])
def test_by_force_it_goes_and_what_was_set_is_put_back(state: str, reason: str) -> None:
    world = MemoryWorld.of(1)
    world.slurm.end(run_job(world, "n1"))
    drained(world, "n1", reason, state)
    op = ask(world, Mode.SUSPEND, "n1", FORCE)
    assert op.outcome == "done" and servers(world) == {}
    assert world.slurm.node("n1").has(state)
    assert world.slurm.node("n1").reason == (reason or "no reason was given")


def test_what_was_set_waits_while_slurm_has_the_node_come_up_again() -> None:
    world = MemoryWorld.of(1)
    world.slurm.end(run_job(world, "n1"))
    drained(world, "n1", "bad DIMM")
    request = Request("r", Mode.SUSPEND, "n1", world.clock.now(), "operator", action=FORCE)
    world.journal.add_request(request, world.clock.now())
    while not (found := world.journal.operations_of("r")) or found[0].phase != phases.DELETING:
        world.run(0.05)
    node = world.slurm.node("n1")
    world.slurm.put(replace(node, flags=frozenset({"ALLOCATED", "CLOUD", "POWERING_UP"}), reason=""))
    world.run(3)
    assert world.slurm.node("n1").powering_up, "a DRAIN would requeue the job that waits for the node"
    world.slurm.put(replace(node, flags=frozenset({"IDLE", "CLOUD"}), reason=""))
    world.run(5)
    assert world.slurm.node("n1").has("DRAIN") and world.slurm.node("n1").reason == "bad DIMM"


def test_a_suspend_of_one_of_min_nodes_is_refused_and_by_force_it_comes_back() -> None:
    pool = cluster(2).node_pools[0].model_dump(mode="json")
    world = MemoryWorld.of(2, node_pools=[pool | {"min_nodes": 1}])
    coarsely(world, 60)
    assert set(servers(world)) == {"n1"}, "min_nodes are powered up"
    op = ask(world, Mode.SUSPEND, "n1")
    assert op.outcome == "refused" and "min_nodes" in op.text
    made = servers(world)
    assert ask(world, Mode.SUSPEND, "n1", FORCE).outcome == "done"
    coarsely(world, 120)
    assert set(servers(world)) == {"n1"} and servers(world) != made


def test_a_min_node_that_somebody_has_drained_stays_off() -> None:
    pool = cluster(2).node_pools[0].model_dump(mode="json")
    world = MemoryWorld.of(2, node_pools=[pool | {"min_nodes": 1}])
    drained(world, "n1", "no fan")
    coarsely(world, 120)
    assert servers(world) == {} and world.slurm.node("n1").reason == "no fan"


def test_a_suspend_of_a_node_in_use_is_refused_and_by_force_its_job_is_requeued() -> None:
    world = MemoryWorld.of(1)
    job = run_job(world, "n1")
    op = ask(world, Mode.SUSPEND, "n1")
    assert op.outcome == "refused" and "in use" in op.text and servers(world)
    assert ask(world, Mode.SUSPEND, "n1", FORCE).outcome == "done"
    assert servers(world) == {} and world.slurm.jobs[job].state == "PENDING"


@pytest.mark.parametrize("state", ["DRAIN", "DOWN"])
def test_a_resume_leaves_a_node_that_somebody_has_set_aside(state: str) -> None:
    world = MemoryWorld.of(1)
    drained(world, "n1", "no fan", state)
    op = ask(world, Mode.RESUME, "n1")
    assert op.outcome == "refused" and "no fan" in op.text
    assert servers(world) == {} and world.slurm.node("n1").reason == "no fan"


# A failure and an administrator


@pytest.mark.parametrize("reason", ["bad DIMM", "", "prüfen"])
@pytest.mark.parametrize("version", ["22.05", "24.11", "26.05"])
def test_what_somebody_has_set_outlives_a_failed_creation(reason: str, version: str) -> None:
    world = MemoryWorld.of(1, slurm_version=version)
    drained(world, "n1", reason)
    coarsely(world, 60)  # POWER_UP takes the reason away: it has to be seen before
    world.cloud.create_faults["n1"] = "No valid host was found"
    world.slurm.power_up("n1")
    coarsely(world, 120)
    node = world.slurm.node("n1")
    assert node.has("DRAIN") and node.reason == (reason or "no reason was given")
    assert_one_outcome_each(world)
    coarsely(world, 4000, step=5)
    assert world.slurm.node("n1").has("DRAIN"), "the end of our rest is not the end of theirs"


@pytest.mark.parametrize("by_hand", [True, False])
def test_a_drain_has_its_reason_again_when_the_node_is_up(by_hand: bool) -> None:
    world = MemoryWorld.of(1)
    drained(world, "n1", "bad DIMM")
    if by_hand:
        coarsely(world, 60)
        world.slurm.power_up("n1")
        coarsely(world, 60)
    else:
        assert ask(world, Mode.RESUME, "n1", FORCE).outcome == "done"
    node = world.slurm.node("n1")
    assert servers(world) and node.has("DRAIN") and node.reason == "bad DIMM"


def test_our_own_drain_stays_ours_though_somebody_powers_the_node_up() -> None:
    world = MemoryWorld.of(1)
    world.cloud.create_faults["n1"] = "No valid host was found"
    world.slurm.submit("n1")
    coarsely(world, 60)
    ours = world.slurm.node("n1")
    assert ours.has("DRAIN") and "(capacity)" in ours.reason
    world.cloud.create_faults.clear()
    world.slurm.power_up("n1")
    assert world.slurm.node("n1").reason == ""
    coarsely(world, 60)
    assert world.journal.admin_states() == {}
    coarsely(world, 4000, step=5)
    assert not world.slurm.node("n1").has("DRAIN"), "our rest has ended"


def test_a_drain_that_slurm_refuses_is_not_asked_for_without_end() -> None:
    world = MemoryWorld.of(1)
    world.cloud.create_faults["n1"] = "No valid host was found"
    original, asked = world.slurm.update_nodes, []

    def update(nodes: list[str], **options: object) -> None:
        if options.get("state") == "DRAIN":
            asked.append(world.clock.now())
            original(nodes, **(options | {"reason": ""}))  # type: ignore[arg-type]
        original(nodes, **options)  # type: ignore[arg-type]

    world.slurm.update_nodes = update  # type: ignore[method-assign,assignment]
    world.slurm.submit("n1")
    coarsely(world, 400)
    assert 3 < len(asked) <= 8
    op = operations(world, "n1")[0]
    assert "You must specify a reason" in op.text and op.outcome == "failed"


# A reservation alone is no use


@pytest.mark.parametrize("flag", ["RESERVED", "MAINTENANCE"])
def test_a_reserved_node_that_slurm_has_powered_down_keeps_no_server(flag: str) -> None:
    world = MemoryWorld.of(1)
    world.slurm.end(run_job(world, "n1"))
    node = world.slurm.node("n1")
    world.slurm.put(replace(node, flags=node.flags | {flag}))
    world.slurm.suspend("n1")
    coarsely(world, 60)
    assert servers(world) == {} and world.newest("n1").outcome == "done"


def test_a_reserved_node_that_is_up_is_left_alone() -> None:
    world = MemoryWorld.of(1)
    world.slurm.end(run_job(world, "n1"))
    world.cloud.vanish(servers(world)["n1"][0])
    node = world.slurm.node("n1")
    world.slurm.put(replace(node, flags=node.flags | {"RESERVED"}))
    coarsely(world, 120)
    assert not world.slurm.node("n1").going_down


# Pauses


def test_while_it_is_paused_nothing_new_is_changed_and_nothing_is_lost() -> None:
    world = MemoryWorld.of(3)
    job = run_job(world, "n1")
    world.journal.save_pause(Pause("", "the cloud is being mended", "root", world.clock.now()))
    world.run(2)
    world.slurm.end(job)
    world.slurm.suspend("n1")
    world.slurm.submit("n2")
    coarsely(world, 100)
    assert set(servers(world)) == {"n1"} and world.cloud.created == 1
    world.journal.drop_pauses([""])
    coarsely(world, 60)
    assert set(servers(world)) == {"n2"}
    assert_one_outcome_each(world)


def test_a_resume_that_waits_too_long_is_given_back_with_the_reason() -> None:
    world = MemoryWorld.of(2)
    world.journal.save_pause(Pause("", "the cloud is being mended", "root", world.clock.now()))
    world.slurm.resume_timeout = world.cluster.power_save.resume_timeout
    world.slurm.submit("n1")
    coarsely(world, world.slurm.resume_timeout / 2 + 60, step=2)
    assert world.cloud.created == 0
    op = operations(world, "n1")[0]
    assert op.outcome == "failed" and "the cloud is being mended" in op.text and "root" in op.text
    assert "the cloud is being mended" in world.slurm.node("n1").reason


def test_what_is_under_way_ends() -> None:
    world = MemoryWorld.of(1)
    world.slurm.submit("n1")
    while world.newest("n1").phase != "applying" if world.journal.history("n1", 1) else True:
        world.run(0.1)
    world.journal.save_pause(Pause("", "x", "root", world.clock.now()))
    world.settle()
    assert world.slurm.node("n1").up and world.newest("n1").outcome == "done"


def test_one_pool_is_paused_and_the_other_is_not() -> None:
    one = cluster(1).node_pools[0].model_dump(mode="json")
    other = one | {"name": "b", "nodes": "m[1-1]", "addresses": "10.0.9.1-10.0.9.9"}
    world = MemoryWorld.of(1, node_pools=[one, {k: v for k, v in other.items() if v is not None}])
    world.journal.save_pause(Pause(one["name"], "x", "root", world.clock.now()))
    world.run(2)
    names = world.cluster.nodes()
    world.slurm.submit(names[0])
    world.slurm.submit(names[1])
    coarsely(world, 60)
    assert set(servers(world)) == {names[1]}


def test_while_it_is_paused_nothing_is_done_on_our_own_account() -> None:
    world = MemoryWorld.of(1)
    run_job(world, "n1")
    world.slurm.jobs.clear()
    world.slurm.set_flags("n1", "IDLE", "CLOUD", "POWERED_DOWN")
    world.journal.save_pause(Pause("", "x", "root", world.clock.now()))
    coarsely(world, 2000, step=5)
    assert set(servers(world)) == {"n1"}
