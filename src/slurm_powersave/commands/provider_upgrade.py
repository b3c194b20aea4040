"""`terraform init -upgrade`: newer providers, in all states of a cluster while nothing works there."""

from collections.abc import Callable
from pathlib import Path

from slurm_powersave.model.errors import RefusedError
from slurm_powersave.ports.site import Site


def upgrade(site: Site, say: Callable[[str], None]) -> dict[str, tuple[str, str]]:
    """Take the newest providers that the root modules allow; return source -> version before and after.

    The states are not touched. Where it fails a directory keeps what it had, and a second call goes on.

    Raises:
        LockedError: the engine is running.
        RefusedError: Terraform is.
        TerraformError: Terraform's own words.
    """
    layout, terraform = site.cluster.layout, site.terraform_program()
    lock = site.engine_lease().take()
    try:
        _refuse_runs(site)
        before = terraform.locked()
        if terraform.initialised(layout.base):
            say("terraform init -upgrade in base")
            site.directory(layout.base).upgrade()
        for cloud in site.cluster.clouds:
            _shards(site, layout.terraform / cloud, say)
        after = terraform.locked()
    finally:
        lock.release()
    return {source: (before.get(source, ""), version) for source, version in sorted(after.items())}


def _shards(site: Site, place: Path, say: Callable[[str], None]) -> None:
    """The first takes what is new, and the others what the first has taken."""
    terraform = site.terraform_program()
    shards = sorted(filter(terraform.initialised, place.glob("nodes-*")))
    if not shards:
        return
    first, *others = shards
    say(f"terraform init -upgrade in {place.name}/{first.name}")
    site.directory(first).upgrade()
    terraform.choose(first)
    for shard in others:
        say(f"terraform init in {place.name}/{shard.name}")
        terraform.give(shard)
        site.directory(shard).init()


def _refuse_runs(site: Site) -> None:
    journal, processes = site.existing_journal(), site.processes()
    alive = [run.record for run in journal.runs() if processes.alive(run.record)] if journal else []
    if alive:
        raise RefusedError(
            f"{alive[0].kind} of an ended engine goes on (process {alive[0].pid})",
            todo="Wait until it has ended.",
        )
