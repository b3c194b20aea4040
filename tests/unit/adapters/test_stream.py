"""The stream with a reader of this host: what ssh adds is tested in tests/contract."""

import base64
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from slurm_powersave.adapters.requests.stream import StreamIntake
from slurm_powersave.model.modes import Mode
from slurm_powersave.model.nodes import Request
from tests.hook_scripts import HookScripts
from tests.intake_chaos import Journal, all_delivered, children, every_hook_called
from tests.waiting import within

ID = "3f2b8c1e-9d4a-4f6b-8a1c-0e5d7b9c2a31"


@pytest.fixture
def hooks(tmp_path: Path) -> HookScripts:
    return HookScripts(tmp_path)


@pytest.fixture
def intake(hooks: HookScripts) -> Iterator[StreamIntake]:
    with StreamIntake(hooks.reader()) as stream:
        yield stream


def scripted(*lines: str, then: str = "sys.stdin.read()") -> list[str]:
    """Return the argv of a reader that says these lines and then does what is given."""
    return [sys.executable, "-uc", f"import sys, time\nprint({chr(10).join(lines)!r})\n{then}"]


def test_a_closed_stream_leaves_no_thread_and_no_descriptor(hooks: HookScripts) -> None:
    before = threading.active_count(), len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        with StreamIntake(hooks.reader()) as stream:
            assert within(5, lambda: stream.connected)  # called at once
    assert (threading.active_count(), len(os.listdir("/proc/self/fd"))) == before


def test_a_thread_that_has_ended_is_not_called_connected(hooks: HookScripts) -> None:
    with StreamIntake(hooks.reader()) as stream:
        assert within(5, lambda: stream.connected)
    stream._since = time.time()
    assert stream.state() == "not connected: the thread that listens has ended"


def test_a_call_arrives_and_leaves_the_spool(hooks: HookScripts, intake: StreamIntake) -> None:
    assert within(5, lambda: intake.connected)
    assert "connected since" in intake.state()
    hooks.call("suspend", "c[1-3]")
    assert intake.wake.wait(5)
    ((request_id, request),) = intake.receive()
    assert isinstance(request, Request)
    assert (request.id, request.mode, request.hostlist) == (request_id, Mode.SUSPEND, "c[1-3]")
    assert len(hooks.requests()) == 1
    intake.acknowledge(request_id)
    assert within(2, lambda: hooks.requests() == [])
    assert intake.receive() == []


def test_what_was_given_out_is_not_given_again_when_the_reader_comes_back(
    hooks: HookScripts, intake: StreamIntake
) -> None:
    hooks.call("resume", "c1")
    assert intake.wake.wait(5)
    ((request_id, _),) = intake.receive()
    (reader,) = children("reader.py")
    os.kill(reader, signal.SIGKILL)
    assert within(5, lambda: children("reader.py") not in ([], [reader]) and intake.connected)
    hooks.call("resume", "c2")
    found: list[tuple[str, Request | str]] = []
    assert within(5, lambda: bool(found.extend(intake.receive()) or found))
    assert [request.hostlist for _, request in found if isinstance(request, Request)] == ["c2"]
    intake.acknowledge(request_id)
    assert within(2, lambda: len(hooks.requests()) == 1)


def test_an_acknowledgement_that_got_lost_is_given_again(hooks: HookScripts) -> None:
    hooks.call("resume", "c1")
    (path,) = hooks.new.iterdir()
    line = f"req {path.name} {base64.b64encode(path.read_bytes()).decode()}"
    log = hooks.root / "log"
    # Every connection sends the same request, hears one line, and ends.
    argv = scripted("hello 2", line, then=f"open({str(log)!r}, 'a').write(sys.stdin.readline())")
    with StreamIntake(argv, backoff=0.01) as intake:
        assert intake.wake.wait(5)
        ((request_id, _),) = intake.receive()
        intake.acknowledge(request_id)
        assert within(10, lambda: log.exists() and log.read_text().count(f"ack {path.name}\n") >= 2)
        assert intake.receive() == []


