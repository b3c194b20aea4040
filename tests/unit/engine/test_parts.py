"""A part of the engine that serves nobody in particular and always fails stops nothing else, and is named."""

import errno
from collections.abc import Callable
from typing import Any

import pytest

from slurm_powersave.engine.faults import Faults
from slurm_powersave.model import phases
from slurm_powersave.model.errors import MachineError, OwnFileError, SlurmError, TerraformError
from slurm_powersave.model.timing import USUAL
from slurm_powersave.testing.world import MemoryWorld
from tests.unit.engine.checks import assert_at_rest, operations, outcomes, run, servers
from tests.unit.engine.test_lifecycle import run_until, up

FAILURE = {"boot_timeout": 120}


def fail(error: Callable[[], Exception]) -> Callable[..., Any]:
    """Make a function that always fails."""

    def call(*_: object, **__: object) -> Any:
        raise error()

    return call


def mistake() -> Exception:
    return KeyError("no such thing")


def denied() -> Exception:
    return PermissionError(errno.EACCES, "Permission denied", "/state/file")


def refused() -> Exception:
    return SlurmError("nobody has thought of this one")


PARTS = {
    "pruning the journal": "slurm_powersave.engine.reconcile.pruning.Pruning.step",
    "mending Terraform's states": "slurm_powersave.engine.runs.mending.Mending.step",
    "comparing Slurm, the clouds and the journal": (
        "slurm_powersave.engine.reconcile.reconciler.Reconciler.step"
    ),
    "looking at nodes that are DOWN": "slurm_powersave.engine.reconcile.dead_servers.DeadServers.step",
    "looking for lost batch scripts": "slurm_powersave.engine.node.lost_scripts.LostScripts.step",
    "telling Slurm of failures": "slurm_powersave.engine.node.failures.Failures._release_jobs",
}


COMPARING = "comparing Slurm, the clouds and the journal"


@pytest.mark.parametrize(
    ("part", "error"), [*((part, mistake) for part in PARTS), (COMPARING, denied), (COMPARING, refused)]
)
def test_a_part_that_always_fails_is_left_alone_for_a_while_and_named(
    monkeypatch: pytest.MonkeyPatch, part: str, error: Callable[[], Exception]
) -> None:
    world = MemoryWorld.of(3, failure=FAILURE)
    world.cloud.never_boots.add("n2")
    world.slurm.resume_timeout = 3600
    with monkeypatch.context() as broken:
        broken.setattr(PARTS[part], fail(error))
        world.crash()
        world.slurm.submit("n1")
        world.slurm.submit("n2")
        run(world, 600, 1)
        assert world.slurm.node("n1").up, "the others go on"
        assert world.left_alone.startswith(f"{part} (")
        assert str(error()).partition(":")[0] in world.left_alone
        assert world.recovery.count <= 7, "it is not tried all the time"
        if part != "telling Slurm of failures":
            assert "no SSH within 120 s" in operations(world, "n2")[0].text, "limits are held"
    world.crash()
    for _ in range(200):
        run(world, 10, 1)
        if not world.left_alone:
            break
    assert world.left_alone == "" and world.recovery.count <= 7
    world.settle(60)
    assert_at_rest(world)


@pytest.mark.parametrize(
    ("part", "outside", "name"),
    [("reading Slurm", "slurm", "snapshot"), ("reading the cloud mem", "cloud", "servers")],
)
def test_what_can_not_be_read_for_a_mistake_of_ours_is_unreadable(
    monkeypatch: pytest.MonkeyPatch, part: str, outside: str, name: str
) -> None:
    world = MemoryWorld.of(3)
    up(world, "n1")
    with monkeypatch.context() as broken:
        broken.setattr(getattr(world, outside), name, fail(mistake))
        world.slurm.submit("n2")
        run(world, 100, 0.5)
        (op,) = operations(world, "n2")
        assert op.phase == phases.CHECKING
        assert world.left_alone.startswith(f"{part} (") and world.recovery.count <= 6
        view = (
            world.engine._world.slurm_view if outside == "slurm" else world.engine._world.cloud_views["mem"]
        )
        assert "KeyError" in view.error
        assert set(servers(world)) == {"n1"}
    run(world, 300, 0.5)
    world.settle(60)
    assert world.left_alone == "" and world.slurm.node("n2").up


