"""A server that is off or silent under a node that Slurm has set DOWN: started again once, then replaced."""

import logging
from dataclasses import replace

import pytest

from slurm_powersave.decide.node import brake, silence_text
from slurm_powersave.model import phases
from slurm_powersave.model.errors import SlurmError
from slurm_powersave.model.nodes import Operation
from slurm_powersave.model.permit import Act, Permit, Row
from slurm_powersave.model.records import Pause
from slurm_powersave.testing.world import MemoryWorld
from tests.unit.engine.checks import Fuse, Killed, assert_agreed, coarsely, operations, servers
from tests.unit.engine.stories import comes_back, run_job

VERSIONS = ["22.05", "24.11", "26.05"]
DOWN = frozenset({"DOWN", "CLOUD", "NOT_RESPONDING"})


def world_of(up_nodes: int, nodes: int = 0, version: str = "26.05", **extra: object) -> MemoryWorld:
    """A world in which n1 to nN are up and idle."""
    world = MemoryWorld.of(nodes or max(up_nodes, 2), slurm_version=version, **extra)
    world.slurm.end(run_job(world, *names(up_nodes)))
    return world


def names(count: int) -> list[str]:
    return [f"n{number}" for number in range(1, count + 1)]


def down(world: MemoryWorld, *nodes: str) -> None:
    """Let slurmctld find that nodes do not answer: what ran there is requeued."""
    for name in nodes:
        world.slurm.requeue(name)
        node = replace(world.slurm.node(name), flags=DOWN, reason="Not responding", reason_by="slurm")
        world.slurm.put(node)


def silent(world: MemoryWorld, *nodes: str) -> None:
    """Servers run and answer nobody."""
    world.silent |= set(nodes)
    down(world, *nodes)


def status(world: MemoryWorld, word: str, *nodes: str) -> None:
    """The cloud shows servers so, and their nodes are DOWN."""
    for name in nodes:
        world.cloud.set_status(servers(world)[name][0], word)
    down(world, *nodes)


def dead_acts(world: MemoryWorld, act: Act) -> list[str]:
    """The nodes for which an act on a dead server was recorded."""
    return [one.node for one in world.journal.acts_since(0.0, [Row.DEAD]) if one.act == act]


def restarted(world: MemoryWorld) -> list[str]:
    return dead_acts(world, Act.REBOOT)


def said(world: MemoryWorld, node: str = "n1") -> str:
    notice = world.journal.notices().get(node)
    return notice.text if notice else ""


def until_booting(world: MemoryWorld) -> Operation:
    """Go on until a server is started again."""
    for _ in range(600):
        coarsely(world, 1, step=1)
        if world.newest("n1").phase == phases.BOOTING:
            return world.newest("n1")
    raise AssertionError("it was not started again")


# Started again


@pytest.mark.parametrize("version", VERSIONS)
def test_a_silent_server_is_started_again_and_its_node_given_back(version: str) -> None:
    world = world_of(1, version=version)
    made = servers(world)
    silent(world, "n1")
    coarsely(world, 280, step=2)
    assert not restarted(world) and "It is started again when" in said(world)
    op = until_booting(world)
    assert op.kind == "restart" and op.server_id == made["n1"][0]
    world.silent.clear()
    coarsely(world, 60)
    assert world.slurm.node("n1").up and servers(world) == made
    assert world.newest("n1").outcome == phases.DONE
    assert restarted(world) == ["n1"] and not said(world)
    assert_agreed(world)


@pytest.mark.parametrize("word", ["SHUTOFF", "SUSPENDED", "PAUSED", "SHELVED", "SHELVED_OFFLOADED"])
def test_a_server_that_is_off_is_started(word: str) -> None:
    world = world_of(1)
    made = servers(world)
    status(world, word, "n1")
    coarsely(world, 60, step=2)
    assert word in said(world)
    coarsely(world, 400, step=2)
    assert world.slurm.node("n1").up and servers(world) == made and not said(world)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("word", ["SHUTOFF", "SHELVED_OFFLOADED"])
