"""What a Terraform run did to each of its nodes."""

import logging
import re
from dataclasses import dataclass, field, replace
from typing import NoReturn

from slurm_powersave.decide.node.drift import moved
from slurm_powersave.decide.node.failure_policy import classify
from slurm_powersave.decide.node.plan_guard import PlanMode
from slurm_powersave.engine.node.soft_deleted import SoftDeleted
from slurm_powersave.engine.operations import Operations
from slurm_powersave.engine.runs.shards import Shards
from slurm_powersave.engine.world import World
from slurm_powersave.model import phases
from slurm_powersave.model.errors import CloudError, FailureClass, MachineError, TerraformError
from slurm_powersave.model.modes import Mode
from slurm_powersave.model.nodes import Failure, NodeProgress, Operation, RunRecord, RunResult
from slurm_powersave.ports.run import Run

log = logging.getLogger("slurm_powersave")

KILLED = "terraform was killed"
"""All that is told of a run that has left no exit code."""
_IN_ERROR = re.compile(r"instance \(([^)\s]+)\) to .{0,80}unexpected state 'ERROR'")
"""What Terraform's openstack provider says of a server that has ended in ERROR (measured)."""
_UNDER_WAY = (phases.APPLYING, phases.UPDATING, phases.DELETING)


@dataclass
class Batch:
    """One Terraform run for some operations."""

    shard: str
    mode: PlanMode
    operations: tuple[str, ...]
    stage: str
    """init, plan, apply, forget or refresh."""
    run: Run
    limit: float
    """Seconds after which it is interrupted; they count while we look."""
    errored: dict[str, tuple[int, float]] = field(default_factory=dict)
    """Node -> number and moment of Terraform's word that its creation or change failed; no reason yet."""
    interrupted: bool = False
    plan: RunRecord | None = None
    """The plan that an apply carries out."""

    @property
    def whose(self) -> tuple[str, ...]:
        """Name who is held to account for an error: the operations, else the shard; the cloud for an init."""
        place = self.shard.rpartition("/")[0] if self.stage == "init" else self.shard
        return self.operations or (place,)


