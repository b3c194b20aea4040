"""The service around the engine: real threads, a real stream, a real journal; errors end neither of them."""

import errno
import gc
import os
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from slurm_powersave import wiring
from slurm_powersave.adapters.journal.sqlite import SqliteJournal
from slurm_powersave.adapters.requests.stream import StreamIntake
from slurm_powersave.adapters.state_dir import lock
from slurm_powersave.commands import serve
from slurm_powersave.config.settings import Cluster
from slurm_powersave.engine.intake import Pump
from slurm_powersave.engine.loop import Engine
from slurm_powersave.model.errors import ConfigError, JournalError
from slurm_powersave.model.modes import Mode
from slurm_powersave.model.nodes import Request
from slurm_powersave.model.timing import Timing
from tests.unit.commands.service import QUICK, Running, connect_to_memory, connected, end_readers, lay_out
from tests.waiting import within


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """One whose outside is in memory, but for the stream of requests."""
    cluster = lay_out(tmp_path)
    connect_to_memory(cluster, monkeypatch.setattr)
    return cluster


@pytest.fixture
def running(cluster: Cluster) -> Iterator[Running]:
    found = Running(cluster)
    yield found
    found.close()


def test_errors_of_a_step_end_the_engine_and_not_the_service(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert within(10, lambda: connected(running))
    step, left = Engine.step, [3]

    def fail(self: Engine) -> None:
        if left[0]:
            left[0] -= 1
            raise OSError(errno.ENOSPC, "No space left on device")
        step(self)

    monkeypatch.setattr(Engine, "step", fail)
    assert within(20, lambda: running.told().get("errors") == 3 and not running.told().get("trouble"))
    assert within(10, lambda: connected(running))


def test_status_says_what_it_waits_for_and_that_requests_can_not_come(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = Running(cluster, Timing(error_pause_first=60.0, error_pause_longest=60.0))

    def fail(self: Engine) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    try:
        assert within(10, lambda: connected(running))
        monkeypatch.setattr(Engine, "step", fail)
        assert within(10, lambda: "No space left" in str(running.told().get("trouble")))
        assert running.told()["intake"] == "not connected: the engine begins anew"
    finally:
        running.close()


@pytest.mark.parametrize("kind", ["full", "malformed", "a mistake"])
def test_an_intake_that_has_ended_begins_anew(
    running: Running, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    assert within(10, lambda: connected(running))
    look, left = Pump._look, [1]

    def fail(self: Pump) -> None:
        if left and left.pop():
            raise {
                "full": OSError(errno.ENOSPC, "No space left on device"),
                "malformed": JournalError("database disk image is malformed"),
                "a mistake": KeyError("x"),
            }[kind]
        look(self)

    before = [thread for thread in threading.enumerate() if thread.name == "intake"]
    monkeypatch.setattr(Pump, "_look", fail)
    assert within(10, lambda: running.told().get("errors") == 1)
    assert within(10, lambda: connected(running))
    after = [thread for thread in threading.enumerate() if thread.name == "intake"]
    assert len(after) == 1 and after != before


def test_an_intake_that_always_fails_is_left_alone_for_a_while_and_operations_go_on(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Pump) -> None:
        raise KeyError("x")

    with monkeypatch.context() as broken:
        broken.setattr(Pump, "_look", fail)
        running = Running(cluster, replace(QUICK, fault_rest_first=5.0))
        try:
            assert within(10, lambda: "left_alone" in running.told())
            assert running.told()["left_alone"].startswith("taking requests in (3 errors")
            assert within(5, lambda: running.told().get("intake") == "not connected: KeyError: 'x'")
            with closing(SqliteJournal(cluster.layout.journal)) as journal:
                now = time.time()
                journal.add_request(Request("by-hand", Mode.SUSPEND, "demo-1", now, "operator"), now)
                assert within(3, lambda: journal.operations_of("by-hand"))
            assert running.told()["errors"] == 3
        except BaseException:
            running.close()
            raise
    try:
        assert within(20, lambda: connected(running) and not running.told()["left_alone"])
    finally:
        running.close()


def test_a_stream_whose_thread_meets_an_error_connects_again(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert within(10, lambda: connected(running))
    hold, left = StreamIntake._hold, [1]

    def fail(self: StreamIntake) -> str:
        if left and left.pop():
            raise KeyError("x")
        return hold(self)

    monkeypatch.setattr(StreamIntake, "_hold", fail)
    # The reader is ended; the next connection meets the error, and the one after it holds.
    end_readers()
    assert within(10, lambda: not left and connected(running))
    assert running.told().get("errors") is None


def descriptors() -> int:
    gc.collect()
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize("errors", [10, pytest.param(100, marks=pytest.mark.slow)])
def test_threads_and_files_are_the_same_after_many_errors(
    running: Running, monkeypatch: pytest.MonkeyPatch, errors: int
) -> None:
    assert within(10, lambda: connected(running))
    step, left = Engine.step, [0]

    def fail(self: Engine) -> None:
        step(self)
        self._readers.submit(time.sleep, 0)
        self._guard._askers.submit(time.sleep, 0)
        if left[0]:
            left[0] -= 1
            raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(Engine, "step", fail)
    left[0] = 1
    assert within(20, lambda: running.told().get("errors") == 1 and connected(running))
    time.sleep(1.5)
    before = threading.active_count(), descriptors()
    left[0] = errors
    assert within(2 * errors + 30, lambda: running.told().get("errors") == errors + 1 and connected(running))
    assert within(10, lambda: (threading.active_count(), descriptors()) <= before), (
        before,
        (threading.active_count(), descriptors()),
    )


# Before it begins


def test_a_journal_that_can_not_be_opened_is_said_and_the_lock_given_back(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Path, *_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr(Path, "touch", full)
        with pytest.raises(JournalError, match=r"journal\.db: .*No space left") as error:
            serve.run(wiring.site(cluster), threading.Event())
    assert error.value.exit_code == 1, "which systemd starts again (Restart=on-failure)"
    assert lock.holder(cluster.layout.lock) is None


@pytest.mark.parametrize(
    ("name", "how", "said"),
    [
        ("journal.db", "garbage", "not a journal"),
        ("journal.db", "directory", "is a directory"),
        ("journal.db", "fifo", "is a FIFO"),
        ("keys/id_ed25519", "missing", "SSH key is missing"),
        ("keys/id_ed25519", "empty", "SSH key is empty"),
        ("keys/id_ed25519.pub", "missing", "public half of the control host's SSH key is missing"),
        ("keys/id_ed25519.pub", "fifo", "is a FIFO"),
        ("known_hosts", "missing", "SSH host keys is missing"),
        ("known_hosts", "directory", "SSH host keys is a directory"),
    ],
)
def test_a_file_that_is_missing_or_no_such_one_is_named_with_what_is_right(
    cluster: Cluster, name: str, how: str, said: str
) -> None:
    SqliteJournal(cluster.layout.journal).close()
    path = cluster.layout.root / name
    path.unlink()
    match how:
        case "garbage":
            path.write_bytes(b"\0garbage" * 4096)
        case "directory":
            path.mkdir()
        case "fifo":
            os.mkfifo(path)
        case "empty":
            path.touch()
    with pytest.raises(ConfigError, match=said) as error:
        serve.run(wiring.site(cluster), threading.Event())
    assert error.value.exit_code == 2 and error.value.where == str(path)
    assert "backup" in error.value.todo
