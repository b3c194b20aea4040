"""The reader and its companion that keeps the ready files, as programs with pipes."""

import base64
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.hook_scripts import SOURCES, HookScripts
from tests.waiting import within


@pytest.fixture
def hooks(tmp_path: Path) -> HookScripts:
    return HookScripts(tmp_path)


class Connection:
    """One run of the reader, spoken to directly."""

    def __init__(self, argv: list[str]) -> None:
        self.process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
        self.half = b""

    def say(self, line: str) -> None:
        """Send a line."""
        assert self.process.stdin
        self.process.stdin.write(line.encode() + b"\n")

    def next(self, seconds: float = 5.0) -> str:
        """Return the next line but pings; empty if there is none in time, or no more."""
        assert self.process.stdout
        descriptor = self.process.stdout.fileno()
        deadline = time.monotonic() + seconds
        while True:
            line, end, rest = self.half.partition(b"\n")
            if end:
                self.half = rest
                if line != b"ping":
                    return line.decode()
                continue
            if not select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))[0]:
                return ""
            chunk = os.read(descriptor, 1 << 16)
            if not chunk:
                return ""
            self.half += chunk

    def close(self) -> int:
        """Close the connection; return the reader's exit code."""
        assert self.process.stdin and self.process.stdout
        self.process.stdin.close()
        code = self.process.wait(5)
        self.process.stdout.close()
        return code


@pytest.fixture
def connect(hooks: HookScripts) -> Iterator[Callable[..., Connection]]:
    made = []

    def make(*options: str) -> Connection:
        made.append(Connection(hooks.reader(*options)))
        assert made[-1].next() == "hello 2"
        return made[-1]

    yield make
    for connection in made:
        connection.process.kill()
        connection.process.wait()
        for stream in (connection.process.stdin, connection.process.stdout):
            if stream:
                stream.close()


Connect = Callable[..., Connection]


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_a_request_is_sent_at_once_and_deleted_when_acknowledged(
    hooks: HookScripts, connect: Connect
) -> None:
    reader = connect()
    hooks.call("resume", "c1")
    (path,) = hooks.new.iterdir()
    content = path.read_bytes()
    began = time.monotonic()
    word, request_id, encoded = reader.next().split()
    assert time.monotonic() - began < 0.8  # it looks by itself every second
    assert (word, request_id, base64.b64decode(encoded)) == ("req", path.name, content)
    reader.say(f"ack {request_id}")
    assert within(2, lambda: names(hooks.new) == [])
    assert reader.close() == 0


def test_what_is_not_acknowledged_comes_again_in_order(hooks: HookScripts, connect: Connect) -> None:
    for node in ("c1", "c2", "c3"):
        hooks.call("resume", node)
    order = [request.id for request in hooks.requests()]
    first = connect()
    assert [first.next().split()[1] for _ in order] == order
    assert first.next(0.3) == ""
    first.say(f"ack {order[1]}")
    assert within(2, lambda: len(names(hooks.new)) == 2)
    first.close()
    second = connect()
    assert [second.next().split()[1] for _ in range(2)] == [order[0], order[2]]


def test_a_newer_reader_takes_over(connect: Connect) -> None:
    old = connect()
    new = connect()
    assert old.process.wait(5) == 0
    assert new.next(0.3) == ""
    assert new.process.poll() is None


def test_a_deploy_ends_the_reader_at_work(hooks: HookScripts, connect: Connect) -> None:
    old = connect()
    assert subprocess.run(hooks.reader("--end"), capture_output=True, timeout=10, check=True).stdout == b""
    assert old.process.wait(5) == 0


def test_a_reader_of_a_spool_that_is_not_there_says_so(tmp_path: Path) -> None:
    argv = [sys.executable, str(SOURCES / "reader.py"), "--spool", str(tmp_path / "none"), "--ready", ""]
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=10, check=False)
    assert done.returncode == 1
    assert b"No such file or directory" in done.stderr


def test_silence_ends_it(hooks: HookScripts) -> None:
    program = (
        f"import sys; sys.path.insert(0, {str(SOURCES)!r}); import reader\n"
        "reader.SILENCE = 0.5\nreader.main()"
    )
    reader = Connection([sys.executable, "-c", program, *hooks.reader()[2:]])
    assert reader.next() == "hello 2"
    assert reader.process.wait(5) == 0
    reader.close()


def test_without_inotify_it_looks_by_itself(hooks: HookScripts) -> None:
    program = (
        f"import sys; sys.path.insert(0, {str(SOURCES)!r}); import reader\n"
        "reader.Spool.events = lambda self: None\nreader.main()"
    )
    reader = Connection([sys.executable, "-c", program, *hooks.reader()[2:]])
    assert reader.next() == "hello 2"
    time.sleep(0.5)
    hooks.call("resume", "c1")
    began = time.monotonic()
    assert reader.next().startswith("req ")
    assert time.monotonic() - began < 0.9  # the connection alone would look every second
    reader.close()


