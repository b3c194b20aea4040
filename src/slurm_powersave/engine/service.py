"""`engine run`: the lock, the journal, the intake and the loop, until somebody ends it."""

import logging
import shutil
import threading
import time
from pathlib import Path

from slurm_powersave.adapters import connect
from slurm_powersave.adapters.journal import SqliteJournal
from slurm_powersave.adapters.lock import EngineLock
from slurm_powersave.decide.settings import Cluster
from slurm_powersave.engine.engine import Engine
from slurm_powersave.engine.intake import Pump
from slurm_powersave.engine.watch import Watch
from slurm_powersave.engine.world import World
from slurm_powersave.model.errors import ConfigError

log = logging.getLogger("slurm_powersave")


def _sweep(cluster: Cluster, journal: SqliteJournal) -> None:
    """Remove the directories of runs that a killed engine left and nobody adopts: plans hold user data."""
    kept = {Path(run.record.directory) for run in journal.runs()}
    for directory in cluster.layout.runs.glob("*"):
        if directory not in kept:
            shutil.rmtree(directory, ignore_errors=True)


class WallClock:
    """Implements ports.Clock with the host's clock."""

    def wall(self) -> float:
        """Return seconds since the epoch."""
        return time.time()

    def monotonic(self) -> float:
        """Return seconds that never jump."""
        return time.monotonic()

    def boot(self) -> str:
        """Return the kernel's name for this boot (random(4))."""
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def run(cluster: Cluster, stop: threading.Event) -> None:
    """Serve a cluster until `stop` is set. What runs in Terraform and Ansible then goes on without us.

    Raises:
        ConfigError: the cluster was never deployed.
        LockedError: another engine serves it.
        MissingToolError: Terraform is absent or too old.
    """
    layout = cluster.layout
    if not layout.private_key.exists():
        raise ConfigError(
            "this cluster was never deployed", where=str(layout.root), todo="Run: slurm-powersave deploy"
        )
    lock = EngineLock(layout.lock)
    journal = SqliteJournal(layout.journal)
    watch = Watch(cluster, "", lambda: {r.node.cloud for r in journal.node_records().values() if r.server_id})
    try:
        version = connect.command(cluster).check()
        log.info("engine of cluster %s runs; terraform %s", cluster.cluster_name, version)
        while not stop.is_set():
            _serve(watch, journal, lock, stop)
    finally:
        journal.close()
        lock.release()
        log.info("engine of cluster %s has ended", cluster.cluster_name)


def _serve(watch: Watch, journal: SqliteJournal, lock: EngineLock, stop: threading.Event) -> None:
    """Serve with what the cluster file holds, until `stop` is set or it holds something else.

    The next engine takes over what this one has under way, as it does after a crash.
    """
    cluster, clock, wake = watch.cluster, WallClock(), threading.Event()
    world = World(
        cluster,
        journal,
        connect.slurm(cluster),
        connect.terraform(cluster),
        connect.playbooks(cluster),
        connect.clouds(cluster),
        clock,
    )
    engine = Engine(world)
    _sweep(cluster, journal)
    with connect.intake(cluster) as intake:
        pump = Pump(intake, intake.wake, journal, clock, wake, lambda: lock.tell(intake.state()))
        pump.start()
        try:
            engine.run(wake, _Until(stop, watch, lock))
        finally:
            pump.stop()


class _Until:
    """Set when the engine is to stop, or the cluster file has changed."""

    def __init__(self, stop: threading.Event, watch: Watch, lock: EngineLock) -> None:
        self._stop, self._watch, self._lock = stop, watch, lock

    def is_set(self) -> bool:
        """Look at both."""
        if self._stop.is_set() or self._watch.changed(time.monotonic()):
            return True
        self._lock.tell_file(self._watch.content)
        return False
