"""A cloud without room for a flavor: the pool's next is tried at once, and the first rests."""

import logging
from typing import Any

import pytest

from slurm_powersave.model import phases
from slurm_powersave.model.errors import FailureClass
from slurm_powersave.model.nodes import Flavor, NodeFacts
from slurm_powersave.testing.world import MemoryWorld
from tests.unit.engine.checks import Fuse, assert_at_rest, operations, outcomes, run, servers
from tests.unit.engine.reboot_stories import ask, image, ready
from tests.unit.engine.stories import run_until, up

NO_ROOM = "No valid host was found"


def world(nodes: int = 4, flavors: Any = ("small", "large"), **pool: Any) -> MemoryWorld:
    """A world whose pool may have these flavors."""
    content = MemoryWorld.of(nodes).cluster.node_pools[0].model_dump(mode="json")
    return MemoryWorld.of(nodes, node_pools=[content | pool | {"flavors": flavors}])


def flavor(world: MemoryWorld, node: str) -> str:
    """The flavor of a node's server."""
    return image(world, node)[1]


def test_the_next_flavor_is_tried_and_the_job_waits_on() -> None:
    w = world()
    w.cloud.full = {"small"}
    job = up(w, "n1", "n2")
    assert (flavor(w, "n1"), flavor(w, "n2")) == ("large", "large")
    assert outcomes(w, "n1") == [("resume", "done")], "one operation, Slurm was told of nothing"
    assert operations(w, "n1")[0].text == f"no room for flavor small ({NO_ROOM}), then large"
    assert w.slurm.jobs[job].nodes == ("n1", "n2") and not w.slurm.comments.get(job)
    assert [len(ids) for ids in servers(w).values()] == [1, 1], "the servers in ERROR are gone"
    w.settle(60)
    assert_at_rest(w)


