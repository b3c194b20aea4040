"""States that Terraform has spoiled, on a full disk mostly: a copy takes their place and is tidied then."""

import logging
from dataclasses import replace

from slurm_powersave.engine.faults import Faults
from slurm_powersave.engine.runs.batches import Batches
from slurm_powersave.engine.world import World

log = logging.getLogger("slurm_powersave")


class Mending:
    """Looks at the states in which nobody works."""

    def __init__(self, world: World, batches: Batches, faults: Faults) -> None:
        self._world, self._batches, self._faults = world, batches, faults
        self._due = float("-inf")

    def step(self) -> None:
        """Put copies in the place of broken states, where the cloud could be read a moment ago.

        What was made or deleted since then is found out afterwards: where the state does not hold a recorded
        server, that is acted upon by its id, and `tidy` takes out what the cloud does not list. Where the
        cloud has no adapter Terraform refreshes the state.
        """
        if self._world.now() < self._due:
            return
        self._due = self._world.now() + self._world.timing.state_look
        for cloud in self._world.cluster.clouds:
            for shard in self._world.terraform.shards(cloud):
                if self._faults.backoff_error(shard) or self._batches.busy(shard):
                    continue
                with self._faults.during(shard):
                    if self._world.terraform.is_broken(shard):
                        self._mend(cloud, shard)

    def _mend(self, cloud: str, shard: str) -> None:
        if view := self._world.cloud_views.get(cloud):
            view.refresh()
            if view.error:
                return
        self._world.journal.set_dirty(shard, True)
        log.warning("%s: %s", shard, self._world.terraform.put_back(shard))
        held = self._world.states.servers(shard)
        self._batches.shards.align(shard, held, ())
        for name, server in held.items():
            record = self._world.record(name)
            if record.shard == shard and record.server_id not in ("", server.id):
                self._world.save(replace(record, shard=""))  # its old server, which `tidy` takes out
