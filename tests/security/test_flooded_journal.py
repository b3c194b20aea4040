"""Requests without end, from the journal on: steps stay short, the file small, all is served in time."""

import threading
import time
import uuid
from collections import deque
from pathlib import Path

import pytest

from slurm_powersave.adapters.journal import requests
from slurm_powersave.adapters.journal.sqlite import SqliteJournal
from slurm_powersave.engine.intake import Bounds, Pump, pump
from slurm_powersave.model.modes import Mode
from slurm_powersave.model.nodes import Request
from slurm_powersave.testing.world import MemoryWorld
from slurm_powersave.testing.world import cluster as small_cluster


def hook_request(nodes: str, mode: Mode = Mode.RESUME, resume_file: str = "", at: float = 1.0) -> Request:
    return Request(str(uuid.uuid4()), mode, nodes, at, resume_file=resume_file)


MANY = [("n1", 1500), ("n[1-4],x1", 1500), (",".join(f"x{number}" for number in range(20_000)), 150)]


@pytest.mark.parametrize(("nodes", "times"), MANY, ids=["one node", "all and a stranger", "strangers"])
def test_many_requests_at_once_do_not_make_one_long_step(tmp_path: Path, nodes: str, times: int) -> None:
    world = MemoryWorld(small_cluster(4), journal=SqliteJournal(tmp_path / "journal.db"))
    for number in range(times):
        world.journal.add_request(hook_request(nodes, at=number), 1.0)
    operator = world.request(Mode.RESUME, "n4", source="operator")
    longest = 0.0
    for _ in range(8):
        began = time.process_time()
        world.engine.step()
        longest = max(longest, time.process_time() - began)
        world.clock.advance(0.1)
    assert longest < 3, "it was 5 to 7 s"
    assert world.journal.operations_of(operator), "an operator does not wait behind a flood"


def test_all_of_a_flood_is_served_in_time() -> None:
    world = MemoryWorld.of(4)
    for number in range(1500):
        world.journal.add_request(hook_request("n1", at=number), 1.0)
    world.run(90)
    assert not world.journal.unplanned_requests()


def test_a_journal_that_is_full_of_requests_takes_no_more() -> None:
    class Endless:
        """An intake that always has something."""

        def __init__(self) -> None:
            self.given: list[str] = []

        def receive(self) -> list[tuple[str, Request | str]]:
            one = hook_request("n1")
            self.given.append(one.id)
            return [(one.id, one)]

        def acknowledge(self, request_id: str) -> None:
            pass

    world, intake, arrived = MemoryWorld.of(1), Endless(), threading.Event()
    thread = Pump(intake, arrived, world.journal, world.clock, threading.Event())
    thread.start()
    deadline = time.monotonic() + 2
    while time.monotonic() < deadline:
        arrived.set()
        time.sleep(0.001)
    thread.stop()
    assert 200 < world.journal.count_unplanned() <= 257


def test_resume_files_without_end_are_cut() -> None:
    world = MemoryWorld.of(1)

    class Once:
        def __init__(self, requests: list[Request]) -> None:
            self.requests = requests

        def receive(self) -> list[tuple[str, Request | str]]:
            given, self.requests = self.requests, []
            return [(one.id, one) for one in given]

        def acknowledge(self, request_id: str) -> None:
            pass

    bounds, left = Bounds(), deque[tuple[str, Request | str]]()
    for _ in range(4):
        many = [hook_request("n1", resume_file="x" * (1 << 20)) for _ in range(30)]
        pump(Once(many), world.journal, world.clock, left, bounds)
    (size,) = world.journal._rows("SELECT sum(length(resume_file)) FROM requests")[0]
    assert 60 << 20 <= size < 70 << 20


def test_refused_parts_without_end_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    world = MemoryWorld.of(2)
    world.journal.add_request(hook_request(",".join(f"x{number}" for number in range(20_000))), 1.0)
    world.engine.step()
    ((request_id,),) = world.journal._rows("SELECT id FROM requests")
    refused = world.journal.refusals(request_id)
    assert len(refused) == 21 and "and 19980 more parts" in refused[-1][1]
    assert len(caplog.records) < 40


def test_reboots_that_are_asked_for_without_end_do_not_queue_up() -> None:
    world = MemoryWorld.of(2)
    for number in range(200):
        mode = (Mode.REBOOT, Mode.SUSPEND, Mode.RESUME, Mode.RESUME_FAIL)[number % 4]
        world.journal.add_request(hook_request("n1", mode, at=number), 1.0)
    for _ in range(20):
        world.engine.step()
        world.clock.advance(0.1)
        assert len(list(world.engine.operations)) < 10