@pytest.mark.parametrize("more", ["\ud800", "\0", "\x1b[2J"], ids=["half a character", "a NUL", "an escape"])
def test_what_the_cloud_says_of_it_is_journalled_whatever_it_is(
    more: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # In a worker of xdist it would break the report.
    monkeypatch.setattr(logging.getLogger("slurm_powersave"), "disabled", True)
    w = world()
    w.cloud.error_faults["n1"] = NO_ROOM + more
    w.slurm.submit("n1")
    w.run(60)
    texts = [rest.text for rest in w.journal.flavor_backoffs()]
    assert texts and all(text.startswith(NO_ROOM) and text.isprintable() for text in texts)


def test_others_of_the_same_apply_are_not_disturbed() -> None:
    """n1's second try runs in another shard while the first apply still waits for n2."""
    w = world()
    w.cloud.error_faults["n1"] = NO_ROOM
    w.terraform.create_seconds = 30.0
    w.slurm.submit("n1", "n2")
    run_until(w, "n1", phases.APPLYING)
    first = operations(w, "n1")[0].shard
    w.terraform.create_seconds = 3.0
    w.run(35)
    w.cloud.error_faults.clear()
    w.settle(120)
    assert w.slurm.node("n1").up and w.slurm.node("n2").up
    assert flavor(w, "n2") == "small"
    assert w.journal.node_records()["n2"].shard == first
    assert_at_rest(w)


def test_the_flavor_rests_for_every_node_of_its_cloud_and_zone_then_it_is_tried_again() -> None:
    w = world()
    w.cloud.full = {"small"}
    up(w, "n1")
    made = w.cloud.created
    up(w, "n2")
    assert w.cloud.created == made + 1 and flavor(w, "n2") == "large", "small was not asked for again"
    w.cloud.full.clear()
    up(w, "n3")
    assert flavor(w, "n3") == "large"
    w.clock.advance(900)
    up(w, "n4")
    assert flavor(w, "n4") == "small"
    assert not w.journal.flavor_backoffs(), "what worked rests no longer"


def test_another_zone_has_rests_of_its_own() -> None:
    w = world()
    w.cloud.full = {"small"}
    up(w, "n1")
    node = w.cluster.node_spec("n2")
    assert w.engine._world.flavors.next(node) == "large"
    other = node.__class__(**{**vars(node), "zone": "az2"})
    assert w.engine._world.flavors.next(other) == "small"


def test_a_new_engine_knows_the_rests() -> None:
    w = world()
    w.cloud.full = {"small"}
    up(w, "n1")
    w.cloud.full.clear()
    w.crash()
    up(w, "n2")
    assert flavor(w, "n2") == "large"


def test_when_no_flavor_has_room_slurm_is_told_at_once() -> None:
    w = world()
    w.cloud.full = {"small", "large"}
    w.slurm.submit("n1")
    w.settle(60)
    node = w.slurm.node("n1")
    assert node.has("DRAIN") and node.reason.startswith(f"slurm-powersave: (capacity) {NO_ROOM}")
    backoff = w.journal.node_backoffs()["n1"]
    rests = {rest.flavor: rest.until for rest in w.journal.flavor_backoffs()}
    assert set(rests) == {"small", "large"}
    assert backoff.until == min(rests.values()), "until the first of them may be tried again"
    assert_at_rest(w)


def test_with_one_flavor_all_is_as_before() -> None:
    w = world(flavors=["small"])
    w.cloud.full = {"small"}
    w.slurm.submit("n1")
    w.settle(60)
    backoff = w.journal.node_backoffs()["n1"]
    assert (backoff.failure, round(backoff.until - w.clock.now(), -2)) == (FailureClass.CAPACITY, 900)
    assert operations(w, "n1")[0].text == NO_ROOM
    # Another node is tried all the same: room may have come back.
    w.cloud.full.clear()
    up(w, "n2")
    assert flavor(w, "n2") == "small"


def test_late_in_a_resume_no_other_flavor_is_begun() -> None:
    w = world()
    w.cloud.full = {"small"}
    w.terraform.create_seconds = w.cluster.power_save.resume_timeout / 2 + 1
    w.slurm.resume_timeout = 1e9
    w.slurm.submit("n1")
    w.settle(2000)
    assert outcomes(w, "n1")[0] == ("resume", "failed")
    backoff = w.journal.node_backoffs()["n1"]
    assert 0 < backoff.until - w.clock.now() <= w.cluster.failure.rest[FailureClass.NODE_LOCAL], (
        "not a quarter of an hour: another flavor is there to be tried"
    )
    up_again = w.clock.now() + 120
    w.terraform.create_seconds = 3.0
    while w.clock.now() < up_again and "n1" in w.journal.node_backoffs():
        w.run(1)
    up(w, "n1")
    assert flavor(w, "n1") == "large"


def test_other_failures_let_no_flavor_rest() -> None:
    w = world()
    w.cloud.create_faults["n1"] = "Quota exceeded for cores"
    w.slurm.submit("n1")
    w.settle(60)
    assert not w.journal.flavor_backoffs() and w.cloud.created == 0


def test_a_requirement_gets_the_cheapest_then_the_next() -> None:
    w = world(flavors=[{"cores": 1, "ram": 900}])
    w.cloud.sizes["cheap"] = Flavor("cheap", 1, 950)
    up(w, "n1")
    assert flavor(w, "n1") == "cheap"
    w.cloud.full = {"cheap", "small"}
    up(w, "n2")
    assert flavor(w, "n2") == "large"


def test_what_nothing_meets_fails_with_the_reason() -> None:
    w = world(flavors=[{"cores": 99}])
    w.slurm.submit("n1")
    w.settle(60)
    assert operations(w, "n1")[0].failure is FailureClass.CONFIG
    assert "no flavor of the cloud mem" in w.slurm.node("n1").reason
    assert w.cloud.created == 0


def test_a_flavor_smaller_than_slurm_conf_promises_is_not_taken() -> None:
    w = world(flavors=[{"cores": 1}], cpus=2)
    up(w, "n1")
    assert flavor(w, "n1") == "large"


def test_a_flavor_younger_and_smaller_than_slurm_conf_says_is_not_taken() -> None:
    w = world(flavors=[{"cores": 1}])
    w.cloud.sizes["tiny"] = Flavor("tiny", 1, 899)
    up(w, "n1")
    assert flavor(w, "n1") == "small"
    w.cloud.sizes = {"tiny": w.cloud.sizes["tiny"]}
    w.clock.advance(61)
    w.slurm.submit("n2")
    w.settle(60)
    assert operations(w, "n2")[0].failure is FailureClass.CONFIG
    assert "and has the 1 CPUs and 900 MiB of slurm.conf" in w.slurm.node("n2").reason
    w.slurm.configured = NodeFacts(1, 800)
    w.slurm.configure(w.cluster.nodes(), ())
    up(w, "n3")
    assert flavor(w, "n3") == "tiny", "deploy has written slurm.conf anew"


def test_names_alone_cost_no_call_to_the_cloud() -> None:
    w = world()
    asked: list[str] = []
    original = w.cloud.flavors
    w.cloud.flavors = lambda: asked.append("flavors") or original()  # type: ignore[method-assign,func-returns-value]
    w.cloud.flavor_id = lambda name: name  # type: ignore[method-assign]
    up(w, "n1", "n2")
    assert asked == []


def test_a_resize_to_another_of_the_pools_flavors_is_not_by_hand() -> None:
    w = ready(flavors=["small", "large"])
    assert ask(w, "n1", "resize flavor=large").outcome == phases.DONE
    record = w.journal.node_records()["n1"]
    assert (record.node.flavor, record.by_hand) == ("large", frozenset())


@pytest.mark.parametrize("at", range(1, 40, 3))
def test_an_engine_killed_in_between_ends_the_same(at: int) -> None:
    w = world(2)
    w.cloud.full = {"small"}
    Fuse(w, at)
    w.slurm.submit("n1")
    run(w, 120)
    w.settle(200)
    assert w.slurm.node("n1").up
    assert [len(ids) for ids in servers(w).values()] == [1]
    assert_at_rest(w)
