"""Another host that says too much, for ever, or again and again: memory, disk, log and time stay bounded."""

import base64
import logging
import resource
import select
import subprocess
import sys
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from slurm_powersave.adapters import connect, journal_requests, process
from slurm_powersave.adapters.journal import SqliteJournal
from slurm_powersave.adapters.slurm import ScontrolSlurm, largest_answer, local_shell
from slurm_powersave.adapters.stream import StreamIntake
from slurm_powersave.engine.intake import Bounds, Pump, pump
from slurm_powersave.model.errors import SlurmError
from slurm_powersave.model.modes import Mode
from slurm_powersave.model.nodes import Request
from slurm_powersave.testing.world import MemoryWorld
from slurm_powersave.testing.world import cluster as small_cluster
from tests.hook_scripts import HookScripts
from tests.intake_chaos import processes
from tests.security.login_node import request


def within(seconds: float, condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


# The output of a process

ENDLESS = {
    "zeros": "cat /dev/zero",
    "zeros as errors": "cat /dev/zero >&2",
    "lines": "yes NodeName=n1",
    "a child that has left the group": "setsid cat /dev/zero",
    "one that does not mind being interrupted": "trap '' INT TERM PIPE HUP; cat /dev/zero",
}
MEASURE = """
import resource, sys, time
from slurm_powersave.adapters.process import run
before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
done = run(["sh", "-c", sys.argv[1]], timeout=20, limit=8 << 20)
grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024
print(done.rc, done.too_much, len(done.out), grown, time.process_time() - began)
"""


@pytest.mark.parametrize("script", ENDLESS.values(), ids=ENDLESS.keys())
def test_an_endless_output_costs_some_mebibytes_and_a_moment(script: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, script], capture_output=True, text=True, timeout=60, check=True
    )
    code, too_much, kept, grown, seconds = done.stdout.split()
    assert (code, too_much, kept) == ("None", "True", "0")
    assert int(grown) < 32 and float(seconds) < 1


def zombies() -> int:
    """Count the children of this process that nobody has waited for; other tests may have left some."""
    argv = ["ps", "-o", "stat=", "--ppid", str(process.os.getpid())]
    return subprocess.run(argv, capture_output=True, check=False).stdout.count(b"Z")


def test_the_child_is_killed_and_reaped() -> None:
    before = zombies()
    word = f"zero-{uuid.uuid4()}"
    script = f"exec -a {word} cat /dev/zero"
    assert process.run(["bash", "-c", script], timeout=20, limit=1 << 20).too_much
    assert within(2, lambda: processes(word) == [])
    assert zombies() <= before


def test_words_that_come_one_by_one_do_not_put_off_the_time_limit() -> None:
    began = time.monotonic()
    done = process.run(["sh", "-c", "while :; do echo x; sleep 0.05; done"], timeout=0.5)
    assert done.rc is None and "no answer within 0.5 s" in done.err and time.monotonic() - began < 3


@pytest.fixture
def bin_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Put programs before those of the system."""
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    def put(name: str, body: str) -> None:
        (tmp_path / name).write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / name).chmod(0o755)

    for name in ("scontrol", "squeue", "sinfo"):
        put(name, ":")
    return put


PROGRAMS = [
    ("scontrol", "cat /dev/zero"),
    ("scontrol", "yes 'NodeName=n1 State=IDLE ThreadsPerCore=1'"),
    ("squeue", "cat /dev/zero"),
    ("squeue", "yes '7|RUNNING|n[1-60000]|x'"),
    ("sinfo", "cat /dev/zero"),
    ("scontrol", "printf 'NodeName=n1 '; head -c 3000000 /dev/zero | tr '\\0' A; echo"),
    ("scontrol", "sleep 60"),
]


@pytest.mark.parametrize(("program", "body"), PROGRAMS)
def test_a_login_node_whose_programs_lie(
    bin_first: Callable[[str, str], None], program: str, body: str
) -> None:
    bin_first(program, body)
    shell = local_shell(lambda argv, timeout: process.run(argv, timeout=timeout, limit=largest_answer(4)))
    slurm = ScontrolSlurm(shell, timeout=2.0, known=("n1", "n2", "n3", "n4"))
    began, before = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(2):
        try:
            snapshot = slurm.snapshot()
        except SlurmError:
            continue
        assert not snapshot.nodes
    assert time.monotonic() - began < 20
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024 < 120


def test_the_real_connection_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the engine uses, not what a test has put together."""
    asked: list[int] = []

    def run(argv: Sequence[str], *, timeout: float, limit: int = 1 << 60) -> process.Completed:
        asked.append(limit)
        return process.Completed(None, "", "no")

    monkeypatch.setattr(connect, "run", run)
    cluster = small_cluster(4, login={"name": "n", "address": "10.0.0.2", "image": "x", "flavor": "x"})
    for connection in ("local", "ssh"):
        login = cluster.login.model_copy(update={"connection": connection})
        with pytest.raises(SlurmError):
            connect.slurm(cluster.model_copy(update={"login": login})).snapshot()
    assert asked and max(asked) <= 9 << 20


