"""Terraform runs: which nodes share one, in which shard, and what became of each node.

A batch is one plan, the fence, and one apply of the saved plan in one shard. A shard has one batch
at a time; a create takes an idle shard or a new one, so that it never waits for another's boot.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from slurm_powersave.decide import fence
from slurm_powersave.decide.fence import Expected, PlanMode
from slurm_powersave.decide.policy import classify
from slurm_powersave.engine.operations import Operations
from slurm_powersave.engine.shards import Shards
from slurm_powersave.engine.world import World
from slurm_powersave.model import phases
from slurm_powersave.model.errors import FailureClass, PowersaveError, TerraformError
from slurm_powersave.model.nodes import (
    DesiredNode,
    Failure,
    NodeProgress,
    Operation,
    RunRecord,
    RunResult,
    ShardRun,
    TerraformNode,
)
from slurm_powersave.ports import Run

log = logging.getLogger("slurm_powersave")

_PLAN_SECONDS = 300.0
_GRACE = 60.0
"""From SIGINT to SIGKILL: a provider that still creates is waited for, so that the state knows it."""
_PAUSE = 60.0
"""Seconds after which an init or a tidying that failed is tried again."""
_REASON_WAIT = 3.0
"""Terraform tells a creation's error when the others have ended; that long we wait for it."""


@dataclass
class Batch:
    """One Terraform run for some operations."""

    shard: str
    mode: PlanMode
    operations: tuple[str, ...]
    stage: str
    """init, plan or apply."""
    run: Run
    deadline: float
    stale: dict[str, Expected] = field(default_factory=dict)
    """Entries of the state whose servers are gone: this batch removes them."""
    errored: dict[str, float] = field(default_factory=dict)
    """Node -> when Terraform said that its creation failed, without a reason yet."""
    interrupted: bool = False
    plan: RunRecord | None = None
    """The plan that an apply carries out."""


