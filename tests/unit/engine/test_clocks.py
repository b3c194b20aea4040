"""Dates and moments, and for how long something was looked at."""

import logging

import pytest

from slurm_powersave.adapters.host_clock import WallClock
from slurm_powersave.adapters.journal.sqlite import SqliteJournal
from slurm_powersave.decide.node.failure_policy import FOREVER
from slurm_powersave.engine.durations import Looks
from slurm_powersave.engine.times import Times
from slurm_powersave.model.errors import FailureClass
from slurm_powersave.model.nodes import NodeBackoff
from slurm_powersave.model.records import FlavorBackoff
from slurm_powersave.testing.cloud import MemoryClock
from slurm_powersave.testing.world import MemoryWorld


def journal(clock: MemoryClock, rest: float = 100.0) -> SqliteJournal:
    """A journal with a node and a flavor that rest, and a node that rests until a person comes."""
    made = SqliteJournal(":memory:")
    until = clock.wall() + rest
    made.save_node_backoff(NodeBackoff("n1", "op1", FailureClass.QUOTA, "r", until))
    made.save_node_backoff(NodeBackoff("n2", "op2", FailureClass.QUOTA, "r", FOREVER))
    made.save_flavor_backoff(FlavorBackoff("mem", "", "small", until, "no room"))
    return made


def left(times: Times, held: SqliteJournal) -> set[float]:
    """How many seconds the rests still last."""
    ends = [held.node_backoffs()["n1"].until, *(rest.until for rest in held.flavor_backoffs())]
    return {round(times.moment(end) - times.now(), 3) for end in ends}


def test_a_date_becomes_a_moment_and_a_date_again() -> None:
    clock = MemoryClock()
    times = Times(clock, SqliteJournal(":memory:"))
    assert times.wall() == clock.wall() != times.now()
    assert times.date(times.now() + 5) == clock.wall() + 5
    assert times.moment(times.date(77.0)) == 77.0


@pytest.mark.parametrize("step", [3600, -7200, 2.5, -2.5])
def test_a_step_moves_the_rests_and_is_told_once(step: float, caplog: pytest.LogCaptureFixture) -> None:
    clock = MemoryClock()
    held = journal(clock)
    times = Times(clock, held)
    clock.advance(30)
    clock.jump(step)
    assert left(times, held) == {70.0}, "before anybody has noticed"
    assert times.look()
    assert not times.look()
    assert left(times, held) == {70.0} and times.wall() == clock.wall()
    assert held.node_backoffs()["n2"].until == FOREVER
    assert len(caplog.messages) == 1
    way = "forward" if step > 0 else "back"
    assert f"set {way} by {abs(step):.0f} s" in caplog.text


def test_a_clock_that_is_slewed_is_followed_without_a_word(caplog: pytest.LogCaptureFixture) -> None:
    clock = MemoryClock()
    times = Times(clock, SqliteJournal(":memory:"))
    for _ in range(100):
        clock.advance(1)
        clock.jump(0.3)
        assert not times.look()
    assert times.wall() == clock.wall() and not caplog.messages


@pytest.mark.parametrize("step", [3600, -7200])
def test_a_step_while_no_engine_ran(step: float, caplog: pytest.LogCaptureFixture) -> None:
    clock = MemoryClock()
    held = journal(clock)
    Times(clock, held)
    clock.advance(30)
    clock.jump(step)
    assert left(Times(clock, held), held) == {70.0}
    assert len(caplog.messages) == 1
    assert left(Times(clock, held), held) == {70.0}, "it is counted once"


def test_after_a_boot_time_has_passed_but_never_run_backwards() -> None:
    clock = MemoryClock()
    held = journal(clock)
    Times(clock, held)
    clock.reboot()
    clock.advance(30)
    assert left(Times(clock, held), held) == {70.0}
    clock.reboot()
    clock.jump(-7200)
    assert left(Times(clock, held), held) == {70.0}


def test_the_anchor_is_not_older_than_a_minute() -> None:
    clock = MemoryClock()
    held = journal(clock)
    times = Times(clock, held)
    for _ in range(50):
        clock.advance(1)
        times.look()
    assert (found := held.anchor()) and clock.wall() - found[1] == 50
    clock.advance(10)
    times.look()
    assert (found := held.anchor()) and clock.wall() == found[1]