def test_one_that_the_cloud_does_not_start_is_replaced(word: str, version: str) -> None:
    world = world_of(1, version=version)
    world.cloud.refused_changes["n1"] = "Cannot 'reboot' instance while it is in vm_state shelved"
    status(world, word, "n1")
    coarsely(world, 400, step=2)
    assert world.newest("n1").outcome == phases.FAILED and "Cannot 'reboot'" in world.newest("n1").text
    assert world.slurm.node("n1").flags == DOWN, "a restart that failed is no failure of the node's"
    coarsely(world, 1300, step=2)
    assert servers(world) and restarted(world) == ["n1"]
    coarsely(world, 300, step=2)
    world.settle()
    assert not servers(world)
    comes_back(world)


@pytest.mark.parametrize("version", VERSIONS)
def test_one_that_stays_silent_is_replaced_after_half_an_hour(version: str) -> None:
    world = world_of(1, version=version)
    (server,) = servers(world)["n1"]
    silent(world, "n1")
    coarsely(world, 1790, step=2)
    assert servers(world) and world.slurm.node("n1").has("DOWN") and restarted(world) == ["n1"]
    coarsely(world, 300, step=2)
    world.settle()
    assert not servers(world)
    acts = world.journal.acts_on(server)
    assert [(one.act, one.row) for one in acts] == [
        ("reboot", "dead or silent server"),
        ("POWER_DOWN", "dead or silent server"),
        ("delete", "dead or silent server"),
    ]
    assert "no job" in acts[0].evidence and "does not answer SSH" in acts[0].evidence
    world.silent.clear()
    comes_back(world)
    assert not said(world)


def test_one_that_boots_and_does_not_register_is_not_replaced_while_it_answers() -> None:
    world = world_of(1)
    made = servers(world)
    silent(world, "n1")
    world.slurm.answers = lambda name: False
    world.playbooks.faults["n1"] = "mount failed"
    until_booting(world)
    world.silent.clear()
    coarsely(world, 4000, step=4)
    assert world.newest("n1").outcome == phases.FAILED and "mount failed" in world.newest("n1").text
    assert servers(world) == made and "systemctl status slurmd" in said(world)


# Left


def test_a_server_that_answers_is_named_and_left() -> None:
    world = world_of(1)
    made = servers(world)
    down(world, "n1")
    coarsely(world, 4000, step=4)
    assert servers(world) == made and world.slurm.node("n1").flags == DOWN and not restarted(world)
    assert "systemctl status slurmd" in said(world)
    assert world.journal.notices()["n1"].command == "slurm-powersave suspend"


def test_one_that_slurm_hears_is_left_though_its_sshd_is_silent() -> None:
    world = world_of(1)
    silent(world, "n1")
    node = world.slurm.node("n1")
    world.slurm.put(replace(node, flags=frozenset({"DOWN", "CLOUD"}), reason="Node unexpectedly rebooted"))
    coarsely(world, 4000, step=4)
    assert servers(world) and not restarted(world) and "state=RESUME" in said(world)


def test_one_in_rescue_mode_is_a_person_s() -> None:
    world = world_of(1)
    made = servers(world)
    status(world, "RESCUE", "n1")
    coarsely(world, 5000, step=5)
    assert servers(world) == made and world.slurm.node("n1").flags == DOWN and not restarted(world)
    assert "A person works on it" in said(world) and not world.journal.notices()["n1"].command


@pytest.mark.parametrize("word", ["MIGRATING", "UNKNOWN", "BUILD"])
def test_what_is_being_changed_is_left(word: str) -> None:
    world = world_of(1)
    made = servers(world)
    world.silent.add("n1")
    status(world, word, "n1")
    coarsely(world, 4000, step=5)
    assert servers(world) == made and not restarted(world) and word in said(world)


@pytest.mark.parametrize(
    ("more", "reason", "by"),
    [
        ((), "bad DIMM", "root"),
        ((), "bad DIMM", "slurm"),
        (("DRAIN",), "Not responding", "slurm"),
        (("MAINTENANCE",), "Not responding", "slurm"),
        (("RESERVED",), "Not responding", "slurm"),
    ],
)
def test_a_person_s_node_is_left(more: tuple[str, ...], reason: str, by: str) -> None:
    world = world_of(1)
    made = servers(world)
    silent(world, "n1")
    node = world.slurm.node("n1")
    world.slurm.put(replace(node, flags=DOWN | set(more), reason=reason, reason_by=by))
    coarsely(world, 4000, step=5)
    assert servers(world) == made and not restarted(world) and world.slurm.node("n1").has("DOWN")


