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

    def now(self) -> float:
        """Return seconds since the epoch."""
        return time.time()


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
    clock, wake = WallClock(), threading.Event()
    try:
        version = connect.command(cluster).check()
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
            log.info("engine of cluster %s runs; terraform %s", cluster.cluster_name, version)
            try:
                engine.run(wake, stop)
            finally:
                pump.stop()
    finally:
        journal.close()
        lock.release()
        log.info("engine of cluster %s has ended", cluster.cluster_name)
