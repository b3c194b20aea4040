"""States that hold servers which went without Terraform: what the cloud does not have leaves them."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from slurm_powersave.decide.node.plan_guard import PlanMode
from slurm_powersave.engine.node.guarding import Guarding
from slurm_powersave.engine.operations import Operations
from slurm_powersave.engine.runs.results import Batch
from slurm_powersave.engine.runs.shards import Shards
from slurm_powersave.engine.world import World
from slurm_powersave.model import phases
from slurm_powersave.model.errors import TerraformError
from slurm_powersave.model.permit import Permit

log = logging.getLogger("slurm_powersave")


class Tidying:
    """Makes states and records agree, with one Terraform run where a state has to change."""

    def __init__(
        self,
        world: World,
        operations: Operations,
        guard: Guarding,
        shards: Shards,
        start: Callable[[Batch], None],
    ) -> None:
        """`start` takes a run that was begun."""
        self._world, self._ops, self._guard, self._shards = world, operations, guard, shards
        self._start = start
        self._not_before: dict[str, float] = {}
        """Shard -> when it is tried again."""
        self._refreshed: set[str] = set()
        """Shards in whose state Terraform has just looked what is gone."""

    def wait(self, shard: str) -> None:
        """Leave a shard alone for a while: its tidying has failed."""
        self._not_before[shard] = self._world.now() + self._world.timing.tidy_again

    def refreshed(self, shard: str) -> None:
        """Take in that Terraform's refresh has taken out of the state what is gone."""
        self._refreshed.add(shard)

    def tidy(self, shard: str) -> None:
        """Make a shard's state and the records agree again, where servers went without Terraform.

        An entry leaves the state when the cloud does not have its server any more, and in no other way. A
        server that is there and that no record names is recorded again. Nothing is destroyed here.
        """
        if self._world.now() < self._not_before.get(shard, 0.0):
            return
        try:
            held = self._world.states.servers(shard)
            known = self._shards.entries(shard)
        except TerraformError as error:
            log.error("%s", error)
            self.wait(shard)
            return
        if any(op.phase == phases.RECOVERING and op.shard == shard for op in self._ops):
            return  # it has yet to say whose the servers are
        stale = {name: server.id for name, server in held.items() if name not in known}
        if not stale:
            self._world.terraform.write_nodes(shard, known)
            self._world.journal.set_dirty(shard, False)
            return
        if shard.partition("/")[0] not in self._world.cloud_views:
            self._ask_terraform(shard, stale)
            return
        permits = []
        for name, server_id in stale.items():
            answer = self._guard.forget(name, server_id, shard.partition("/")[0])
            if isinstance(answer, Permit):
                permits.append(answer)
            elif not answer.waits:
                self._not_gone(shard, name, server_id)
        if permits:
            self._forget(shard, permits)

    def _ask_terraform(self, shard: str, stale: Mapping[str, str]) -> None:
        """A cloud without an adapter: Terraform's refresh takes out of the state what is gone."""
        if shard in self._refreshed:
            self._refreshed.discard(shard)
            for name, server_id in stale.items():
                self._not_gone(shard, name, server_id)
            return
        run = self._world.terraform.refresh(shard)
        self._start(Batch(shard, PlanMode.DELETE, (), "refresh", run, self._world.timing.terraform_run))

    def _not_gone(self, shard: str, name: str, server_id: str) -> None:
        """A server is there that no record names: the journal is lost or old, or it is being deleted."""
        record = self._world.record(name)
        if self._ops.queue(name):
            return  # it finds out by itself
        if record.server_id in ("", server_id):
            log.warning("node=%s has server %s in the state of %s: recorded again", name, server_id, shard)
            self._world.save(replace(record, shard=shard, server_id=server_id))
            return
        log.error(
            "node=%s has server %s, and the state of %s holds %s as well: left", name, record.server_id,
            shard, server_id,
        )  # fmt: skip
        self.wait(shard)

    def _forget(self, shard: str, permits: Sequence[Permit]) -> None:
        for permit in permits:
            self._guard.record(permit)
        run = self._world.terraform.forget_servers(shard, permits)
        self._start(Batch(shard, PlanMode.DELETE, (), "forget", run, self._world.timing.terraform_run))