@pytest.mark.parametrize("text", ["", "x", "boot nan 1.0", "boot 1e400 1.0", "boot 1.0 2.0 3.0"])
def test_an_anchor_that_makes_no_sense_is_none(text: str) -> None:
    held = SqliteJournal(":memory:")
    with held._write() as db:
        db.execute("INSERT INTO marks VALUES ('clocks', ?)", (text,))
    assert held.anchor() is None
    clock = MemoryClock()
    assert Times(clock, held).wall() == clock.wall()


def test_the_hosts_own_clock() -> None:
    clock = WallClock()
    held = SqliteJournal(":memory:")
    Times(clock, held)
    found = held.anchor()
    assert found and found[0] == clock.boot()
    assert abs(found[1] - clock.wall()) < 5 and abs(found[2] - clock.monotonic()) < 5


# Looks


def test_the_time_between_two_looks_counts_up_to_a_limit() -> None:
    looks = Looks(10.0)
    assert looks.look("n1", 100.0) == 0.0
    assert looks.look("n1", 104.0) == 4.0
    assert looks.look("n1", 104.0) == 4.0
    assert looks.look("n1", 90.0) == 4.0, "a reading that is older than the last one"
    assert looks.look("n1", 500.0) == 14.0
    assert looks.look("n1", 501.0) == 15.0


def test_one_begins_anew_and_others_are_forgotten() -> None:
    looks = Looks()
    looks.begin("n1", 100.0)
    assert looks.look("n1", 105.0) == 5.0
    looks.begin("n1", 105.0)
    assert looks.look("n1", 106.0) == 1.0
    looks.look("n2", 106.0)
    looks.keep({"n2"})
    assert looks.look("n1", 110.0) == 0.0 and looks.look("n2", 110.0) == 4.0
    looks.forget("n2")
    assert looks.look("n2", 120.0) == 0.0


def test_nothing_is_logged_where_nothing_happens(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        Times(MemoryClock(), SqliteJournal(":memory:")).look()
    assert not caplog.messages


# Readings


@pytest.mark.parametrize("step", [0, -60, -7200, 3600])
def test_a_reading_is_newer_than_a_question_if_it_began_after_it(step: float) -> None:
    world = MemoryWorld.of(1)
    seen = world.engine._world
    before = seen.seen.next()
    seen.slurm_view.refresh()
    seen.cloud_views["mem"].refresh()
    world.clock.jump(step)
    asked = seen.seen.next()
    assert seen.slurm_view.node("n1", before) and not seen.slurm_view.node("n1", asked)
    assert seen.cloud_views["mem"].servers(before) is not None
    assert seen.cloud_views["mem"].servers(asked) is None
    world.clock.advance(1)
    seen.slurm_view.refresh()
    seen.cloud_views["mem"].refresh()
    assert seen.slurm_view.node("n1", asked)
    assert seen.cloud_views["mem"].servers(asked) is not None


def test_a_reading_is_as_old_as_its_beginning() -> None:
    world = MemoryWorld.of(1)
    seen = world.engine._world
    began = world.clock.monotonic()
    seen.slurm_view.refresh()
    seen.cloud_views["mem"].refresh()
    world.clock.jump(-7200)
    world.clock.advance(5)
    for view in (seen.slurm_view.snapshot, seen.cloud_views["mem"].servers):
        assert view(since=began) is not None
        assert view(since=began + 1) is None


def test_to_a_new_engine_all_its_readings_are_new() -> None:
    world = MemoryWorld.of(1)
    world.cloud.never_boots.add("n1")
    world.slurm.submit("n1")
    world.run(10)
    (op,) = world.engine.operations
    assert op.asked > 0
    world.clock.jump(-7200)
    world.crash()
    (op,) = world.engine.operations
    view = world.engine._world.slurm_view
    assert not view.node("n1", op.asked), "it has read nothing yet"
    view.refresh()
    assert view.node("n1", op.asked)