def test_a_node_in_use_that_slurm_does_not_hear_is_left_until_it_is_down() -> None:
    world = MemoryWorld.of(2)
    job = run_job(world, "n1")
    made = servers(world)
    world.silent.add("n1")
    world.slurm.answers = lambda name: False
    node = world.slurm.node("n1")
    world.slurm.put(replace(node, flags=frozenset({"ALLOCATED", "CLOUD", "NOT_RESPONDING"})))
    coarsely(world, 4000, step=5)
    assert servers(world) == made and not restarted(world)
    assert said(world) == silence_text.IN_USE and world.journal.notices()["n1"].jobs == (job,)
    down(world, "n1")
    until_booting(world)


def test_while_a_job_is_listed_there_nothing_is_done() -> None:
    world = MemoryWorld.of(2)
    job = run_job(world, "n1")
    listed = world.slurm.jobs[job]
    silent(world, "n1")
    world.slurm.jobs[job] = replace(listed, state="COMPLETING")
    coarsely(world, 4000, step=5)
    assert servers(world) and not restarted(world) and f"job {job}" in said(world)


def test_a_paused_pool_is_left() -> None:
    world = world_of(1)
    silent(world, "n1")
    world.journal.save_pause(Pause("", "the switch is replaced", "root", world.clock.now()))
    coarsely(world, 4000, step=5)
    assert servers(world) and not restarted(world) and "the switch is replaced" in said(world)


def test_a_host_that_can_not_ask_knows_nothing() -> None:
    world = world_of(1)
    silent(world, "n1")
    world.playbooks.blind = True
    coarsely(world, 4000, step=5)
    assert servers(world) and not restarted(world)


# In all looks


def test_one_look_that_was_answered_begins_the_count_anew() -> None:
    world = world_of(1)
    silent(world, "n1")
    coarsely(world, 250, step=2)
    world.silent.clear()
    coarsely(world, 120, step=2)
    world.silent.add("n1")
    coarsely(world, 280, step=2)
    assert not restarted(world)
    until_booting(world)


def test_a_server_that_comes_and_goes_is_started_once_and_not_replaced() -> None:
    world = world_of(1)
    made = servers(world)
    silent(world, "n1")
    for _ in range(6):
        coarsely(world, 1500, step=5)
        world.silent.clear()
        coarsely(world, 150, step=2)
        world.silent.add("n1")
        down(world, "n1")
    assert servers(world) == made and restarted(world) == ["n1"]


def test_a_day_later_it_may_be_started_once_more() -> None:
    world = world_of(1)
    for count in (1, 2):
        silent(world, "n1")
        until_booting(world)
        world.silent.clear()
        coarsely(world, 90, step=1)
        assert world.slurm.node("n1").up and restarted(world) == ["n1"] * count
        world.clock.advance(90_000)


def test_the_count_is_not_told_by_the_wall_clock() -> None:
    world = world_of(1)
    made = servers(world)
    silent(world, "n1")
    coarsely(world, 100, step=2)
    world.clock.jump(86_400)
    coarsely(world, 60, step=2)
    assert not restarted(world)
    world.clock.jump(-200_000)
    coarsely(world, 400, step=2)
    assert restarted(world) == ["n1"]
    world.clock.jump(50_000)
    coarsely(world, 800, step=2)
    assert servers(world) == made and world.slurm.node("n1").flags == DOWN


@pytest.mark.parametrize("what", ["cloud", "slurm", "engine"])
def test_the_count_begins_anew_when_nobody_has_looked(what: str) -> None:
    world = world_of(1)
    silent(world, "n1")
    coarsely(world, 280, step=2)
    if what == "engine":
        world.crash()
    else:
        part = world.cloud if what == "cloud" else world.slurm
        part.unreachable = "503 Service Unavailable"
        coarsely(world, 400, step=2)
        assert not restarted(world)
        part.unreachable = ""
    coarsely(world, 280, step=2)
    assert not restarted(world)
    until_booting(world)


def test_an_engine_that_starts_anew_does_not_start_a_server_twice() -> None:
    world = world_of(1)
    silent(world, "n1")
    until_booting(world)
    for _ in range(8):
        world.crash()
        coarsely(world, 500, step=5)
    assert restarted(world) == ["n1"] and servers(world)


