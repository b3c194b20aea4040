"""The engine's loop: take requests, drive Terraform and Ansible, tell Slurm, compare."""

import logging
import threading
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Protocol

from slurm_powersave.engine.faults import Faults
from slurm_powersave.engine.node.failures import Failures
from slurm_powersave.engine.node.guarding import Guarding
from slurm_powersave.engine.node.lost_scripts import LostScripts
from slurm_powersave.engine.node.parking import Parking
from slurm_powersave.engine.node.steps import Steps
from slurm_powersave.engine.operations import Operations
from slurm_powersave.engine.pausing import Pausing
from slurm_powersave.engine.planning import Planning
from slurm_powersave.engine.reconcile.own_account import OwnAccount
from slurm_powersave.engine.reconcile.pruning import Pruning
from slurm_powersave.engine.reconcile.reconciler import Reconciler
from slurm_powersave.engine.runs.admission import Admission
from slurm_powersave.engine.runs.batches import Batches
from slurm_powersave.engine.runs.mending import Mending
from slurm_powersave.engine.runs.plays import Plays
from slurm_powersave.engine.world import CloudView, SlurmView, World
from slurm_powersave.model import phases
from slurm_powersave.model.modes import Mode
from slurm_powersave.model.nodes import Operation

log = logging.getLogger("slurm_powersave")

_COMPARING = "comparing Slurm, the clouds and the journal"

# What an engine that was killed goes back to, where nothing outside has happened yet.
_RESTART = {
    phases.PLANNING: phases.QUEUED,
    phases.UPDATE_PLANNING: phases.UPDATE_QUEUED,
    phases.DELETE_PLANNING: phases.DELETE_QUEUED,
}
_LOST_RUN = {
    phases.APPLYING: phases.RECOVERING,
    phases.UPDATING: phases.RECOVERING,
    phases.DELETING: phases.RECOVERING,
    phases.CONFIGURING: phases.BOOTING,
}


class Stop(Protocol):
    """Tells the loop to end; a threading.Event is one."""

    def is_set(self) -> bool:
        """Tell whether it is to end."""


