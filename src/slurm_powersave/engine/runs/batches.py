"""Terraform runs: which nodes share one, in which shard, and what became of each node.

A batch is one plan, the plan guard, and one apply of the saved plan in one shard. A shard has one batch
at a time; a create takes an idle shard or a new one, so that it never waits for another's boot.
"""

import logging
from collections.abc import Sequence
from dataclasses import replace

from slurm_powersave.decide.node import plan_guard
from slurm_powersave.decide.node.drift import moved
from slurm_powersave.decide.node.guard import Refusal
from slurm_powersave.decide.node.plan_guard import Expected, PlanMode
from slurm_powersave.engine.durations import Looks
from slurm_powersave.engine.faults import Faults
from slurm_powersave.engine.node.calls import NodeCalls
from slurm_powersave.engine.node.guarding import Guarding
from slurm_powersave.engine.node.soft_deleted import SoftDeleted
from slurm_powersave.engine.operations import Operations
from slurm_powersave.engine.runs.results import KILLED, Batch, Results
from slurm_powersave.engine.runs.root_modules import RootModules
from slurm_powersave.engine.runs.shards import Shards
from slurm_powersave.engine.runs.tidying import Tidying
from slurm_powersave.engine.world import World
from slurm_powersave.model import machine, phases
from slurm_powersave.model.errors import (
    CloudError,
    FailureClass,
    PowersaveError,
)
from slurm_powersave.model.modes import Kind
from slurm_powersave.model.nodes import Failure, NodeSpec, Operation, RunResult, ShardRun, TerraformNode
from slurm_powersave.model.permit import Act, Permit

log = logging.getLogger("slurm_powersave")


_APPLYING = {
    PlanMode.CREATE: phases.APPLYING,
    PlanMode.UPDATE: phases.UPDATING,
    PlanMode.DELETE: phases.DELETING,
}


