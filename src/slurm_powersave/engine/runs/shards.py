"""The shards' maps: which nodes stand in which Terraform state, as the journal knows it."""

import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace

from slurm_powersave.engine.world import World
from slurm_powersave.model import machine
from slurm_powersave.model.errors import TerraformError
from slurm_powersave.model.nodes import StateServer, TerraformNode

log = logging.getLogger("slurm_powersave")

SHARD_NODES = 64
"""Nodes in one state at most: a one-node plan takes 0.1 s at 64 nodes and 0.6 s at 1,000 (measured)."""


class Shards:
    """Keeps each shard's variables file in agreement with the journal's records."""

    def __init__(self, world: World, busy: Callable[[str], bool]) -> None:
        """`busy` tells whether a run of ours works in a shard."""
        self._world, self._busy = world, busy
        self.kept: set[str] = set()
        """Shards that keep an older version of the root module: they take no new nodes."""

    def entries(self, shard: str) -> dict[str, TerraformNode]:
        """Return the nodes whose records name the shard, with the entries that made their servers."""
        written = self._world.terraform.nodes(shard) if self._world.terraform.initialised(shard) else {}
        return {
            name: TerraformNode(record.node, written[name].operation if name in written else "")
            for name, record in self._world.records.in_shard(shard).items()
        }

    def readable(self, shard: str) -> dict[str, TerraformNode] | None:
        """Return the entries; None if the map can't be read: then nothing begins there until it is tidied.

        Of one file that may not be read the other shards are not to suffer.
        """
        try:
            return self.entries(shard)
        except TerraformError as error:
            if machine.is_at_fault(error) and not machine.is_lasting(error):
                raise
            log.error("%s", error)
            self._world.journal.set_dirty(shard, True)
            return None

    def write(self, shard: str) -> None:
        """Write the map that follows from the records.

        Raises:
            TerraformError: the map there is can't be read.
        """
        self._world.terraform.write_nodes(shard, self.entries(shard))

    def room(self, shard: str) -> int:
        """Return how many more nodes the shard may take."""
        return SHARD_NODES - len(self.names(shard))

    def names(self, shard: str) -> list[str]:
        """Name the nodes that the shard holds."""
        return [*self._world.records.in_shard(shard)]

    def quiet(self, cloud: str) -> list[str]:
        """Name the shards that can be planned in at once."""
        dirty = self._world.journal.dirty_shards()
        return [
            shard
            for shard in self._world.terraform.shards(cloud)
            if not self._busy(shard)
            and shard not in dirty
            and self._world.terraform.initialised(shard)
            and not self._world.terraform.busy(shard)
        ]

    def idle(self, cloud: str, wanted: int) -> str | None:
        """Choose a shard that can take a create at once: with room for all `wanted` nodes if there is one."""
        found = [one for one in self.quiet(cloud) if one not in self.kept and self.room(one) > 0]
        fitting = [shard for shard in found if self.room(shard) >= wanted]
        return next(iter(fitting or found), None)

    def vacant(self, cloud: str) -> str:
        """Name a shard that is to be initialised: one that never was, or the next number."""
        shards = self._world.terraform.shards(cloud)
        waiting = [shard for shard in shards if not self._world.terraform.initialised(shard)]
        number = 1 + max((int(shard.rpartition("-")[2]) for shard in shards), default=0)
        return waiting[0] if waiting else f"{cloud}/nodes-{number:03d}"

    def restore(self) -> None:
        """Take out of the maps what a killed engine wrote for creates that never began.

        A person's `terraform plan` would propose them. What a state holds is never taken out. The journal may
        be new, or older than a state: a shard that holds what no record names is looked at later (`tidy`);
        so is one in which somebody works that we do not know.
        """
        for cloud in self._world.cluster.clouds:
            for shard in self._world.terraform.shards(cloud):
                if not self._world.terraform.initialised(shard) or self._busy(shard):
                    continue
                try:
                    self._restore(shard)
                except TerraformError as error:
                    log.error("%s", error)
                    self._world.journal.set_dirty(shard, True)  # looked at when it can be read

    def _restore(self, shard: str) -> None:
        written = self._world.terraform.nodes(shard)
        entries = self.entries(shard)  # without what an update would have changed
        held = self._world.states.servers(shard)
        if not held.keys() <= entries.keys() or self._world.terraform.busy(shard):
            self._world.journal.set_dirty(shard, True)
        keep = {*held, *entries}
        kept = {name: entries.get(name, entry) for name, entry in written.items() if name in keep}
        if kept != written:
            self._world.terraform.write_nodes(shard, kept)

    def align(self, shard: str, servers: Mapping[str, StateServer], ours: Collection[str]) -> None:
        """Make the records say of each node what the shard's state says: it is here, or it is not.

        Args:
            shard: where an apply has ended.
            servers: what its state holds now.
            ours: the nodes of that apply. A tainted entry, or a failed create's server, belongs to the
                shard until it is deleted; an entry whose server went by its id is left to be tidied.
        """
        for name, record in self._world.records.in_shard(shard).items():
            if name not in servers:
                self._world.save(replace(record, shard=""))
        for name in sorted(servers.keys() & set(ours)):
            known = self._world.records.get(name)
            if known and not known.shard:
                self._world.save(replace(known, shard=shard, server_id=servers[name].id))
