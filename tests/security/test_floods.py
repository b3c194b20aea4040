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
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from slurm_powersave import wiring
from slurm_powersave.adapters.processes import process
from slurm_powersave.adapters.requests.stream import StreamIntake
from slurm_powersave.adapters.slurm.commands import ScontrolSlurm, largest_answer, local_shell
from slurm_powersave.engine.intake import Pump
from slurm_powersave.model.errors import SlurmError
from slurm_powersave.model.nodes import Request
from slurm_powersave.testing.world import MemoryWorld
from slurm_powersave.testing.world import cluster as small_cluster
from tests.hook_scripts import HookScripts
from tests.intake_chaos import processes
from tests.security.login_node import request
from tests.waiting import within

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
from slurm_powersave.adapters.processes.process import run
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

    monkeypatch.setattr(process, "run", run)
    cluster = small_cluster(4, login={"name": "n", "address": "10.0.0.2", "image": "x", "flavor": "x"})
    for connection in ("local", "ssh"):
        login = cluster.login.model_copy(update={"connection": connection})
        with pytest.raises(SlurmError):
            wiring.site(cluster.model_copy(update={"login": login})).slurm().snapshot()
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
    "pings": ("while True: out.write('ping\\n' * 1000)", "too much that is no request"),
    "unknown words": ("while True: out.write('sing a song\\n' * 1000)", "too much that is no request"),
    "empty lines": ("while True: out.write('\\n' * 1000)", "too much that is no request"),
    "the same request": (REQUEST + "two = one()\nwhile True: req(*two)", "too much that is no request"),
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