class Batches:
    """Forms batches, drives them and tells the operations what happened."""

    def __init__(self, world: World, operations: Operations) -> None:
        self._world, self._ops = world, operations
        self._batches: list[Batch] = []
        self.shards = Shards(world, self.busy)
        self.by_id: set[str] = set()
        """Deletes that Terraform could not do: they are done by server id."""
        self._retried: set[str] = set()
        """Creates whose plan has been made once more already."""
        self._not_before: dict[str, float] = {}
        """Cloud or shard -> when an init or a tidying that failed is tried again."""

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
            free = self.shards.room(shard)
            chosen, room = room[:free], room[free:]
            entries = {op.node: TerraformNode(self._renewed(op.node), op.id) for op in chosen}
            self._world.terraform.write_nodes(shard, self.shards.entries(shard) | entries)
            for op in chosen:
                self._ops.move(op, phases.PLANNING, shard=shard)
            self._plan(shard, PlanMode.CREATE, [op.id for op in chosen], [op.node for op in chosen])

    def _renewed(self, name: str) -> DesiredNode:
        """What the cluster file wants of a node now: image and flavor move with each new server only."""
        record = self._world.record(name)
        node = self._world.cluster.desired(
            name, address=record.node.address, generation=record.node.generation
        )
        self._world.save(replace(record, node=node))
        return node

    def delete(self, shard: str, ops: Sequence[Operation]) -> None:
        """Start a batch that deletes nodes of one idle shard."""
        gone = {op.node for op in ops}
        entries = {name: entry for name, entry in self.shards.entries(shard).items() if name not in gone}
        self._world.terraform.write_nodes(shard, entries)
        for op in ops:
            self._ops.move(op, phases.DELETE_PLANNING, shard=shard)
        self._plan(shard, PlanMode.DELETE, [op.id for op in ops], sorted(gone))

    def tidy(self, shard: str) -> None:
        """Remove from a shard's state the servers that went without Terraform."""
        if self._world.now() < self._not_before.get(shard, 0.0):
            return
        known = self.shards.entries(shard)
        try:
            held = self._world.terraform.servers(shard)
        except TerraformError as error:
            log.error("%s", error)
            self._not_before[shard] = self._world.now() + _PAUSE
            return
        if any(op.phase == phases.RECOVERING and op.shard == shard for op in self._ops):
            return  # it has yet to say whose the servers are
        stale = {
            name: Expected(TerraformNode(self._world.desired(name), ""), server.id)
            for name, server in held.items()
            if name not in known
        }
        self._world.terraform.write_nodes(shard, known)
        if not stale:
            self._world.journal.set_dirty(shard, False)
            return
        self._plan(shard, PlanMode.DELETE, [], sorted(stale), stale=stale)

    def spare(self, cloud: str) -> None:
        """Keep one idle, initialised shard, so that a request need not wait for `terraform init`."""
        if self.shards.idle(cloud, 1) is None:
            self._new_shard(cloud)

    def _new_shard(self, cloud: str) -> None:
        shards = self._world.terraform.shards(cloud)
        if self._world.now() < self._not_before.get(cloud, 0.0):
            return
        if any(batch.stage == "init" and batch.shard in shards for batch in self._batches):
            return
        shard = self.shards.vacant(cloud)
        run = self._world.terraform.init(cloud, shard)
        self._batches.append(
            Batch(shard, PlanMode.CREATE, (), "init", run, self._world.now() + _PLAN_SECONDS)
        )

    def _plan(
        self,
        shard: str,
        mode: PlanMode,
        ids: Sequence[str],
        nodes: Sequence[str],
        stale: dict[str, Expected] | None = None,
    ) -> None:
        run = self._world.terraform.plan(shard, nodes, refresh=bool(stale))
        deadline = self._world.now() + _PLAN_SECONDS
        self._batches.append(Batch(shard, mode, tuple(ids), "plan", run, deadline, stale or {}))

    # Driving

    def adopt(self, saved: ShardRun) -> None:
        """Take up an apply that an earlier engine started."""
        ops = self._ops.of(saved.operations)
        creates = any(op.phase == phases.APPLYING for op in ops)
        run = self._world.terraform.adopt(saved.record)
        mode = PlanMode.CREATE if creates else PlanMode.DELETE
        self._batches.append(Batch(saved.shard, mode, saved.operations, "apply", run, saved.deadline))

    def poll(self) -> None:
        """Go on with each batch whose process has news."""
        for batch in list(self._batches):
            # In this order: what Terraform says last, each node's own reason, is read before its end counts.
            result = batch.run.poll()
            if batch.stage == "apply":
                for news in batch.run.progress():
                    self._news(batch, news)
                self._unexplained(batch)
            if result is None:
                self._bound(batch)
                continue
            self._batches.remove(batch)
            try:
                self._ended(batch, result)
            except PowersaveError as error:
                self._give_up(batch, str(error))
            finally:
                # A plan's directory is needed by its apply.
                if batch.stage != "plan":
                    self._world.terraform.forget(batch.run.record)
                if batch.plan:
                    self._world.terraform.forget(batch.plan)

    def _ended(self, batch: Batch, result: RunResult) -> None:
        if batch.stage == "apply":
            self._applied(batch, result)
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
        self._not_before[cloud] = self._world.now() + _PAUSE
        for op in self._ops.in_phase(phases.QUEUED):
            if self._world.desired(op.node).cloud == cloud:
                self._ops.fail(op, Failure(result.failure, f"terraform init: {result.text}"))

    def _still_wanted(self, batch: Batch) -> bool:
        """Look at Slurm once more before servers go; `Steps.may_delete` lets go what is in use by now."""
        for op in self._ops.of(batch.operations):
            node = self._world.slurm_view.node(op.node, op.since)
            if node is None or (node.in_use and (op.failure is None or node.up)):
                return False
        return True

    def _planned(self, batch: Batch) -> None:
        terraform = self._world.terraform
        if batch.mode is PlanMode.DELETE and not self._still_wanted(batch):
            for op in self._ops.of(batch.operations):
                self._ops.move(op, phases.DELETE_QUEUED)
            terraform.forget(batch.run.record)
            self.shards.write(batch.shard)
            return
        expected = dict(batch.stale)
        written = terraform.nodes(batch.shard)
        for op in self._ops.of(batch.operations):
            record = self._world.record(op.node)
            entry = written.get(op.node) or TerraformNode(record.node, op.id)
            expected[op.node] = Expected(entry, record.server_id if batch.mode is PlanMode.DELETE else "")
        wrong = fence.check(
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
        phase = phases.APPLYING if batch.mode is PlanMode.CREATE else phases.DELETING
        for op in self._ops.of(batch.operations):
            self._ops.move(op, phase)
        # An engine that is killed between these two lines leaves a run that no record names: RECOVERING then
        # waits some seconds and for the state's lock before it judges.
        run = terraform.apply(batch.shard, batch.run.record, max(len(expected), 1))
        deadline = self._world.now() + self._world.cluster.terraform.apply_timeout
        self._world.journal.save_run(ShardRun(run.record, batch.shard, batch.operations, deadline))
        self._batches.append(replace(batch, stage="apply", run=run, deadline=deadline, plan=batch.run.record))

    def _news(self, batch: Batch, news: NodeProgress) -> None:
        op = next((op for op in self._ops.of(batch.operations) if op.node == news.node), None)
        if op is None or op.phase not in (phases.APPLYING, phases.DELETING):
            return
        if batch.mode is PlanMode.DELETE:
            if news.ok:
                self._ops.move(op, phases.VERIFYING)
        elif news.ok:
            self._created(op, batch.shard, news.server_id)
        elif news.failure:
            self._ops.fail(op, news.failure)
        else:
            batch.errored.setdefault(news.node, self._world.now())

    def _created(self, op: Operation, shard: str, server_id: str) -> None:
        record = self._world.record(op.node)
        node = replace(record.node, generation=record.node.generation + 1)
        self._world.save(replace(record, node=node, shard=shard, server_id=server_id))
        self._ops.move(op, phases.BOOTING, server_id=server_id)

    def _unexplained(self, batch: Batch) -> None:
        """Take the reason from the cloud where Terraform keeps it until slower nodes are done."""
        for op in self._ops.of(batch.operations):
            since = batch.errored.get(op.node)
            if since is None or op.phase != phases.APPLYING or self._world.now() - since < _REASON_WAIT:
                continue
            view = self._world.cloud_views.get(self._world.desired(op.node).cloud)
            servers = (view.of_node(op.node, since) if view else None) or ()
            text = next((server.fault for server in servers if server.fault), "")
            text = text or "the creation failed; Terraform tells why when its other creations have ended"
            self._ops.fail(op, Failure(classify(text), text))

    def _applied(self, batch: Batch, result: RunResult) -> None:
        servers = self._world.terraform.servers(batch.shard)
        for op in self._ops.of(batch.operations):
            held = servers.get(op.node)
            if op.phase == phases.APPLYING:
                if held and held.id and not held.tainted:
                    self._created(op, batch.shard, held.id)
                elif result.text == "terraform was killed":
                    self._ops.move(op, phases.RECOVERING)
                else:
                    text = result.text or "Terraform ended well, but the node is not in its state"
                    self._ops.fail(op, Failure(result.failure, text))
            elif op.phase == phases.DELETING:
                self._ops.move(op, phases.VERIFYING)
                if not result.ok:
                    log.warning("op=%s node=%s terraform: %s", op.id, op.node, result.text)
                    self.by_id.add(op.id)
        self.shards.align(batch.shard, servers, {op.node for op in self._ops.of(batch.operations)})
        if batch.mode is PlanMode.DELETE:
            for name in set(batch.stale) - set(servers):
                log.info("node=%s removed from the state of %s", name, batch.shard)
            if not batch.operations and result.ok:
                self._world.journal.set_dirty(batch.shard, False)
        self.shards.write(batch.shard)
        # Last: an engine that is killed before adopts the run and does all of this again.
        self._world.journal.drop_run(batch.run.record.id)

    def _give_up(self, batch: Batch, text: str, failure: FailureClass | None = None) -> None:
        for op in self._ops.of(batch.operations):
            if op.phase not in phases.IN_BATCH:
                continue  # it has gone on, or failed for a reason of its own
            if batch.stage == "apply":
                # What it did is not known: state and cloud are read before anything else is done.
                log.warning("op=%s node=%s terraform: %s", op.id, op.node, text)
                self._ops.move(op, phases.RECOVERING)
            elif (
                batch.mode is PlanMode.CREATE and batch.stage == "plan" and self._may_retry(op, failure, text)
            ):
                self._ops.move(op, phases.QUEUED)
            elif batch.mode is PlanMode.CREATE:
                self._ops.fail(op, Failure(failure or classify(text), text))
            else:
                # The deletion was asked for by Slurm all the same: by id, and the state is refreshed later.
                log.warning("op=%s node=%s terraform: %s", op.id, op.node, text)
                self.by_id.add(op.id)
                self._ops.move(op, phases.DELETE_QUEUED)
        self._world.journal.drop_run(batch.run.record.id)
        if not batch.operations:
            self._not_before[batch.shard] = self._world.now() + _PAUSE
        if batch.stage == "apply":
            self._world.journal.set_dirty(batch.shard, True)
        if batch.stage == "plan":
            try:
                self.shards.write(batch.shard)
            except TerraformError as error:
                log.error("%s", error)

    def _may_retry(self, op: Operation, failure: FailureClass | None, text: str) -> bool:
        """A plan that failed for no known reason has touched nothing: it is made once more."""
        if (failure or classify(text)) is not FailureClass.UNKNOWN or op.id in self._retried:
            return False
        self._retried.add(op.id)
        log.warning("op=%s node=%s plan failed, tried once more: %s", op.id, op.node, text)
        return True

    def _bound(self, batch: Batch) -> None:
        late = self._world.now() - batch.deadline
        if late > 0 and not batch.interrupted:
            log.warning("terraform %s in %s takes too long: interrupted", batch.stage, batch.shard)
            batch.interrupted = True
            batch.run.interrupt()
        elif late > _GRACE:
            batch.run.kill()
