"""`engine run`: the lock, the journal, the intake and the loop, until somebody ends it."""

import gc
import logging
import threading
import time
from contextlib import ExitStack
from pathlib import Path

from slurm_powersave.commands import deployed
from slurm_powersave.commands.command_history import engine_took
from slurm_powersave.commands.unrecorded import records
from slurm_powersave.commands.watch_file import Watch
from slurm_powersave.engine.faults import Faults
from slurm_powersave.engine.intake import Pump
from slurm_powersave.engine.loop import Engine
from slurm_powersave.engine.recovery import Recovery
from slurm_powersave.engine.world import World
from slurm_powersave.model.timing import USUAL, Timing
from slurm_powersave.ports.journal import Runs
from slurm_powersave.ports.lease import StatusRecord
from slurm_powersave.ports.site import Site
from slurm_powersave.ports.state_store import StateStore

log = logging.getLogger("slurm_powersave")

_INTAKE = "taking requests in"


def _sweep(store: StateStore, journal: Runs) -> None:
    """Remove the directories of runs that a killed engine left and nobody adopts: plans hold user data."""
    store.sweep_runs({Path(run.record.directory) for run in journal.runs()})


def run(site: Site, stop: threading.Event, timing: Timing = USUAL) -> None:
    """Serve a cluster until `stop` is set. What runs in Terraform and Ansible then goes on without us.

    An error that no step expects ends neither this nor what it serves: see engine/recovery.py.

    Raises:
        ConfigError: the cluster was never deployed, or a file of its state directory is missing or damaged.
        JournalError: the journal can't be opened.
        LockedError: another engine serves it.
        MissingToolError: Terraform is absent or too old.
    """
    cluster, layout = site.cluster, site.cluster.layout
    if not layout.private_key.exists():
        deployed.require(layout, [layout.journal])  # with one of them it was, and what is missing is named
    lock = site.engine_lease().take()
    try:
        site.own_files().refuse()
        with site:
            site.journal()
        version = site.terraform_program().check()
        log.info("engine of cluster %s runs; terraform %s", cluster.cluster_name, version)
        watch = Watch(site, "", lambda: _clouds_in_use(site), engine_took)
        recovery = Recovery(time.monotonic, lock.tell_trouble, lock.tell_left_alone, timing)
        while not stop.is_set():
            _serve_on(watch, lock, stop, recovery, timing)
    finally:
        lock.release()
        log.info("engine of cluster %s has ended", cluster.cluster_name)


def _clouds_in_use(site: Site) -> set[str]:
    with site:
        return {record.node.cloud for record in records(site).values() if record.server_id}


def _serve_on(
    watch: Watch, lock: StatusRecord, stop: threading.Event, recovery: Recovery, timing: Timing
) -> None:
    """Serve; after an error wait until there is to be another engine."""
    pause = 0.0
    try:
        _serve(watch, lock, stop, recovery, timing)
    except Exception as error:
        pause = recovery.met(error)
    if pause:
        # The traceback has held what the engine was made of; its connections are closed before the next one.
        gc.collect()
        stop.wait(pause)


def _serve(
    watch: Watch, lock: StatusRecord, stop: threading.Event, recovery: Recovery, timing: Timing
) -> None:
    """Serve with what the cluster file holds, until `stop` is set or it holds something else.

    The next engine takes over what this one has under way, as it does after a crash.
    """
    wake = threading.Event()
    with ExitStack() as held:
        site = held.enter_context(watch.site.anew(watch.cluster))
        cluster, journal, store = site.cluster, site.journal(), site.store()
        world = World(
            cluster,
            journal,
            site.slurm(),
            site.terraform(),
            site.playbooks(),
            site.clouds(),
            site.clock,
            store,
            timing,
        )
        engine = Engine(world, recovery.faults)
        held.callback(engine.close)
        _sweep(store, journal)
        pumps: list[Pump] = []
        recovery.faults.tried(_INTAKE, lambda: pumps.append(_pump(held, lock, site, world, wake)))
        until = _Until(stop, watch, lock, recovery.faults, next(iter(pumps), None))
        engine.run(wake, until, recovery.works)


def _pump(held: ExitStack, lock: StatusRecord, site: Site, world: World, wake: threading.Event) -> Pump:
    """Begin to take requests in."""
    intake = held.enter_context(site.intake())
    pump = Pump(
        intake,
        intake.wake,
        world.journal,
        world.clock,
        wake,
        lambda: lock.tell(intake.state()),
        world.timing,
    )
    pump.start()
    held.callback(pump.stop)
    return pump


class _Until:
    """Set when the engine is to stop, or the cluster file has changed."""

    def __init__(
        self, stop: threading.Event, watch: Watch, lock: StatusRecord, faults: Faults, pump: Pump | None
    ) -> None:
        """`pump` is None while the intake is left alone after errors: then operations go on without it."""
        self._stop, self._watch, self._lock, self._pump = stop, watch, lock, pump
        self._faults = faults

    def is_set(self) -> bool:
        """Look at both; raise what has ended the intake's thread."""
        if self._stop.is_set() or self._watch.changed(time.monotonic()):
            return True
        if self._pump:
            self._faults.tried(_INTAKE, self._pump.check)
        elif why := self._faults.backoff_error(_INTAKE):
            self._lock.tell(f"not connected: {why}")
        else:
            return True  # the next engine tries it again
        self._lock.tell_file(self._watch.content)
        return False