class Results:
    """Moves the operations of a batch on: node by node while it runs, and all that are left at its end."""

    def __init__(self, world: World, operations: Operations, shards: Shards, soft: SoftDeleted) -> None:
        self._world, self._ops, self._shards, self._soft = world, operations, shards, soft
        self.by_server_id: set[str] = operations.until_end(set())
        """Deletes that Terraform could not do: they are done by server id."""
        self._retried: set[str] = operations.until_end(set())
        """Operations whose plan has been made once more already."""

    def _of(self, batch: Batch) -> list[Operation]:
        """Return the batch's operations; one that tries another flavor has left it for another shard."""
        return [op for op in self._ops.of(batch.operations) if op.shard == batch.shard]

    def news(self, batch: Batch, news: NodeProgress) -> None:
        """Take what Terraform says of one node."""
        op = next((op for op in self._of(batch) if op.node == news.node), None)
        if op is None or op.phase not in _UNDER_WAY:
            return
        if batch.mode is PlanMode.DELETE:
            if news.ok:
                self._ops.move(op, phases.VERIFYING)
        elif news.ok:
            self._done(op, batch.shard, news.server_id)
        elif news.failure:
            self._failed(op, self._told(op, news.failure))
        else:
            batch.errored.setdefault(news.node, (self._world.seen.next(), self._world.now()))

    def _done(self, op: Operation, shard: str, server_id: str) -> None:
        if op.phase == phases.UPDATING:
            self.updated(op)
            return
        record = self._world.record(op.node)
        node = replace(record.node, generation=record.node.generation + 1)
        self._world.save(replace(record, node=node, shard=shard, server_id=server_id))
        self._world.flavors.worked(node)
        self._ops.move(op, phases.BOOTING, server_id=server_id)

    def updated(self, op: Operation) -> None:
        """The server has the image or flavor that was asked for: from now on the node is to have it."""
        record, key = self._world.record(op.node), op.row.update
        written = self._world.terraform.nodes(op.shard).get(op.node)
        if written and written.node.value(key) == op.target:
            ref = written.node.ref(key)
        else:  # a restarted engine has put the map back to what was
            ref = self._world.cloud_offers.ref(record.node.cloud, key, op.target)
        self._world.save(moved(record, key, op.target, ref, self._world.spec_with_flavor(op.node, op.target)))
        self._ops.move(op, phases.BOOTING, server_id=record.server_id)

    def _failed(self, op: Operation, failure: Failure) -> None:
        if op.phase == phases.UPDATING:
            log.warning("op=%s node=%s %s failed: %s", op.id, op.node, op.kind, failure.text)
            self._ops.move(op, phases.RESTORING, text=f"{op.kind} to {op.target} failed: {failure.text}")
        elif failure.failure is FailureClass.CAPACITY and self._another_flavor(op, failure.text):
            return
        elif told := self._soft.in_the_way(op, failure):
            self._ops.fail(op, told)

    def _another_flavor(self, op: Operation, text: str) -> bool:
        """Where the cloud has no room for one flavor the pool's next is tried, if there is time for it.

        Slurm goes on waiting for the node: telling it would end the job, and nothing is wrong with the node.
        What is left of the first try (a server in ERROR) is deleted by its id before.
        """
        node = self._world.recorded_spec(op.node)
        other = self._world.flavors.failed(node, text)
        late = self._ops.age(op) > self._world.cluster.power_save.resume_timeout / 2
        if not other or late or node.cloud not in self._world.clouds:
            return False
        said = f"no room for flavor {node.flavor} ({text}), then {other}"
        log.warning("op=%s node=%s %s", op.id, op.node, said)
        # A reboot request that has a text has failed.
        note = {"text": said} if op.mode is Mode.RESUME else {}
        self._ops.move(op, phases.DELETE_QUEUED, shard="", **note)
        return True

    def _told(self, op: Operation, failure: Failure) -> Failure:
        """Put the server's own fault in the place of "unexpected state 'ERROR'", which says no more."""
        found = _IN_ERROR.search(failure.text)
        cloud = self._world.clouds.get(self._world.recorded_spec(op.node).cloud)
        if not found or cloud is None:
            return failure
        try:
            server = cloud.server(found[1])
        except CloudError as error:
            log.warning("op=%s node=%s fault of %s: %s", op.id, op.node, found[1], error)
            return failure
        return Failure(classify(server.fault), server.fault) if server and server.fault else failure

    def unexplained(self, batch: Batch) -> None:
        """Take the reason from the cloud where Terraform keeps it until slower nodes are done."""
        for op in self._of(batch):
            number, since = batch.errored.get(op.node, (0, self._world.now()))
            waits = op.phase in (phases.APPLYING, phases.UPDATING)
            if not number or not waits or self._world.now() - since < self._world.timing.reason_wait:
                continue
            view = self._world.cloud_views.get(self._world.recorded_spec(op.node).cloud)
            servers = (view.of_node(op.node, number) if view else None) or ()
            text = next((server.fault for server in servers if server.fault), "")
            text = text or "it failed; Terraform tells why when the other nodes are done"
            self._failed(op, Failure(classify(text), text))

    def apply_ended(self, batch: Batch, result: RunResult) -> None:
        """An apply has ended: what it has not told is read from the state."""
        servers = self._world.states.servers(batch.shard)
        for op in self._of(batch):
            held = servers.get(op.node)
            killed = result.text == KILLED
            if op.phase in (phases.APPLYING, phases.UPDATING):
                if killed and not (held and op.phase == phases.APPLYING and not held.tainted):
                    self._ops.move(op, phases.RECOVERING)
                elif held and held.id and not held.tainted and (op.phase == phases.APPLYING or result.ok):
                    self._done(op, batch.shard, held.id)
                else:
                    text = result.text or "Terraform ended well, but the node is not in its state"
                    self._failed(op, Failure(result.failure, text))
            elif op.phase == phases.DELETING:
                self._ops.move(op, phases.VERIFYING)
                if not result.ok:
                    log.warning("op=%s node=%s terraform: %s", op.id, op.node, result.text)
                    self.by_server_id.add(op.id)
        self._shards.align(batch.shard, servers, {op.node for op in self._of(batch)})
        if not set(servers) <= set(self._shards.entries(batch.shard)):
            # A try whose operation has gone on or ended: `tidy` takes it out of the state.
            self._world.journal.set_dirty(batch.shard, True)
        self._shards.write(batch.shard)
        # Last: an engine that is killed before this follows the run again and does all of it again.
        self._world.journal.drop_run(batch.run.record.id)

    def could_not_run(self, batch: Batch, result: RunResult) -> NoReturn:
        """No node is at fault: an engine without this run plans anew, or finds out what an apply has done.

        Raises:
            MachineError: always.
        """
        if batch.stage == "apply":
            self._world.journal.set_dirty(batch.shard, True)
        self._world.journal.drop_run(batch.run.record.id)
        self._world.terraform.forget(batch.run.record)
        raise MachineError(f"terraform {batch.stage} could not run in {batch.shard}", why=result.text)

    def give_up(self, batch: Batch, text: str, failure: FailureClass | None = None) -> None:
        """A run could not be made, or must not be: say what becomes of its operations."""
        for op in self._of(batch):
            if op.phase in phases.IN_BATCH:  # else it has gone on, or failed for a reason of its own
                self._give_up(op, batch, text, failure or classify(text))
        self._world.journal.drop_run(batch.run.record.id)
        if batch.stage == "apply":
            self._world.journal.set_dirty(batch.shard, True)
        if batch.stage == "plan":
            try:
                self._shards.write(batch.shard)
            except TerraformError as error:
                log.error("%s", error)

    def _give_up(self, op: Operation, batch: Batch, text: str, failure: FailureClass) -> None:
        if batch.stage == "apply":
            # What it did is not known: state and cloud are read before anything else is done.
            log.warning("op=%s node=%s terraform: %s", op.id, op.node, text)
            self._ops.move(op, phases.RECOVERING)
        elif batch.mode is PlanMode.DELETE:
            # The deletion was asked for by Slurm all the same: by id, and the state is refreshed later.
            log.warning("op=%s node=%s terraform: %s", op.id, op.node, text)
            self.by_server_id.add(op.id)
            self._ops.move(op, phases.DELETE_QUEUED)
        elif batch.stage == "plan" and failure is FailureClass.UNKNOWN and op.id not in self._retried:
            # A plan that failed for no known reason has touched nothing: it is made once more.
            self._retried.add(op.id)
            log.warning("op=%s node=%s plan failed, tried once more: %s", op.id, op.node, text)
            again = phases.QUEUED if batch.mode is PlanMode.CREATE else phases.UPDATE_QUEUED
            self._ops.move(op, again)
        elif batch.mode is PlanMode.UPDATE:
            self._ops.move(op, phases.REFUSING, text=text)
        else:
            self._ops.fail(op, Failure(failure, text))