# Seven days


def age(journal: SqliteJournal, days: float) -> None:
    journal.purge(1_000_000.0 + days * 86400 - 7 * 86400)


def test_resume_files_are_kept_seven_days() -> None:
    world = MemoryWorld.of(2)
    one = hook_request("n1", Mode.SUSPEND, resume_file="{}", at=world.clock.now())
    world.journal.add_request(one, world.clock.now())
    world.run(30)
    world.clock.advance(6.9 * 86400)
    world.engine.step()
    assert world.journal.request(one.id).resume_file == "{}"  # type: ignore[union-attr]
    world.clock.advance(0.2 * 86400)
    world.engine.step()
    kept = world.journal.request(one.id)
    assert kept and kept.resume_file == "" and world.journal.operations_of(one.id)
    assert not world.journal.add_request(one, world.clock.now()), "it still counts once"


def test_a_request_that_is_not_done_keeps_its_resume_file() -> None:
    world = MemoryWorld.of(2)
    world.cloud.unreachable = "503"
    one = hook_request("n1", Mode.SUSPEND, resume_file="{}", at=world.clock.now())
    world.journal.add_request(one, world.clock.now())
    waiting = hook_request("n2", Mode.SUSPEND, resume_file="{}", at=world.clock.now())
    world.run(2)
    world.journal.add_request(waiting, world.clock.now())
    age(world.journal, 30)
    assert all(world.journal.request(of.id).resume_file for of in (one, waiting))  # type: ignore[union-attr]


def test_requests_that_came_to_nothing_go_after_seven_days() -> None:
    world = MemoryWorld.of(2)
    one = hook_request("x1", at=world.clock.now())
    world.journal.add_request(one, world.clock.now())
    world.run(1)
    age(world.journal, 6)
    assert world.journal.request(one.id) and world.journal.refusals(one.id)
    age(world.journal, 8)
    assert world.journal.request(one.id) is None and not world.journal.refusals(one.id)


def test_long_hostlists_of_old_requests_are_cut() -> None:
    world = MemoryWorld.of(2)
    one = hook_request("n1," + "x" * 50_000, Mode.SUSPEND, at=world.clock.now())
    world.journal.add_request(one, world.clock.now())
    world.run(30)
    age(world.journal, 8)
    assert len(world.journal.request(one.id).hostlist) == 1000  # type: ignore[union-attr]


@pytest.mark.parametrize("first", ["", "\0"])
def test_a_nul_hides_nothing_from_the_bounds_of_what_is_kept(
    monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    """SQLite's length() of a text ends before the first NUL."""
    monkeypatch.setattr(requests, "_RESUME_FILES", 9_000)
    world = MemoryWorld.of(2)
    many = [hook_request("x1", resume_file=first + "x" * 5000, at=number) for number in range(6)]
    for number, one in enumerate(many):
        world.journal.add_request(one, world.clock.now() + number)
    long = hook_request(f"n1,{first}" + "x" * 50_000, Mode.SUSPEND, at=world.clock.now())
    world.journal.add_request(long, world.clock.now())
    world.run(30)
    world.journal.purge(0.0)
    kept = world.journal._rows("SELECT id FROM requests WHERE resume_file <> ''")
    assert [row["id"] for row in kept] == [many[-1].id]
    age(world.journal, 8)
    assert len(world.journal.request(long.id).hostlist) <= 1000  # type: ignore[union-attr]
    ((size,),) = world.journal._rows("SELECT length(CAST(hostlist AS BLOB)) FROM requests")
    assert size <= 1000


def test_half_a_character_is_journalled_and_refused_like_any_other_nonsense() -> None:
    world = MemoryWorld.of(2)
    one = hook_request("n1,n\ud800", resume_file="\udfff", at=world.clock.now())
    assert world.journal.add_request(one, world.clock.now())
    world.run(1)
    ((part, _),) = world.journal.refusals(one.id)
    assert "ud800" in part and world.journal.operations_of(one.id)


def test_ids_of_operations_do_not_run_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """There are 16 million short ones."""
    journal = SqliteJournal(":memory:")
    monkeypatch.setattr(
        "secrets.token_hex", lambda size: "ab" * 3 if size == 3 else uuid.uuid4().hex[: 2 * size]
    )
    ids = {journal.new_operation("r", f"n{number}", Mode.RESUME, "checking", 1.0).id for number in range(5)}
    assert len(ids) == 5