def killed_on_the_way(at: int, word: str = "", seconds: float = 5000) -> tuple[MemoryWorld, Fuse, list[str]]:
    """Tell a server's story with an engine that is killed after its N-th effect, or not at all.

    The cloud shows the server by this word; without one it is silent for ever.
    """
    world, asked = world_of(1), []
    reboot = world.cloud.reboot

    def watched(server_id: str, permit: Permit) -> None:
        asked.append(server_id)
        reboot(server_id, permit)

    world.cloud.reboot = watched  # type: ignore[method-assign]
    fuse = Fuse(world, at)
    fuse.watch("cloud", "reboot", "delete")
    fuse.watch("journal", "add_request", "save_notices")
    if word:
        status(world, word, "n1")
    else:
        silent(world, "n1")
    end = world.clock.now() + seconds
    while world.clock.now() < end:
        try:
            coarsely(world, end - world.clock.now(), 3)
        except Killed:
            world.crash()
    return world, fuse, asked


@pytest.mark.slow
def test_wherever_the_engine_is_killed_a_server_is_started_once_and_replaced_in_the_end() -> None:
    _, counted, asked = killed_on_the_way(0)
    assert counted.count > 10 and len(asked) == 1
    for at in range(1, counted.count + 1):
        world, fuse, asked = killed_on_the_way(at)
        assert len(asked) <= 1 and len(restarted(world)) == 1, fuse.last
        assert not servers(world), fuse.last
        world.silent.clear()
        comes_back(world)


def test_wherever_the_engine_is_killed_a_server_that_was_off_comes_back() -> None:
    _, counted, asked = killed_on_the_way(0, "SHUTOFF", 900)
    assert counted.count > 5 and len(asked) == 1
    for at in range(1, counted.count + 1):
        world, fuse, asked = killed_on_the_way(at, "SHUTOFF", 1200)
        assert len(restarted(world)) == 1 and len(asked) <= 1, fuse.last
        if asked:
            assert world.slurm.node("n1").up and not said(world), fuse.last
        else:  # killed when it was recorded and before the cloud was asked: replaced in the end
            coarsely(world, 2500, step=3)
            assert not servers(world) or world.slurm.node("n1").up, fuse.last


def test_a_restart_that_ends_in_error_gives_the_node_back() -> None:
    world = world_of(1)
    world.cloud.failed_changes["n1"] = "libvirt: no such disk"
    status(world, "SHUTOFF", "n1")
    coarsely(world, 600, step=2)
    (op,) = [one for one in operations(world, "n1") if one.action == "restart"]
    assert op.outcome == phases.FAILED and "no such disk" in op.text and restarted(world) == ["n1"]
    world.cloud.failed_changes.clear()
    comes_back(world)


def test_slurm_that_refuses_is_told_again_later() -> None:
    world = world_of(1, failure={"restart_after": 9000})
    silent(world, "n1")
    told: list[float] = []

    def refuse(nodes: object, *, state: str = "", **more: object) -> None:
        told.append(world.clock.now())
        raise SlurmError("Unable to contact slurm controller")

    update, world.slurm.update_nodes = world.slurm.update_nodes, refuse  # type: ignore[method-assign,assignment]
    coarsely(world, 3600, step=2)
    assert 2 <= len(told) <= 4 and servers(world)
    world.slurm.update_nodes = update  # type: ignore[method-assign]
    coarsely(world, 900, step=2)
    world.settle()
    assert not servers(world)


def test_a_node_that_can_not_be_read_is_left_and_its_warning_stays() -> None:
    world = world_of(1)
    silent(world, "n1")
    coarsely(world, 120, step=2)
    before = world.journal.notices()
    world.slurm.unreadable.add("n1")
    coarsely(world, 4000, step=5)
    assert not restarted(world) and servers(world) and world.journal.notices() == before
    world.slurm.unreadable.clear()
    until_booting(world)


# The network


def test_more_than_three_of_a_pool_are_the_network(caplog: pytest.LogCaptureFixture) -> None:
    world = world_of(6)
    made = servers(world)
    caplog.set_level(logging.WARNING)
    silent(world, "n1", "n2")
    coarsely(world, 120, step=2)
    silent(world, "n3", "n4")
    coarsely(world, 8000, step=5)
    assert servers(world) == made and not restarted(world)
    assert "more than 3 servers of pool compute fell silent" in said(world)
    assert world.journal.notices()["n4"].command == "slurm-powersave suspend"
    assert sum("it is the network" in one.getMessage() for one in caplog.records) == 1


