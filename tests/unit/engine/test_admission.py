"""Creates that the quota has no room for are refused before the cloud is asked; the rest goes on."""

import pytest

from slurm_powersave.model import phases
from slurm_powersave.model.errors import CloudError, FailureClass
from slurm_powersave.model.nodes import Limit
from slurm_powersave.testing.world import MemoryWorld
from tests.unit.engine.checks import Fuse, assert_at_rest, operations, outcomes, run, servers
from tests.unit.engine.reboot_stories import ask, ready
from tests.unit.engine.stories import run_until, up


def world(nodes: int, **limits: tuple[int | None, int]) -> MemoryWorld:
    """A world with a quota: (limit, used by others)."""
    made = MemoryWorld.of(nodes)
    made.cloud.limits = {name: Limit(*numbers) for name, numbers in limits.items()}
    return made


def test_five_of_eight_run_and_three_are_told_why() -> None:
    w = world(12, instances=(7, 2))
    for number in (12, 3, 10, 1, 9, 2, 11, 4):
        w.slurm.submit(f"n{number}")
    w.settle(60)
    assert set(servers(w)) == {"n1", "n2", "n3", "n4", "n9"}, "lowest numbers first"
    assert w.cloud.created == 5, "the cloud was asked for no more"
    for name in ("n10", "n11", "n12"):
        op = operations(w, name)[0]
        assert (op.outcome, op.failure) == ("failed", FailureClass.QUOTA)
        assert op.text == "needs 1 instance, 0 of 7 left"
        reason = w.slurm.node(name).reason
        assert reason.startswith("slurm-powersave: (quota) needs 1 instance, 0 of 7 left; rests until")
    assert_at_rest(w)


def test_the_eleventh_node_is_told_that_its_server_group_is_full_until_one_has_gone() -> None:
    w = world(12, server_group=(10, 0))
    jobs = {name: w.slurm.submit(name) for name in (f"n{number}" for number in range(1, 12))}
    w.settle(60)
    assert len(servers(w)) == 10 and "n11" not in servers(w)
    op = operations(w, "n11")[0]
    assert (op.outcome, op.failure) == ("failed", FailureClass.QUOTA)
    assert op.text == "needs 1 place in the server group, 0 of 10 left" and w.cloud.created == 10
    w.slurm.end(jobs["n1"])
    w.slurm.suspend("n1")
    w.settle(60)
    w.slurm.submit("n12")
    w.settle(60)
    assert len(servers(w)) == 10 and "n12" in servers(w)


def test_slurm_knows_within_five_seconds() -> None:
    w = world(4, cores=(1, 0))
    w.slurm.submit("n1", "n2")
    run_until(w, "n2", phases.FAILING)
    w.run(5)
    assert "(quota) needs 1 core, 0 of 1 left" in w.slurm.node("n2").reason


def test_what_is_under_way_counts_though_the_cloud_does_not_count_it_yet() -> None:
    w = world(4, instances=(2, 0))
    quota = w.cloud.quota
    # A cloud that counts a server only when it is ready, ten seconds later.
    w.terraform.create_seconds = 10.0
    began = w.clock.now()
    w.cloud.quota = lambda: quota() if w.clock.now() > began + 12 else dict(w.cloud.limits)  # type: ignore[method-assign]
    w.slurm.submit("n1", "n2")
    run_until(w, "n1", phases.PLANNING)
    w.slurm.submit("n3")
    w.settle(60)
    assert set(servers(w)) == {"n1", "n2"}
    assert operations(w, "n3")[0].text == "needs 1 instance, 0 of 2 left"


def test_what_the_cloud_counts_already_is_not_counted_twice() -> None:
    w = world(4, instances=(3, 0))
    w.terraform.create_seconds = 20.0
    w.slurm.submit("n1", "n2")
    run_until(w, "n1", phases.APPLYING)
    w.run(5)
    assert w.cloud.quota()["instances"].used == 2
    w.slurm.submit("n3")
    w.settle(90)
    assert set(servers(w)) == {"n1", "n2", "n3"}
    assert_at_rest(w)


def test_a_refusal_rests_on_a_reading_that_is_newer_than_the_request() -> None:
    w = world(4, instances=(1, 0))
    up(w, "n1")
    reads = w.cloud.quota_reads
    w.cloud.limits = {"instances": Limit(2, 0)}
    w.slurm.submit("n2")
    w.settle(60)
    assert w.slurm.node("n2").up and w.cloud.quota_reads > reads


def test_a_create_waits_for_servers_of_ours_that_are_going() -> None:
    w = world(4, instances=(1, 0))
    w.slurm.end(up(w, "n1"))
    w.cloud.delete_seconds = 20.0
    w.slurm.suspend("n1")
    run_until(w, "n1", phases.VERIFYING)
    w.slurm.submit("n2")
    w.settle(90)
    assert outcomes(w, "n2") == [("resume", "done")]
    assert_at_rest(w)


def test_but_not_for_ever() -> None:
    w = world(4, instances=(1, 0))
    w.slurm.end(up(w, "n1"))
    w.cloud.delete_seconds = 200.0
    w.slurm.suspend("n1")
    run_until(w, "n1", phases.VERIFYING)
    w.slurm.submit("n2")
    w.run(70)
    assert operations(w, "n2")[0].failure is FailureClass.QUOTA
    assert "takes more than 60 s" in operations(w, "n2")[0].text


def test_the_quota_is_read_once_a_request_however_many_nodes() -> None:
    w = world(12, instances=(None, 0), cores=(100, 0))
    w.slurm.submit(*(f"n{number}" for number in range(1, 13)))
    w.settle(60)
    assert w.cloud.created == 12 and w.cloud.quota_reads <= 2


def test_without_a_quota_and_with_one_that_can_not_be_read_the_cloud_decides() -> None:
    free = MemoryWorld.of(2)
    up(free, "n1", "n2")
    w = world(2, instances=(0, 0))

    def broken() -> dict[str, Limit]:
        raise CloudError("503")

    w.cloud.quota = broken  # type: ignore[method-assign]
    w.slurm.submit("n1")
    w.settle(60)
    assert "Quota exceeded for instances" in operations(w, "n1")[0].text


def test_a_replacement_needs_no_room_beside_what_it_replaces() -> None:
    w = ready(1)
    w.cloud.limits = {"instances": Limit(1, 0)}
    assert ask(w, "n1", "reimage replace").outcome == phases.DONE


@pytest.mark.parametrize("at", range(1, 40, 4))
def test_an_engine_killed_in_between_refuses_and_admits_the_same(at: int) -> None:
    w = world(3, instances=(2, 0))
    Fuse(w, at)
    w.slurm.submit("n1")
    w.slurm.submit("n2")
    w.slurm.submit("n3")
    run(w, 120)
    w.settle(200)
    assert set(servers(w)) == {"n1", "n2"}
    assert_at_rest(w)
