"""`terraform init -upgrade`: newer providers, in all states of a cluster while nothing works there."""

from collections.abc import Callable
from pathlib import Path

from slurm_powersave.adapters import connect
from slurm_powersave.adapters.journal.sqlite import SqliteJournal
from slurm_powersave.adapters.processes import process
from slurm_powersave.adapters.state_dir.lock import engine_lease
from slurm_powersave.adapters.terraform import providers, versions
from slurm_powersave.config.settings import Cluster
from slurm_powersave.model.errors import RefusedError


def upgrade(cluster: Cluster, say: Callable[[str], None]) -> dict[str, tuple[str, str]]:
    """Take the newest providers that the root modules allow; return source -> version before and after.

    The states are not touched. Where it fails a directory keeps what it had, and a second call goes on.

    Raises:
        LockedError: the engine is running.
        RefusedError: Terraform is.
        TerraformError: Terraform's own words.
    """
    layout = cluster.layout
    lock = engine_lease(layout).take()
    try:
        _refuse_runs(layout.journal)
        before = versions.locked(layout.terraform)
        if providers.initialised(layout.base):
            say("terraform init -upgrade in base")
            connect.state(cluster, layout.base).upgrade()
        for cloud in cluster.clouds:
            _shards(cluster, layout.terraform / cloud, say)
        after = versions.locked(layout.terraform)
    finally:
        lock.release()
    return {source: (before.get(source, ""), version) for source, version in sorted(after.items())}


def _shards(cluster: Cluster, place: Path, say: Callable[[str], None]) -> None:
    """The first takes what is new, and the others what the first has taken."""
    shards = sorted(filter(providers.initialised, place.glob("nodes-*")))
    if not shards:
        return
    first, *others = shards
    say(f"terraform init -upgrade in {place.name}/{first.name}")
    connect.state(cluster, first).upgrade()
    providers.choose(first)
    for shard in others:
        say(f"terraform init in {place.name}/{shard.name}")
        providers.give(shard)
        connect.state(cluster, shard).init()


def _refuse_runs(path: Path) -> None:
    if not path.exists():
        return
    journal = SqliteJournal(path)
    try:
        alive = [run.record for run in journal.runs() if process.alive(run.record)]
    finally:
        journal.close()
    if alive:
        raise RefusedError(
            f"{alive[0].kind} of an ended engine goes on (process {alive[0].pid})",
            todo="Wait until it has ended.",
        )