# The stream


def scripted(body: str) -> list[str]:
    """Return the argv of a reader that does what is given."""
    start = "import sys, time, base64, uuid\nout = sys.stdout\nout.write('hello 2\\n')\n"
    return [sys.executable, "-uc", start + body]


REQUEST = (
    "def req(name, text):\n"
    "    out.write('req %s %s\\n' % (name, base64.b64encode(text.encode()).decode()))\n"
    "def one(size=0):\n"
    "    name = str(uuid.uuid4())\n"
    "    lines = ['slurm-powersave-request 1', 'id ' + name, 'mode resume', 'time 1.0']\n"
    "    lines += ['argc 1', 'argv bjE=']\n"
    "    if size: lines.append('resume_file ' + base64.b64encode(b'x' * size).decode())\n"
    "    return name, '\\n'.join(lines + ['end', ''])\n"
)


def test_requests_without_end_wait_on_the_other_side(tmp_path: Path) -> None:
    count = tmp_path / "count"
    note = f"open({str(count)!r}, 'a').write('.')"
    body = f"{REQUEST}n = 0\nwhile True:\n    req(*one())\n    n += 1\n    {note}\n"
    with StreamIntake(scripted(body)) as intake:
        assert intake.wake.wait(10)
        assert within(10, lambda: len(intake._pending) >= 128)

        def at_rest() -> bool:
            before = (len(intake._pending), count.stat().st_size)
            time.sleep(1)
            return (len(intake._pending), count.stat().st_size) == before

        assert within(20, at_rest) and len(intake._pending) < 1500
        assert intake.connected
        for request_id, _ in intake.receive():
            intake.acknowledge(request_id)
        assert within(10, lambda: len(intake._pending) >= 128), "it goes on when there is room"


def test_large_requests_without_end_are_bounded_in_bytes() -> None:
    with StreamIntake(scripted(f"{REQUEST}while True: req(*one(1000000))\n")) as intake:
        assert intake.wake.wait(10)
        time.sleep(1.5)
        held = sum(size for _, size in intake._pending.values())
        assert 4 << 20 < held < 16 << 20 and intake.connected
        assert all(len(one.resume_file) <= 1 << 20 for _, one in intake.receive() if isinstance(one, Request))


FLOODS = {
    "pings": ("while True: out.write('ping\\n' * 1000)", "talks too much"),
    "unknown words": ("while True: out.write('sing a song\\n' * 1000)", "talks too much"),
    "empty lines": ("while True: out.write('\\n' * 1000)", "talks too much"),
    "the same request": (REQUEST + "two = one()\nwhile True: req(*two)", "talks too much"),
    "a line without an end": ("while True: out.write('req ' + 'x' * 65536)", "a line of more than"),
    "another line without an end": ("while True: out.write('x' * 65536)", "a line of more than"),
    "a number of 5,000 digits": ("out.write('req ' + '9' * 5000 + ' x\\n')\ntime.sleep(9)", "no id"),
    "no id": ("out.write('req ../../etc/passwd aGk=\\n')\ntime.sleep(9)", "no id"),
}