def test_what_is_no_request_is_told_and_kept(hooks: HookScripts, intake: StreamIntake) -> None:
    (hooks.spool / "tmp" / ID).write_text("slurm-powersave-request 1\nid")
    (hooks.spool / "tmp" / "notes.txt").write_text("hello")
    for name in (ID, "notes.txt"):
        (hooks.spool / "tmp" / name).rename(hooks.new / name)
    found: dict[str, Request | str] = {}
    assert within(5, lambda: found.update(intake.receive()) or len(found) == 2)
    assert "truncated" in str(found.pop(ID))
    ((odd, text),) = found.items()
    assert "new/notes.txt" in str(text)
    intake.acknowledge(ID)
    intake.acknowledge(odd)
    kept = hooks.spool / "refused"
    assert within(2, lambda: sorted(path.name for path in kept.iterdir()) == [ID, "notes.txt"])


@pytest.mark.parametrize(
    ("argv", "why"),
    [
        (["/no/such/ssh"], "can't be run: No such file"),
        (
            [sys.executable, "-c", "import sys; sys.exit('Permission denied (publickey).')"],
            "Permission denied",
        ),
        (scripted("hello 3"), "the reader speaks version 3"),
        (scripted("hello 2", "req ../../x aaaa"), "what is no id: ../../x"),
        (scripted("hello 2", f"req {ID} a"), "what is no base64"),
        (scripted("hello 2", "odd é"), "what is no base64"),
        (scripted("hello 2"), "not a word for 1 s"),
        (scripted("Welcome", then="\nwhile True: time.sleep(0.2); print('noise')"), "no hello"),
        (
            scripted("hello 2", then="sys.stdout.write('x' * (40 << 20)); sys.stdout.flush()"),
            "a line of more than",
        ),
    ],
)
def test_a_reader_that_misbehaves_is_told(argv: list[str], why: str) -> None:
    said = set()
    with StreamIntake(argv, silence=1.0, backoff=0.5) as intake:
        assert within(10, lambda: said.add(intake.state()) or any(why in state for state in said)), said
        assert intake.receive() == []


def test_an_older_reader_serves_and_is_named() -> None:
    """It runs as root: the next deploy replaces it."""
    with StreamIntake(scripted("hello 1")) as intake:
        assert within(5, lambda: intake.connected)
        assert "older version" in intake.state() and "slurm-powersave deploy" in intake.state()


def test_a_shells_greeting_is_ignored(hooks: HookScripts) -> None:
    argv = ["/bin/sh", "-c", 'echo "Welcome to login"; echo; exec "$@"', "sh", *hooks.reader()]
    with StreamIntake(argv) as intake:
        assert within(5, lambda: intake.connected)


def test_attempts_get_rarer_up_to_a_bound(hooks: HookScripts) -> None:
    log = hooks.root / "attempts"
    with StreamIntake(["/bin/sh", "-c", f"echo >>{log}"], backoff=0.02, longest_backoff=0.3):
        time.sleep(2.5)
    attempts = log.read_text().count("\n")
    assert 2.5 / 0.35 * 0.6 <= attempts <= 25


def test_closing_ends_the_reader_and_loses_nothing(hooks: HookScripts) -> None:
    with StreamIntake(hooks.reader()) as intake:
        assert within(5, lambda: intake.connected)
        hooks.call("resume", "c1")
        assert intake.wake.wait(5)
    assert children("reader.py") == []
    assert len(hooks.requests()) == 1


def test_200_calls_through_everything_that_can_be_killed(hooks: HookScripts, tmp_path: Path) -> None:
    dice = random.Random(3)
    journal = Journal()
    kills = lives = 0
    with every_hook_called(hooks, 200) as calls:
        while not all_delivered(hooks, calls):
            lives += 1
            with StreamIntake(hooks.reader(), backoff=0.02, longest_backoff=0.1) as intake:
                until = time.monotonic() + dice.uniform(0.3, 0.8)
                while time.monotonic() < until:
                    journal.collect(intake, forget=dice.random() < 0.2)
                    if dice.random() < 0.1:
                        for reader in children("reader.py"):
                            os.kill(reader, signal.SIGKILL)
                            kills += 1
            assert time.monotonic() < calls.deadline, "not all were delivered in time"
    assert journal.nodes() == sorted(f"n{number}" for number in range(200))
    assert (lives, kills) > (2, 2)
