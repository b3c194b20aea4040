"""The service around the engine: real threads, a real stream, a real journal; errors end neither of them."""

import errno
import gc
import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from slurm_powersave import wiring
from slurm_powersave.adapters.journal.sqlite import SqliteJournal
from slurm_powersave.adapters.requests.stream import StreamIntake
from slurm_powersave.adapters.state_dir import lock
from slurm_powersave.commands import serve
from slurm_powersave.config.settings import Cluster, load
from slurm_powersave.engine import faults, recovery
from slurm_powersave.engine.intake import Pump
from slurm_powersave.engine.loop import Engine
from slurm_powersave.model.errors import ConfigError, JournalError
from slurm_powersave.model.modes import Mode
from slurm_powersave.model.nodes import Request
from slurm_powersave.testing.site import MemoryProgram, put_in
from slurm_powersave.testing.world import MemoryWorld
from tests.unit.surfaces.conftest import CLUSTER
from tests.waiting import within

READER = [sys.executable, "-uc", "import sys\nprint('hello 2')\nsys.stdin.read()"]


def lay_out(place: Path) -> Cluster:
    """A cluster file and the state directory of a cluster that was deployed."""
    for directory in ("base", "nodes", "state/keys"):
        (place / directory).mkdir(parents=True)
    for name in ("keys/id_ed25519", "keys/id_ed25519.pub", "known_hosts"):
        (place / "state" / name).write_text("key\n")
    (place / "all.yml").write_text(CLUSTER)
    return load(place / "all.yml")


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """One whose outside is in memory, but for the stream of requests."""
    cluster = lay_out(tmp_path)
    connect_to_memory(cluster, monkeypatch.setattr)
    monkeypatch.setattr(recovery, "FIRST", 0.01)
    monkeypatch.setattr(recovery, "LONGEST", 0.02)
    return cluster


def connect_to_memory(cluster: Cluster, put: Callable[[object, str, object], None]) -> None:
    """Let the service find an outside in memory."""
    world = MemoryWorld(cluster)

    put_in(
        put,
        slurm=world.slurm,
        clouds={"local": world.cloud},
        terraform=world.terraform,
        terraform_program=MemoryProgram(),
        playbooks=world.playbooks,
        intake=lambda: StreamIntake(READER),
    )


class Running:
    """The service in a thread."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster, self.stop = cluster, threading.Event()
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            serve.run(wiring.site(self.cluster), self.stop)
        except BaseException as error:
            self.error = error

    def told(self) -> dict[str, Any]:
        """What `status` reads."""
        return lock.holder(self.cluster.layout.lock) or {}

    def close(self) -> None:
        self.stop.set()
        self._thread.join(30)
        assert not self._thread.is_alive() and self.error is None


@pytest.fixture
def running(cluster: Cluster) -> Iterator[Running]:
    found = Running(cluster)
    yield found
    found.close()


def connected(running: Running) -> bool:
    return str(running.told().get("intake", "")).startswith("connected")


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
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert within(10, lambda: connected(running))
    monkeypatch.setattr(recovery, "FIRST", 60.0)
    monkeypatch.setattr(recovery, "LONGEST", 60.0)

    def fail(self: Engine) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Engine, "step", fail)
    assert within(10, lambda: "No space left" in str(running.told().get("trouble")))
    assert running.told()["intake"] == "not connected: the engine begins anew"


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
    monkeypatch.setattr(faults, "FIRST_BACKOFF", 5.0)

    def fail(self: Pump) -> None:
        raise KeyError("x")

    with monkeypatch.context() as broken:
        broken.setattr(Pump, "_look", fail)
        running = Running(cluster)
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


_SHORT_OF_FILES = """
import json, os, resource, sys, threading, time
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from tests.unit.commands import test_serve as here
from slurm_powersave.engine import recovery

cluster = here.lay_out(Path(sys.argv[1]))
here.connect_to_memory(cluster, setattr)
recovery.FIRST, recovery.LONGEST = 0.05, 0.2
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
running = here.Running(cluster)
assert here.within(20, lambda: here.connected(running)), running.told()
taken = []
try:
    while True:
        taken.append(os.open("/dev/null", os.O_RDONLY))
except OSError:
    pass
# The engine's own connections are closed, too: what the stream needs for another one is not there.
os.close(taken.pop())
here.end_readers()
time.sleep(3)
for one in taken:
    os.close(one)
assert here.within(30, lambda: here.connected(running)), running.told()
print(json.dumps(running.told()))
running.close()
"""


def end_readers() -> None:
    """End the process that streams."""
    for children in Path("/proc/self/task").glob("*/children"):
        for pid in children.read_text().split():
            if b"hello 2" in Path(f"/proc/{pid}/cmdline").read_bytes():
                os.kill(int(pid), signal.SIGTERM)


def test_an_engine_that_has_no_files_left_for_a_while(tmp_path: Path) -> None:
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-c", _SHORT_OF_FILES, str(tmp_path), str(root)],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=root,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout.splitlines()[-1])["intake"].startswith("connected")
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] != 64


_FULL_DISK = """
import json, os, sys, time, uuid
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from tests.unit.commands import test_serve as here
from slurm_powersave.adapters.journal.sqlite import SqliteJournal
from slurm_powersave.engine import recovery
from slurm_powersave.model.modes import Mode
from slurm_powersave.model.nodes import Request

place = Path(sys.argv[1])
cluster = here.lay_out(place)
here.connect_to_memory(cluster, setattr)
recovery.FIRST, recovery.LONGEST = 0.05, 0.5
running = here.Running(cluster)
assert here.within(30, lambda: here.connected(running)), running.told()
journal = SqliteJournal(cluster.layout.journal)
journal.add_request(Request("first", Mode.RESUME, "demo-[1-4],nobody", time.time(), "operator"), time.time())
with (place / "filler").open("wb", buffering=0) as filler:
    try:
        while True:
            filler.write(b"x" * 4096)
    except OSError as error:
        assert error.errno == 28
    assert here.within(30, lambda: running.told().get("trouble")), running.told()
    said = running.told()["trouble"]
    time.sleep(2)
    filler.truncate(0)
assert here.within(30, lambda: not running.told().get("trouble")), running.told()
assert here.within(30, lambda: here.connected(running)), running.told()
assert here.within(30, lambda: journal.operations_of("first")), "the request is planned"
print(json.dumps({"said": said, "told": running.told()}))
running.close()
"""


@pytest.mark.root
def test_a_disk_that_is_full_for_a_while(tmp_path: Path) -> None:
    """A small disk of its own, in a mount namespace that nobody else sees."""
    root = Path(__file__).parents[3]
    mounted = 'mount -t tmpfs -o size=1m none "$1" && exec "$2" -c "$3" "$1" "$4"'
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", mounted, "sh", str(tmp_path), sys.executable, _FULL_DISK, str(root)],
        capture_output=True,
        text=True,
        timeout=180,
        cwd=root,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "full" in done.stdout or "No space" in done.stdout or "I/O error" in done.stdout, done.stdout
