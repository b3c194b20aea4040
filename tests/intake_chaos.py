"""Many hook calls while the way from the spool to the journal is cut again and again."""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from slurm_powersave.adapters.requests.stream import StreamIntake
from slurm_powersave.model.nodes import Request
from tests.hook_scripts import HookScripts


def children(word: str, *, of: int | None = None) -> list[int]:
    """Find our child processes (or those of another one) that have this word in their command line."""
    return [pid for pid in processes(word) if _parent(pid) == (of or os.getpid())]


def _parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0


def processes(word: str) -> list[int]:
    """Find the processes that have this word in their command line."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if word.encode() in (path / "cmdline").read_bytes():
                found.append(int(path.name))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


class Journal:
    """What the engine would have recorded: an id that comes twice counts once."""

    def __init__(self) -> None:
        self.requests: dict[str, Request] = {}

    def collect(self, intake: StreamIntake, *, forget: bool) -> None:
        """Take what has come; with `forget`, "crash" between the journal and the acknowledgement."""
        intake.wake.wait(0.05)
        intake.wake.clear()
        for request_id, request in intake.receive():
            assert isinstance(request, Request), request
            self.requests[request_id] = request
            if not forget:
                intake.acknowledge(request_id)

    def nodes(self) -> list[str]:
        """Return the nodes of all requests: one twice is a request that was doubled."""
        return sorted(request.hostlist for request in self.requests.values())


class Calls:
    """The hooks that a thread calls, four at a time."""

    def __init__(self) -> None:
        self.codes: list[int] = []
        self.done = False
        self.deadline = time.monotonic() + 90


@contextmanager
def every_hook_called(hooks: HookScripts, number: int, *, pause: float = 0.0) -> Iterator[Calls]:
    """Call the resume hook for n0, n1, ... in the background, with so many seconds after every fourth."""
    calls = Calls()

    def call() -> None:
        for first in range(0, number, 4):
            some = [hooks.start("resume", f"n{node}") for node in range(first, min(first + 4, number))]
            calls.codes += [process.wait(30) for process in some]
            time.sleep(pause)
        calls.done = True

    thread = threading.Thread(target=call)
    thread.start()
    try:
        yield calls
    finally:
        thread.join()
    assert calls.codes == [0] * number


def all_delivered(hooks: HookScripts, calls: Calls) -> bool:
    """Tell whether all hooks have ended and the spool is empty."""
    return calls.done and not any(hooks.new.iterdir())
