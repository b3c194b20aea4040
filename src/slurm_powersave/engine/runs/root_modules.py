"""A newer version of the nodes' root module reaches the shards that exist, where it changes nothing.

It is tried in an idle shard with `terraform plan -refresh=false`. Where that says "No changes" the shard has
it from then on. Else it keeps what its nodes were made with, and takes no new nodes until those are gone.
"""

import logging
from collections.abc import Callable, Mapping

from slurm_powersave.decide.node.plan_guard import PlanMode
from slurm_powersave.engine.runs.results import Batch
from slurm_powersave.engine.runs.shards import Shards
from slurm_powersave.engine.world import World
from slurm_powersave.model.errors import TerraformError
from slurm_powersave.model.hostlist import fold
from slurm_powersave.model.nodes import NodeRecord, RunResult
from slurm_powersave.ports.terraform import ModuleVersions

log = logging.getLogger("slurm_powersave")


class RootModules:
    """Tries a newer root module in one shard after the other."""

    def __init__(self, world: World, shards: Shards, start: Callable[[Batch], None]) -> None:
        """`start` takes a run that was begun."""
        self._world, self._shards, self._start = world, shards, start
        self._next: dict[str, float] = {}
        """Cloud -> when its shards are looked at again."""
        self._running = ""
        """The shard in which one is tried now."""
        self._refused: dict[str, tuple[str, bool]] = {}
        """Shard -> the version that was tried in vain, and whether it had nodes then."""

    def look(self, cloud: str) -> None:
        """Begin a trial, if there is a newer version for an idle shard of a cloud."""
        if self._running or self._world.now() < self._next.get(cloud, float("-inf")):
            return
        for shard in self._shards.quiet(cloud):
            version = self._world.terraform.newer_module(shard)
            if not version:
                self._shards.kept.discard(shard)
            elif self._refused.get(shard) != (version, bool(self._shards.names(shard))):
                self._begin(shard)
                return
        self._next[cloud] = self._world.now() + self._world.timing.module_look

    def _begin(self, shard: str) -> None:
        try:
            run = self._world.terraform.try_module(shard)
        except TerraformError as error:
            log.error("%s", error)
            self._end(shard, str(error))
            return
        self._running = shard
        self._start(Batch(shard, PlanMode.CREATE, (), "module", run, self._world.timing.terraform_run))

    def tried(self, shard: str, result: RunResult) -> None:
        """Take the new version, or keep the old one."""
        self._running = ""
        if result.ok and self._world.terraform.busy(shard):
            self._world.terraform.end_trial(shard, take=False)  # a person works there: tried again
            return
        self._world.terraform.end_trial(shard, take=result.ok)
        if result.ok:
            log.info("shard=%s has the new version of its root module", shard)
            self._shards.kept.discard(shard)
        else:
            self._end(shard, result.text)

    def _end(self, shard: str, why: str) -> None:
        names = self._shards.names(shard)
        self._refused[shard] = self._world.terraform.newer_module(shard), bool(names)
        self._shards.kept.add(shard)
        log.warning(
            "shard=%s nodes=%s keeps its version of the root module, since the new one would change "
            "something or does not work there: %s", shard, fold(names), why,
        )  # fmt: skip


def older(versions: ModuleVersions, records: Mapping[str, NodeRecord]) -> dict[str, list[str]]:
    """Name the shards that have another version of the root module than their cloud, with their nodes."""
    found: dict[str, list[str]] = {}
    for name, record in records.items():
        if record.shard:
            found.setdefault(record.shard, []).append(name)
    return {shard: names for shard, names in sorted(found.items()) if versions.newer_module(shard)}


def lines(older: Mapping[str, list[str]]) -> list[str]:
    """Say it, for `status`."""
    return [
        f"Terraform state {shard} ({fold(names)}) has an older version of the root module: it takes the "
        "newer one if that changes nothing there, else when these nodes are gone"
        for shard, names in older.items()
    ]