def test_an_unreadable_cloud_is_not_read_in_every_step_while_the_comparing_rests(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = MemoryWorld.of(2)
    monkeypatch.setattr(PARTS[COMPARING], fail(mistake))
    world.crash()
    while not world.left_alone:
        run(world, 1)
    assert world.left_alone.startswith(f"{COMPARING} (3 errors")
    before = world.slurm.read
    run(world, 15)
    assert world.slurm.read == before


def test_a_private_key_that_is_gone_is_waited_for_and_no_node_is_judged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = MemoryWorld.of(3)
    gone = up(world, "n3")
    world.slurm.resume_timeout = 3600
    with monkeypatch.context() as broken:
        broken.setattr(world.playbooks, "configure", fail(lambda: OwnFileError("the SSH key is missing")))
        world.slurm.submit("n1")
        run(world, 60)
        world.slurm.end(gone)
        world.slurm.suspend("n3")
        run(world, 150, 0.5)
        assert set(servers(world)) == {"n1"}, "what needs no play goes on"
        assert operations(world, "n1")[-1].phase == phases.BOOTING
        assert world.left_alone.startswith("starting Ansible (") and "key is missing" in world.left_alone
    run(world, 300, 0.5)
    world.settle(60)
    assert outcomes(world, "n1") == [("resume", "done")] and world.cloud.created == 2


def test_a_shard_whose_map_may_not_be_read_keeps_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    world = MemoryWorld.of(3)
    world.run(1)
    world.slurm.resume_timeout = 3600
    nodes = world.terraform.nodes

    def read(shard: str) -> Any:
        if shard == "mem/nodes-001":
            raise TerraformError("not readable as JSON", where=shard) from denied()
        return nodes(shard)

    with monkeypatch.context() as broken:
        broken.setattr(world.terraform, "nodes", read)
        world.slurm.submit("n1")
        run(world, 60)
        assert world.slurm.node("n1").up and world.recovery.count == 0
        assert world.journal.dirty_shards() == {"mem/nodes-001"}, "it is looked at until it can be read"
    run(world, 120)
    world.settle(60)
    assert_at_rest(world)


def test_a_run_that_can_not_be_taken_up_is_given_up_and_what_it_did_found_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = MemoryWorld.of(2)
    world.slurm.resume_timeout = 3600
    world.slurm.submit("n1")
    run_until(world, "n1", phases.APPLYING)
    monkeypatch.setattr(world.terraform, "reattach", fail(mistake))
    world._error = OSError(errno.EIO, "Input/output error")  # another engine is made
    run(world, 120)
    world.settle(120)
    assert world.slurm.node("n1").up and world.recovery.count <= 5
    assert_at_rest(world)


def test_what_is_given_up_is_not_taken_for_a_part(monkeypatch: pytest.MonkeyPatch) -> None:
    world = MemoryWorld.of(2)
    monkeypatch.setattr(world.terraform, "plan", fail(mistake))
    world.slurm.submit("n1")
    run(world, 30)
    assert operations(world, "n1")[0].failure == "internal" and world.left_alone == ""


class Clock:
    now = 0.0


def failing(faults: Faults, error: Exception, *, part: str = "reading") -> None:
    try:
        faults.tried(part, fail(lambda: error))
    except type(error):
        faults.blame(error)


def test_rests_grow_and_end() -> None:
    clock = Clock()
    faults = Faults(lambda: clock.now)
    found = []
    for _ in range(12):
        failing(faults, mistake())
        rest = next(rest for rest in range(0, 10**5, 10) if not tried_after(faults, clock, rest))
        found.append(rest)
        clock.now += rest
    assert found[:6] == [0, 0, 60, 120, 240, 480] and found[-1] == USUAL.fault_rest_longest
    clock.now += 2 * USUAL.fault_rest_longest + 1
    assert not faults.backoff_error("reading")
    failing(faults, mistake())
    assert not faults.backoff_error("reading"), "it has worked since: counted from the beginning"


def tried_after(faults: Faults, clock: Clock, seconds: float) -> str:
    """Tell for what error it is left alone so many seconds from now."""
    before, clock.now = clock.now, clock.now + seconds
    found = faults.backoff_error("reading")
    clock.now = before
    return found


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), MachineError("no disk")])
def test_the_host_s_trouble_that_ends_by_itself_is_no_part_s_fault(error: Exception) -> None:
    faults = Faults(lambda: 0.0)
    for _ in range(5):
        failing(faults, error)
    assert faults.backoff_errors() == ""