def test_when_it_is_over_what_is_left_is_counted_anew() -> None:
    world = world_of(6)
    silent(world, *names(5))
    coarsely(world, 3000, step=5)
    for name in ("n3", "n4", "n5"):
        world.silent.discard(name)
        world.slurm.register(name, booted=False)
    assert world.slurm.node("n3").up
    coarsely(world, 250, step=2)
    assert not restarted(world) and set(world.journal.notices()) == {"n1", "n2"}
    coarsely(world, 200, step=2)
    assert sorted(restarted(world)) == ["n1", "n2"]


def test_an_engine_that_starts_anew_still_knows_that_they_fell_silent_one_by_one() -> None:
    world = world_of(6, failure={"restart_after": 8000, "silent_after": 9000})
    for name in names(4):
        silent(world, name)
        coarsely(world, 700, step=5)
    world.crash()
    coarsely(world, 300, step=5)
    assert "the network" not in said(world)
    world.crash()
    world.journal.save_notices([], names(4))
    world.crash()
    coarsely(world, 300, step=5)
    assert "the network" in said(world), "who knows nothing of before takes it for the network"


def test_the_two_of_a_small_pool_are_started_and_replaced() -> None:
    world = world_of(2)
    silent(world, "n1", "n2")
    coarsely(world, 500, step=2)
    assert sorted(restarted(world)) == ["n1", "n2"]
    coarsely(world, 1800, step=2)
    world.settle()
    assert not servers(world)


def test_what_the_cloud_itself_calls_off_is_not_the_network() -> None:
    world = world_of(5)
    made = servers(world)
    status(world, "SHUTOFF", *names(5))
    coarsely(world, 600, step=2)
    assert servers(world) == made and all(world.slurm.node(name).up for name in names(5))


def test_past_the_brake_no_more_are_started_or_replaced() -> None:
    world = world_of(8)
    status(world, "SHUTOFF", *names(8))
    coarsely(world, 4000, step=5)
    assert len(restarted(world)) == brake.limit(8) == 5
    assert "5 are the most" in world.journal.brake()
    left = next(name for name in names(8) if not world.slurm.node(name).up)
    assert "the brake is on" in said(world, left) and world.slurm.node(left).flags == DOWN
    world.journal.confirm(world.clock.now())
    coarsely(world, 600, step=2)
    assert all(world.slurm.node(name).up or name not in servers(world) for name in names(8))


def test_five_that_were_given_up_are_deleted_though_the_sixth_sets_the_brake() -> None:
    world = world_of(6, failure={"restart_after": 9000})
    for name in names(6):
        world.cloud.refused_changes[name] = "no"
    status(world, "SHUTOFF", *names(6))
    coarsely(world, 4000, step=5)
    assert len(servers(world)) == 1 and "5 are the most" in world.journal.brake()


# Nodes that are to stay up


def test_one_of_min_nodes_is_replaced_and_comes_back() -> None:
    pool = world_of(1).cluster.node_pools[0].model_dump(mode="json")
    world = world_of(1, node_pools=[pool | {"min_nodes": 1}])
    made = servers(world)
    silent(world, "n1")
    coarsely(world, 120, step=2)
    assert world.journal.notices()["n1"].command == "slurm-powersave suspend --force"
    until_booting(world)
    coarsely(world, 2000, step=2)
    world.silent.clear()
    coarsely(world, 400, step=2)
    assert world.slurm.node("n1").up and servers(world) != made
    assert_agreed(world)


# Warnings


def test_a_warning_ends_when_the_node_answers_again() -> None:
    world = world_of(1)
    silent(world, "n1")
    coarsely(world, 120, step=2)
    assert said(world)
    world.silent.clear()
    world.slurm.register("n1", booted=False)
    coarsely(world, 60, step=2)
    assert world.slurm.node("n1").up and not world.journal.notices()


def test_a_warning_stays_while_the_cloud_can_not_be_read() -> None:
    world = world_of(1)
    silent(world, "n1")
    coarsely(world, 120, step=2)
    before = world.journal.notices()
    world.crash()
    world.cloud.unreachable = "503 Service Unavailable"
    coarsely(world, 120, step=2)
    assert world.journal.notices() == before


def test_a_warning_is_written_once() -> None:
    world = world_of(1)
    silent(world, "n1")
    coarsely(world, 120, step=2)
    writes: list[object] = []
    world.journal.save_notices = lambda found, gone: writes.append(found)  # type: ignore[method-assign]
    coarsely(world, 120, step=2)
    assert not writes