def test_what_is_no_request_is_told_and_kept(hooks: HookScripts, connect: Connect) -> None:
    request_id = "3f2b8c1e-9d4a-4f6b-8a1c-0e5d7b9c2a3"
    (hooks.new / "not\nes.txt").write_text("hello")
    os.mkfifo(hooks.new / f"{request_id}1")
    (hooks.new / f"{request_id}2").symlink_to("/etc/passwd")
    (hooks.new / f"{request_id}3").mkdir()
    expected = names(hooks.new)
    reader = connect()
    told = sorted(base64.b64decode(reader.next().removeprefix("odd ")).decode() for _ in expected)
    assert [text.rpartition(": ")[0] for text in told] == [f"new/{name}" for name in expected]
    assert names(hooks.spool / "refused") == expected
    hooks.call("resume", "c1")
    assert reader.next().startswith("req ")


def test_a_request_that_is_refused_is_kept(hooks: HookScripts, connect: Connect) -> None:
    request_id = "3f2b8c1e-9d4a-4f6b-8a1c-0e5d7b9c2a31"
    (hooks.new / request_id).write_text("slurm-powersave-req")
    reader = connect()
    assert reader.next().startswith(f"req {request_id} ")
    reader.say(f"refuse {request_id}")
    assert within(2, lambda: names(hooks.spool / "refused") == [request_id])
    assert names(hooks.new) == []


def test_words_from_below_that_make_no_sense(hooks: HookScripts, connect: Connect) -> None:
    precious = hooks.spool / "precious"
    precious.write_text("")
    reader = connect()
    for line in ("ack ../precious", f"ack {precious}", "refuse ../precious", "sing", "", "watch", "ack"):
        reader.say(line)
    hooks.call("resume", "c1")
    assert reader.next().startswith("req ")
    assert precious.exists()


def test_what_killed_hooks_left_is_removed_after_an_hour(hooks: HookScripts, connect: Connect) -> None:
    old, young = hooks.spool / "tmp" / "old", hooks.spool / "tmp" / "young"
    for path in (old, young):
        path.write_text("half")
    os.utime(old, (time.time() - 4000,) * 2)
    connect()
    assert names(hooks.spool / "tmp") == ["young"]


def test_a_large_backlog_passes_a_slow_connection(hooks: HookScripts, connect: Connect) -> None:
    hostlist = "n" * 100_000
    for _ in range(20):
        hooks.call("resume", hostlist)
    reader = connect()
    time.sleep(0.5)
    seen = {reader.next().split()[1] for _ in range(20)}
    assert seen == set(names(hooks.new))


def answer(hooks: HookScripts, text: str, code: int = 0) -> None:
    """Let sinfo say this from now on."""
    (hooks.root / "sinfo.txt").write_text(text)
    hooks.program("sinfo", f"cat {hooks.root}/sinfo.txt; exit {code}")


def test_ready_files_follow_slurm_while_nodes_come_up(hooks: HookScripts, connect: Connect) -> None:
    (hooks.ready / "c9").touch()
    answer(hooks, "c1 idle\nc2 idle~\nc3 allocated\n")
    reader = connect()
    assert within(2, lambda: names(hooks.ready) == [])  # nothing is coming up: nobody needs them
    answer(hooks, "c1 idle\nc2 allocated#\nc3 mixed@\nc3 mixed@\nc4 down*\nc5 idle%\n../x idle\n")
    hooks.call("resume", "c2")
    assert reader.next().startswith("req ")
    assert within(3, lambda: names(hooks.ready) == ["c1", "c3"])
    answer(hooks, "c1 idle!\nc2 allocated\nc3 mixed\n")
    assert within(3, lambda: names(hooks.ready) == ["c2", "c3"])
    answer(hooks, "", code=1)
    assert within(3, lambda: names(hooks.ready) == [])


@pytest.mark.parametrize("way", ["end of file", "kill -9"])
def test_ready_files_do_not_outlive_the_reader(hooks: HookScripts, connect: Connect, way: str) -> None:
    answer(hooks, "c1 idle\n")
    reader = connect()
    hooks.call("resume", "c2")
    assert within(3, lambda: names(hooks.ready) == ["c1"])
    if way == "kill -9":
        reader.process.kill()
    reader.close()
    assert within(3, lambda: names(hooks.ready) == [])


def test_without_slurm_requests_still_come(hooks: HookScripts, connect: Connect) -> None:
    reader = connect()
    hooks.call("resume", "c1")
    assert reader.next().startswith("req ")


def test_where_fast_start_is_off_slurm_is_not_asked(hooks: HookScripts, connect: Connect) -> None:
    hooks.ready.rmdir()
    hooks.program("sinfo", f"touch {hooks.root}/asked")
    reader = connect()
    hooks.call("resume", "c1")
    assert reader.next().startswith("req ")
    time.sleep(0.5)
    assert not (hooks.root / "asked").exists()