class Batches:
    """Forms batches, drives them and tells the operations what happened."""

    def __init__(self, world: World, operations: Operations, guard: Guarding, faults: Faults) -> None:
        self._world, self._ops, self._guard, self._faults = world, operations, guard, faults
        self._outside = NodeCalls(world)
        self._batches: list[Batch] = []
        self.shards = Shards(world, self.busy)
        self.results = Results(world, operations, self.shards, SoftDeleted(world, operations, guard))
        self._tidying = Tidying(world, operations, guard, self.shards, self._batches.append)
        self._modules = RootModules(world, self.shards, self._batches.append)
        self._looks = Looks()
        """For how long we have seen each process run."""
        self._not_before: dict[str, float] = {}
        """Cloud -> when an init that failed is tried again."""

    @property
    def running(self) -> bool:
        """Whether a Terraform process of ours runs."""
        return bool(self._batches)

    @property
    def unexplained(self) -> frozenset[str]:
        """Nodes whose creation has failed and whose reason the cloud may know before Terraform tells it."""
        return frozenset(node for batch in self._batches for node in batch.errored)

    def busy(self, shard: str) -> bool:
        """Tell whether a batch works in the shard."""
        return any(batch.shard == shard for batch in self._batches)

    # Forming

    def create(self, cloud: str, ops: Sequence[Operation]) -> None:
        """Start batches for creates; those that find no initialised shard stay queued until the next call."""
        room = list(ops)
        while room:
            shard = self.shards.idle(cloud, len(room))
            if shard is None:
                self._new_shard(cloud)
                return
            held = self.shards.readable(shard)
            if held is None:
                continue
            free = self.shards.room(shard)
            chosen, room = room[:free], room[free:]
            entries = self._entries(chosen)
            if not entries:
                continue
            self._world.terraform.write_nodes(shard, held | entries)
            known = [op for op in chosen if op.node in entries]
            for op in known:
                self._ops.move(op, phases.PLANNING, shard=shard)
            self._plan(shard, PlanMode.CREATE, [op.id for op in known], [*entries])

    def _entries(self, ops: Sequence[Operation]) -> dict[str, TerraformNode]:
        """What the shard's map is to say of new nodes; one whose image or flavor is not to be had fails."""
        entries = {}
        for op in ops:
            try:
                entries[op.node] = TerraformNode(self._renewed(op), op.id)
            except CloudError as error:
                if machine.is_at_fault(error):
                    raise
                self._ops.fail(op, Failure(error.failure, error.line))
        return entries

    def _renewed(self, op: Operation) -> NodeSpec:
        """What the cluster file wants of a node now: image and flavor move with each new server only."""
        record = self._world.record(op.node)
        kept = record.node
        node = replace(self._world.next_spec(op.node), address=kept.address, generation=kept.generation)
        made = replace(record, node=node, by_hand=frozenset())
        if op.kind is Kind.REPLACE and op.target:
            made = moved(made, "image", op.target, "", node)
        image_id, flavor_id = (
            self._world.cloud_offers.ref(node.cloud, key, made.node.value(key)) for key in ("image", "flavor")
        )
        made = replace(made, node=replace(made.node, image_id=image_id, flavor_id=flavor_id))
        self._world.save(made)
        return made.node

    def delete(self, shard: str, ops: Sequence[Operation]) -> None:
        """Start a batch that deletes nodes of one idle shard."""
        held = self.shards.readable(shard)
        if held is None:
            self.results.by_server_id |= {op.id for op in ops}
            return
        gone = {op.node for op in ops}
        entries = {name: entry for name, entry in held.items() if name not in gone}
        self._world.terraform.write_nodes(shard, entries)
        for op in ops:
            self._ops.move(op, phases.DELETE_PLANNING, shard=shard)
        self._plan(shard, PlanMode.DELETE, [op.id for op in ops], sorted(gone))

    def update(self, shard: str, ops: Sequence[Operation]) -> None:
        """Start a batch that changes image or flavor of nodes of one idle shard, in place.

        The records follow when it has succeeded; until then only the shard's map has the new value.
        """
        entries = self.shards.readable(shard)
        if entries is None:
            return  # in a minute they act by the servers' ids
        chosen = []
        for op in ops:
            entry, key = entries[op.node], op.row.update
            try:
                ref = self._world.cloud_offers.ref(entry.node.cloud, key, op.target)
            except CloudError as error:
                if machine.is_at_fault(error):
                    raise
                self._ops.move(op, phases.REFUSING, text=error.line)
                continue
            entries[op.node] = replace(entry, node=entry.node.changed(key, op.target, ref))
            chosen.append(op)
        if not chosen:
            return
        self._world.terraform.write_nodes(shard, entries)
        for op in chosen:
            self._ops.move(op, phases.UPDATE_PLANNING, shard=shard)
        self._plan(shard, PlanMode.UPDATE, [op.id for op in chosen], [op.node for op in chosen])

    def tidy(self, shard: str) -> None:
        """Make a shard's state and the records agree again, where servers went without Terraform."""
        self._tidying.tidy(shard)

    def spare(self, cloud: str) -> None:
        """Keep one idle, initialised shard, so that a request need not wait for `terraform init`."""
        if not self._faults.backoff_error(cloud):
            with self._faults.during(cloud):
                if self.shards.idle(cloud, 1) is None:
                    self._new_shard(cloud)

    def renew(self, cloud: str) -> None:
        """Give shards a newer version of their root module, where it changes nothing."""
        if not self._faults.guilty(cloud):
            with self._faults.during(cloud):
                self._modules.look(cloud)

    def _new_shard(self, cloud: str) -> None:
        shards = self._world.terraform.shards(cloud)
        if self._world.now() < self._not_before.get(cloud, 0.0):
            return
        if any(batch.stage == "init" and batch.shard in shards for batch in self._batches):
            return
        shard = self.shards.vacant(cloud)
        run = self._world.terraform.init(cloud, shard)
        self._batches.append(Batch(shard, PlanMode.CREATE, (), "init", run, self._world.timing.terraform_run))

    def _plan(self, shard: str, mode: PlanMode, ids: Sequence[str], nodes: Sequence[str]) -> None:
        # A failed rebuild can leave the new image in the state (Nova's provider): what is changed in place is
        # read from the cloud first.
        run = self._world.terraform.plan(shard, nodes, refresh=mode is PlanMode.UPDATE)
        self._batches.append(Batch(shard, mode, tuple(ids), "plan", run, self._world.timing.terraform_run))

    # Driving

    def reattach(self, saved: ShardRun) -> None:
        """Take up an apply that an earlier engine started; its time begins anew."""
        ops = self._ops.of(saved.operations)
        run = self._world.terraform.reattach(saved.record)
        found = {op.phase for op in ops}
        mode = next((mode for mode, phase in _APPLYING.items() if phase in found), PlanMode.DELETE)
        limit = self._world.cluster.terraform.apply_timeout
        self._batches.append(Batch(saved.shard, mode, saved.operations, "apply", run, limit))

    def poll(self) -> None:
        """Go on with each batch whose process has news."""
        for batch in list(self._batches):
            with self._faults.during(batch.run.record.id, *batch.whose):
                self._poll(batch)

    def _poll(self, batch: Batch) -> None:
        # In this order: what Terraform says last, each node's own reason, is read before its end counts.
        result = batch.run.poll()
        if batch.stage == "apply":
            for news in batch.run.progress():
                self.results.news(batch, news)
            self.results.unexplained(batch)
        if result is None:
            self._bound(batch)
            return
        if batch.stage == "plan" and self._unread(batch):
            return
        if result.machine and not batch.interrupted:
            self.results.could_not_run(batch, result)
        self._batches.remove(batch)
        self._looks.forget(batch.run.record.id)
        try:
            self._ended(batch, _told(batch, result))
        except PowersaveError as error:
            if machine.is_at_fault(error):
                raise
            self._give_up(batch, error.line)
        # Only now: an engine that is built anew before this reads the run's output once more.
        if batch.stage != "plan":  # an apply needs its plan's directory
            self._world.terraform.forget(batch.run.record)
        if batch.plan:
            self._world.terraform.forget(batch.plan)

    def _unread(self, batch: Batch) -> bool:
        """Tell whether a plan waits for the next reading of Slurm: only by it may the plan be applied."""
        view, creates = self._world.slurm_view, batch.mode is PlanMode.CREATE
        ops = [] if creates or view.error else self._ops.of(batch.operations)
        return any(view.reading <= op.asked for op in ops)

    def _give_up(self, batch: Batch, text: str, failure: FailureClass | None = None) -> None:
        if not batch.operations:
            self._tidying.wait(batch.shard)
        self.results.give_up(batch, text, failure)

    def _ended(self, batch: Batch, result: RunResult) -> None:
        if batch.stage == "apply":
            self.results.apply_ended(batch, result)
        elif batch.stage == "module":
            self._modules.tried(batch.shard, result)
        elif result.ok and batch.stage == "forget":
            self.shards.write(batch.shard)  # the next look at the shard finds it clean
        elif result.ok and batch.stage == "refresh":
            self._tidying.refreshed(batch.shard)
        elif not result.ok:
            if batch.stage == "init":
                log.error("terraform init failed in %s: %s", batch.shard, result.text)
                self._init_failed(batch, result)
            self._give_up(batch, f"terraform {batch.stage}: {result.text}", result.failure)
        elif batch.stage == "plan":
            self._planned(batch)

    def _init_failed(self, batch: Batch, result: RunResult) -> None:
        """Without a shard nothing can be created: those that wait for one fail with the reason."""
        cloud = batch.shard.rpartition("/")[0]
        self._not_before[cloud] = self._world.now() + self._world.timing.init_again
        for op in self._ops.in_phase(phases.QUEUED):
            if self._world.recorded_spec(op.node).cloud == cloud:
                self._ops.fail(op, Failure(result.failure, f"terraform init: {result.text}"))

    def _permits(self, batch: Batch) -> list[Permit] | None:
        """Ask the guard once more before servers are touched; what it refuses is ended by who queues it."""
        permits: list[Permit] = []
        for op in self._ops.of(batch.operations):
            if batch.mode is PlanMode.UPDATE:
                act = Act.REBUILD if op.row.update == "image" else Act.RESIZE
                answer = self._guard.by_reboot(op, act, op.asked)
                answers = None if answer is None else [answer]
            else:
                servers = self._outside.servers_lately(op)
                answers = None if servers is None else self._guard.deletions(op, servers, op.asked)
            if answers is None or any(isinstance(answer, Refusal) for answer in answers):
                return None
            permits += [answer for answer in answers if isinstance(answer, Permit)]
        return permits

    def _planned(self, batch: Batch) -> None:
        terraform = self._world.terraform
        permits = [] if batch.mode is PlanMode.CREATE else self._permits(batch)
        if permits is None:
            again = phases.DELETE_QUEUED if batch.mode is PlanMode.DELETE else phases.UPDATE_QUEUED
            for op in self._ops.of(batch.operations):
                self._ops.move(op, again)
            terraform.forget(batch.run.record)
            self.shards.write(batch.shard)
            return
        expected: dict[str, Expected] = {}
        written = terraform.nodes(batch.shard)
        for op in self._ops.of(batch.operations):
            record = self._world.record(op.node)
            entry = written.get(op.node) or TerraformNode(record.node, op.id)
            server_id = "" if batch.mode is PlanMode.CREATE else record.server_id
            expected[op.node] = Expected(entry, server_id, op.row.update)
        wrong = plan_guard.check(
            terraform.plan_json(batch.run.record),
            batch.mode,
            expected,
            contract=terraform.contract(batch.shard),
            cluster=self._world.cluster.cluster_name,
            shard=batch.shard,
        )
        if wrong:
            text = "; ".join(map(str, wrong[:5])) + (f"; and {len(wrong) - 5} more" if len(wrong) > 5 else "")
            log.error("plan refused in %s: %s", batch.shard, text)
            terraform.forget(batch.run.record)
            self._give_up(batch, f"the plan was refused: {text}", FailureClass.CONFIG)
            return
        for op in self._ops.of(batch.operations):
            self._ops.move(op, _APPLYING[batch.mode])
        # An engine that is killed between these two lines leaves a run that no record names: RECOVERING then
        # waits some seconds and for the state's lock before it judges.
        by_node = {op.node: op.id for op in self._ops.of(batch.operations)}
        for permit in permits:
            self._guard.record(permit, by_node[permit.node])
        run = terraform.apply(batch.shard, batch.run.record, max(len(expected), 1), permits)
        limit = self._world.cluster.terraform.apply_timeout
        self._world.journal.save_run(ShardRun(run.record, batch.shard, batch.operations))
        self._batches.append(replace(batch, stage="apply", run=run, limit=limit, plan=batch.run.record))

    def _bound(self, batch: Batch) -> None:
        late = self._looks.look(batch.run.record.id, self._world.now()) - batch.limit
        if late > 0 and not batch.interrupted:
            log.warning("terraform %s in %s takes too long: interrupted", batch.stage, batch.shard)
            batch.interrupted = True
            batch.run.interrupt()
        elif late > self._world.timing.terraform_end:
            batch.run.kill()


def _told(batch: Batch, result: RunResult) -> RunResult:
    """Say that we have ended a run, and after how long. What a killed apply did is found out, not told."""
    if result.ok or not batch.interrupted or (batch.stage == "apply" and result.text == KILLED):
        return result
    return replace(result, text=f"Terraform was ended after {batch.limit:g} s ({result.text})")