# The job


def lost(world: MemoryWorld, job: int) -> str:
    return world.slurm.comments.get(job, {}).get("AdminComment", "")


@pytest.mark.parametrize(
    ("end", "why"),
    [("vanish", "its server is gone"), ("ERROR", "is in ERROR"), ("SHUTOFF", "(SHUTOFF) is off"),
     ("silent", "(ACTIVE) does not answer SSH"), ("slurmd", "(ACTIVE) answers SSH")],
)  # fmt: skip
def test_the_job_says_why_its_node_died(end: str, why: str) -> None:
    world = MemoryWorld.of(2)
    job = run_job(world, "n1")
    coarsely(world, 40, step=1)
    (server,) = servers(world)["n1"]
    if end == "vanish":
        world.cloud.vanish(server)
    elif end == "silent":
        world.silent.add("n1")
    elif end != "slurmd":
        world.cloud.set_status(server, end)
    down(world, "n1")
    coarsely(world, 120, step=1)
    assert lost(world, job).startswith("slurm-powersave: n1 died while this job ran there")
    assert why in lost(world, job) and "Not responding" in lost(world, job)
    assert len(lost(world, job)) <= 240 and lost(world, job).isprintable()


def test_what_somebody_else_has_written_stays() -> None:
    world = MemoryWorld.of(2)
    job = run_job(world, "n1")
    coarsely(world, 40, step=1)
    world.slurm.comments[job] = {"AdminComment": "charged to project 7"}
    silent(world, "n1")
    coarsely(world, 120, step=1)
    assert lost(world, job) == "charged to project 7"


def test_a_job_that_was_seen_to_end_otherwise_is_told_nothing() -> None:
    world = MemoryWorld.of(2)
    job = run_job(world, "n1")
    coarsely(world, 40, step=1)
    silent(world, "n1")
    world.slurm.jobs[job] = replace(world.slurm.jobs[job], state="COMPLETED", nodes=())
    coarsely(world, 120, step=1)
    assert not lost(world, job)


def test_one_that_ended_before_its_node_died_is_told_nothing() -> None:
    world = MemoryWorld.of(2)
    job = run_job(world, "n1")
    coarsely(world, 40, step=1)
    kept = world.slurm.jobs[job]
    world.slurm.end(job)
    coarsely(world, 40, step=1)
    world.slurm.jobs[job] = replace(kept, state="PENDING", nodes=())
    silent(world, "n1")
    coarsely(world, 120, step=1)
    assert not lost(world, job)


def test_an_engine_that_starts_anew_still_knows_the_job_of_a_node_that_is_not_heard() -> None:
    world = MemoryWorld.of(2)
    job = run_job(world, "n1")
    world.silent.add("n1")
    world.slurm.answers = lambda name: False
    node = world.slurm.node("n1")
    world.slurm.put(replace(node, flags=frozenset({"ALLOCATED", "CLOUD", "NOT_RESPONDING"})))
    coarsely(world, 60, step=1)
    world.engine = None  # type: ignore[assignment]
    down(world, "n1")
    world.crash()
    coarsely(world, 120, step=1)
    assert "does not answer SSH" in lost(world, job)
    assert not world.journal.notices()["n1"].jobs, "it is told once"


def test_operations_of_a_restart_are_named_as_such() -> None:
    world = world_of(1)
    silent(world, "n1")
    until_booting(world)
    assert [(op.mode, op.action) for op in operations(world, "n1")][-1] == ("reboot", "restart")


def test_a_server_that_answers_again_while_its_deletion_does_not_end_is_kept_and_that_is_said() -> None:
    """The cloud has accepted the deletion and does nothing; to ask once more would need new evidence."""
    world = world_of(1, failure={"silent_after": 300}, terraform={"apply_timeout": 60})
    (server_id,) = servers(world)["n1"]
    world.cloud.undying.add(server_id)
    silent(world, "n1")
    for _ in range(3000):
        coarsely(world, 1, step=1)
        if world.newest("n1").phase in (phases.DELETING, phases.VERIFYING):
            break
    world.silent.clear()
    coarsely(world, 400, step=1)
    op = world.newest("n1")
    assert op.outcome == phases.REFUSED, op
    assert op.text == f"server {server_id}: it answers SSH"
    assert servers(world) == {"n1": [server_id]}
