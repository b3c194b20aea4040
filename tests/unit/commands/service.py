"""The service in a thread, with its outside in memory but for the stream of requests."""

import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from slurm_powersave import wiring
from slurm_powersave.adapters.requests.stream import StreamIntake
from slurm_powersave.adapters.state_dir import lock
from slurm_powersave.commands import serve
from slurm_powersave.config.settings import Cluster, load
from slurm_powersave.model.timing import Timing
from slurm_powersave.testing.site import MemoryProgram, put_in
from slurm_powersave.testing.world import MemoryWorld
from tests.unit.surfaces.conftest import CLUSTER

QUICK = Timing(error_pause_first=0.01, error_pause_longest=0.02)
READER = [sys.executable, "-uc", "import sys\nprint('hello 2')\nsys.stdin.read()"]


def lay_out(place: Path) -> Cluster:
    """A cluster file and the state directory of a cluster that was deployed."""
    for directory in ("base", "nodes", "state/keys"):
        (place / directory).mkdir(parents=True)
    for name in ("keys/id_ed25519", "keys/id_ed25519.pub", "known_hosts"):
        (place / "state" / name).write_text("key\n")
    (place / "all.yml").write_text(CLUSTER)
    return load(place / "all.yml")


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

    def __init__(self, cluster: Cluster, timing: Timing = QUICK) -> None:
        self.cluster, self.stop, self._timing = cluster, threading.Event(), timing
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            serve.run(wiring.site(self.cluster), self.stop, self._timing)
        except BaseException as error:
            self.error = error

    def told(self) -> dict[str, Any]:
        """What `status` reads."""
        return lock.holder(self.cluster.layout.lock) or {}

    def close(self) -> None:
        self.stop.set()
        self._thread.join(30)
        assert not self._thread.is_alive() and self.error is None


def connected(running: Running) -> bool:
    return str(running.told().get("intake", "")).startswith("connected")


def end_readers() -> None:
    """End the process that streams."""
    for children in Path("/proc/self/task").glob("*/children"):
        for pid in children.read_text().split():
            if b"hello 2" in Path(f"/proc/{pid}/cmdline").read_bytes():
                os.kill(int(pid), signal.SIGTERM)