class Engine:
    """One cluster's engine. `step` is all of it; `run` repeats it.

    An error that comes out of either is like a kill: memory may be ahead of the journal, so another engine is
    to be made from the journal, with the same `faults`.
    """

    def __init__(self, world: World, faults: Faults | None = None) -> None:
        self._world = world
        self._timing = world.timing
        self._faults = faults or Faults(world.now)
        self.operations = Operations(world)
        self._own = OwnAccount(world)
        guard = Guarding(world, self._own)
        self._own.ask = guard.asked
        self._pauses = Pausing(world)
        self._guard = guard
        self._planning = Planning(world, self.operations, self._faults)
        self._batches = Batches(world, self.operations, guard, self._faults)
        self._mending = Mending(world, self._batches, self._faults)
        self._admission = Admission(world, self.operations)
        self._plays = Plays(world, self.operations, self._faults)
        self._steps = Steps(world, self.operations, self._batches, guard, self._pauses, self._faults)
        self._failures = Failures(world, self.operations, guard, self._faults)
        self._reconciler = Reconciler(world, self.operations, guard, self._own, self._pauses, self._faults)
        self._pruning = Pruning(world)
        self._lost_scripts = LostScripts(world, self.operations)
        self._readers = ThreadPoolExecutor(max_workers=4, thread_name_prefix="read")
        self._parts: dict[str, Callable[[], None]] = {
            "pruning the journal": lambda: self._pruning.step(idle=not self.active),
            "planning requests": self._planning.step,
            "following Terraform": self._batches.poll,
            "following Ansible": self._plays.poll,
            "reading": self._read,
            "taking operations on": self._steps.step,
            "telling Slurm of failures": self._failures.step,
            "mending Terraform's states": self._mending.step,
            "starting Terraform": self._terraform,
            "starting Ansible": self._plays.start,
            _COMPARING: self._reconciler.step,
            "looking for lost batch scripts": self._lost_scripts.step,
        }
        """What a step does, in this order; `status` names it by these words when it always fails."""
        self._reattach()

    @property
    def active(self) -> bool:
        """Whether anything is under way."""
        busy = bool(list(self.operations)) or self._batches.running or self._plays.running
        return busy or self._planning.behind

    def _reattach(self) -> None:
        """Take up what an earlier engine left: runs that go on, and operations without one."""
        Parking(self._world, self.operations, self._faults).park()
        reattached: set[str] = set()
        for saved in self._world.journal.runs():
            if why := self._faults.guilty(saved.record.id):
                log.error("run=%s kind=%s given up: %s", saved.record.id, saved.record.kind, why)
                if saved.shard:
                    self._world.journal.set_dirty(saved.shard, True)
                self._world.journal.drop_run(saved.record.id)
                continue
            with self._faults.during(saved.record.id):
                (self._batches if saved.record.kind == "apply" else self._plays).reattach(saved)
            # One that tries another flavor has left its first batch.
            ours = self.operations.of(saved.operations)
            reattached |= {op.id for op in ours if not saved.shard or op.shard == saved.shard}
            log.info("run=%s kind=%s of an earlier engine goes on", saved.record.id, saved.record.kind)
        for op in self.operations:
            if op.phase in _RESTART:
                self.operations.move(op, _RESTART[op.phase])
            elif op.phase in _LOST_RUN and op.id not in reattached:
                self.operations.move(op, _LOST_RUN[op.phase])
        self._batches.shards.restore()

    def step(self) -> None:
        """Do all that can be done now; nothing in it waits longer than its own time limit."""
        if self._world.times.look():
            self._world.flavors.load()
        for part, step in self._parts.items():
            self._faults.tried(part, step)

    def _read(self) -> None:
        due = self._reconciler.due and not self._faults.backoff_error(_COMPARING)
        nodes = {hold.node for hold in self._failures.due()}
        jobs = self._failures.requeued
        clouds = set(self._world.cloud_views) if due else set()
        # Not while an apply goes well: a listing takes a good part of a core from it, and one made a moment
        # before the server is complete would put off the next one.
        unexplained = self._batches.unexplained
        for op in self.operations:
            if op.phase in phases.NEEDS_SLURM:
                nodes.add(op.node)
            if op.phase in phases.NEEDS_CLOUD or op.node in unexplained:
                with self._faults.during(op.id):
                    clouds.add(self._world.recorded_spec(op.node).cloud)
        views, slurm = self._world.cloud_views, self._world.slurm_view
        wanted: list[tuple[str, CloudView | SlurmView, Callable[[], None]]] = [
            (f"reading the cloud {name}", views[name], views[name].refresh) for name in clouds & set(views)
        ]
        if due:
            wanted.append(("reading Slurm", slurm, slurm.refresh))
        elif nodes or jobs:
            wanted.append(("reading Slurm", slurm, partial(slurm.refresh, sorted(nodes), jobs)))
        readings = {}
        for part, view, read in wanted:
            if why := self._faults.backoff_error(part):
                view.skip(why)
            else:
                readings[part] = read
        self._read_all(readings)

    def _read_all(self, readings: Mapping[str, Callable[[], None]]) -> None:
        """Read at the same time: each is a call of 50 to 100 ms that uses little of this processor."""
        others = {part: self._readers.submit(read) for part, read in [*readings.items()][1:]}
        for part, read in readings.items():
            with self._faults.during(part):
                others[part].result() if part in others else read()

    def _terraform(self) -> None:
        """Form batches of what is queued, a cloud and a shard at a time."""
        creates: dict[str, list[Operation]] = defaultdict(list)
        for op in self._running(phases.QUEUED):
            creates[self._world.recorded_spec(op.node).cloud].append(op)
        self._changes()
        for cloud, ops in creates.items():
            if max(self.operations.age(op) for op in ops) < self._timing.collect:
                continue
            for group in self._faults.groups(ops):
                with self._faults.during(*(op.id for op in group)):
                    if admitted := self._admission.admit(cloud, group):
                        self._batches.create(cloud, admitted)
        for shard in () if self._pauses.why() else self._world.journal.dirty_shards():
            if self._faults.backoff_error(shard):
                continue
            with self._faults.during(shard):
                if not self._batches.busy(shard) and not self._world.terraform.busy(shard):
                    self._batches.tidy(shard)
        for cloud in self._world.cluster.clouds:
            self._batches.spare(cloud)
            if not self._pauses.why():
                self._batches.renew(cloud)

    def _running(self, phase: str) -> list[Operation]:
        """Return the operations in a phase whose pool is not paused."""
        return [op for op in self.operations.in_phase(phase) if not self._pauses.why(op.node)]

    def _changes(self) -> None:
        """Deletions and changes in place, for each shard that nobody works in."""
        deletes = self._by_shard(phases.DELETE_QUEUED)
        queued = self._by_shard(phases.UPDATE_QUEUED)
        updates = {shard: ops for shard, ops in queued.items() if self._collected(ops)}
        for found, allowed, start in (
            (deletes, self._steps.may_delete, self._batches.delete),
            (updates, self._steps.reboots.may_update, self._batches.update),
        ):
            for shard, ops in found.items():
                for group in self._faults.groups(ops):
                    with self._faults.during(*(op.id for op in group)):
                        self._change(shard, group, allowed, start)

    def _by_shard(self, phase: str) -> dict[str, list[Operation]]:
        """Sort the operations in a phase that Terraform is to do by their shard."""
        found: dict[str, list[Operation]] = defaultdict(list)
        for op in self._running(phase):
            with self._faults.during(op.id):
                if shard := self._steps.ways.shard(op):
                    found[shard].append(op)
        return found

    def _change(
        self,
        shard: str,
        ops: Sequence[Operation],
        allowed: Callable[[Operation], bool],
        start: Callable[[str, Sequence[Operation]], None],
    ) -> None:
        if self._batches.busy(shard) or self._world.terraform.busy(shard):
            return
        if chosen := [op for op in ops if allowed(op)]:
            start(shard, chosen)

    def _collected(self, ops: Sequence[Operation]) -> bool:
        """Tell whether changes may begin: the nodes of one call come one after the other.

        One that comes too late for the apply of the others waits for all of it: the shard is locked.
        """
        queued = [self.operations.waited(op) for op in ops]
        coming = any(op.mode is Mode.REBOOT for op in self.operations.in_phase(phases.CHECKING))
        complete = not coming and min(queued) >= self._timing.collect
        return complete or max(queued) >= self._timing.collect_longest

    def run(self, wake: threading.Event, stop: Stop, works: Callable[[], None] = lambda: None) -> None:
        """Repeat `step` until `stop` is set; `wake` ends a pause early, `works` is called after each."""
        while not stop.is_set():
            self.step()
            works()
            wake.wait(self._timing.busy_pause if self.active else self._timing.idle_pause)
            wake.clear()

    def close(self) -> None:
        """End the threads that read; what runs in Terraform and Ansible goes on without us."""
        self._readers.shutdown(cancel_futures=True)
        self._guard.close()