@pytest.mark.parametrize(("body", "why"), FLOODS.values(), ids=FLOODS.keys())
def test_a_reader_that_only_makes_work_is_left_alone_for_longer_and_longer(
    body: str, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with caplog.at_level(logging.INFO), StreamIntake(scripted(body), backoff=0.2, silence=2.0) as intake:
        states = set()
        assert within(15, lambda: states.add(intake.state()) or any(why in one for one in states)), states
        time.sleep(2)
    assert len([one for one in caplog.records if "intake connected" in one.getMessage()]) < 9
    assert len(caplog.records) < 60 and all(len(one.getMessage()) < 1500 for one in caplog.records)
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024 < 64


def test_complaints_without_end_do_not_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    body = "while True: sys.stderr.write('slurm-powersave reader: hello\\n' * 100)"
    with caplog.at_level(logging.INFO), StreamIntake(scripted(body)) as intake:
        assert within(5, lambda: intake.connected)
        time.sleep(2)
    assert len(caplog.records) < 40


def test_what_is_no_request_without_end_does_not_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    word = base64.b64encode(b"new/x\n\x1b[2J: " + b"y" * 5000).decode()
    world = MemoryWorld.of(1)
    with (
        caplog.at_level(logging.INFO),
        StreamIntake(scripted(f"while True: out.write('odd {word}\\n')")) as intake,
    ):
        thread = Pump(intake, intake.wake, world.journal, world.clock, threading.Event())
        thread.start()
        time.sleep(1.5)
        thread.stop()
    assert len(caplog.records) < 60 and all(len(one.getMessage()) < 1000 for one in caplog.records)


# From the reader's side: the window


@pytest.fixture
def hooks(tmp_path: Path) -> HookScripts:
    return HookScripts(tmp_path)


def fill(hooks: HookScripts, number: int) -> list[str]:
    """Leave so many requests in the spool; return their ids."""
    made = [request(f"n{index}") for index in range(number)]
    for name, text in made:
        (hooks.new / name).write_text(text)
    return [name for name, _ in made]


def test_a_reader_sends_64_ahead_and_the_rest_stays_on_disk(hooks: HookScripts) -> None:
    names, acknowledged = fill(hooks, 1000), list[str]()
    child = subprocess.Popen(hooks.reader(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdin and child.stdout
        assert child.stdout.readline() == "hello 2\n"
        seen: list[str] = []
        while len(seen) < 1000:
            line = child.stdout.readline()
            if line.startswith("req "):
                seen.append(line.split()[1])
            if len(seen) == len(acknowledged) + 64:
                # Nothing more comes before an acknowledgement.
                assert not select.select([child.stdout], [], [], 0.3)[0]
                child.stdin.write("".join(f"ack {name}\n" for name in seen[len(acknowledged) :]))
                child.stdin.flush()
                acknowledged = list(seen)
        assert sorted(seen) == sorted(names)
    finally:
        child.kill()
        child.wait()


def test_a_resume_file_of_an_older_hook_is_cut_and_its_request_served(hooks: HookScripts) -> None:
    name, text = request()
    large = base64.b64encode(b'{"jobs":[' + b"x" * (7 << 20)).decode()
    (hooks.new / name).write_text(text.replace("end\n", f"resume_file {large}\nend\n"))
    with StreamIntake(hooks.reader()) as intake:
        assert intake.wake.wait(10)
        ((request_id, got),) = intake.receive()
    assert request_id == name and isinstance(got, Request)
    assert got.hostlist == "n1" and (1 << 20) - 10 <= len(got.resume_file) <= 1 << 20


def test_a_hook_keeps_the_first_mebibyte_of_a_resume_file(hooks: HookScripts, tmp_path: Path) -> None:
    (tmp_path / "resume").write_text("x" * (3 << 20))
    assert hooks.call("resume", "n1", env={"SLURM_RESUME_FILE": str(tmp_path / "resume")}) == 0
    (got,) = hooks.requests()
    assert got.resume_file == "x" * (1 << 20)


# From the journal on


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
    monkeypatch.setattr(journal_requests, "_RESUME_FILES", 9_000)
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
