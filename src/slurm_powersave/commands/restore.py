"""`restore`: a state directory from a backup, on the same control host or on another.

Everything is laid out beside the state directory and made ready there; one rename puts it in place, so a
restore that was interrupted has changed nothing. What the backup does not know is the engine's to find
out (engine/reconcile/server_records.py): it knows servers that were made or
deleted since by the cloud's tags.
"""

import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from slurm_powersave import __version__
from slurm_powersave.commands import command_lock, deploy, restore_servers
from slurm_powersave.config import settings
from slurm_powersave.config.plain_file import read_bytes
from slurm_powersave.config.settings import Cluster
from slurm_powersave.decide.commands import backup
from slurm_powersave.decide.commands.backup import Manifest
from slurm_powersave.decide.node import brake
from slurm_powersave.model import phases
from slurm_powersave.model.errors import ConfigError, PowersaveError, RefusedError
from slurm_powersave.ports.archive import Archive, BackupReader
from slurm_powersave.ports.cloud import Cloud
from slurm_powersave.ports.journal import Journal
from slurm_powersave.ports.site import Site
from slurm_powersave.ports.terraform import Terraform


@dataclass(frozen=True)
class Restored:
    """What was put where."""

    manifest: Manifest
    cluster: Cluster
    moved: Path | None
    """Where the state directory is that was in the way."""
    wrote_cluster_file: bool
    cluster_file_differs: bool
    """There was a cluster file, and it is not the backup's."""


def restore(
    source: IO[bytes],
    where: str,
    file: Path | None,
    say: Callable[[str], None],
    archive: Archive,
    site_of: Callable[[Cluster], Site],
    *,
    force: bool = False,
) -> Restored:
    """Put a state directory back.

    Args:
        source: the backup.
        where: what to call it in an error.
        file: the cluster file; written from the backup if there is none. None: where it was.
        say: tells a person what is done.
        archive: reads the backup, before there is a cluster file.
        site_of: makes the site of the cluster that is in it.
        force: a state directory that is in the way is moved aside.

    Raises:
        ConfigError: the backup is damaged, or the cluster file is wrong.
        RefusedError: it is another cluster's or a later version's, or a state directory is in the way.
        LockedError: an engine runs in that one.
        TerraformError: `terraform init` fails.
    """
    with archive.reading(source, where) as reader:
        manifest = reader.manifest
        file = (file or Path(manifest.cluster_file)).absolute()
        known = settings.load(file) if file.exists() else None
        backup.refuse(manifest, known.cluster_name if known else None, __version__, archive.journal_version)
        text = reader.cluster_file()
        try:
            cluster = known or _place(text, file)
            try:
                moved = _lay_out(reader, site_of(cluster), say, force)
            except BaseException:
                if known is None:
                    file.unlink()
                raise
        except OSError as error:
            raise ConfigError("the backup could not be unpacked", why=str(error)) from error
    return Restored(manifest, cluster, moved, known is None, read_bytes(file) != text)


def _place(text: bytes, target: Path) -> Cluster:
    """Put the cluster file where none is, and read it."""
    with os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
        out.write(text)
    try:
        return settings.load(target)
    except ConfigError:
        target.unlink()
        raise


def _lay_out(reader: BackupReader, site: Site, say: Callable[[str], None], force: bool) -> Path | None:
    """Make the state directory; return where the one is that was in the way."""
    layout = site.cluster.layout
    root, occupied = layout.root, not command_lock.is_bare(layout.root)
    if occupied and not force:
        raise RefusedError(
            "there is a state directory already",
            where=str(root),
            todo="With --force it is moved aside first, and kept.",
        )
    lock = site.engine_lease().take() if occupied else None
    root.parent.mkdir(parents=True, exist_ok=True)
    token = secrets.token_hex(2)
    staging = root.with_name(f".{root.name}.restore-{token}")
    moved = None
    try:
        staging.mkdir(mode=0o700)
        reader.extract(staging)
        _make_ready(staging / backup.STATE, site, reader.manifest, say)
        command_lock.keep_lock(layout.command_lock, staging / backup.STATE)
        if occupied:
            moved = root.with_name(f"{root.name}.before-restore-{time.strftime('%Y%m%dT%H%M%S')}-{token}")
            root.rename(moved)
        else:
            shutil.rmtree(root, ignore_errors=True)
        (staging / backup.STATE).rename(root)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
        if lock:
            lock.release()
    return moved


def _make_ready(state: Path, site: Site, manifest: Manifest, say: Callable[[str], None]) -> None:
    """Do to the files what makes them a state directory: all before anything is in its place."""
    cluster = site.cluster
    say(f"backup of cluster {manifest.cluster}, made on {manifest.host} at {_date(manifest.created)}")
    if text := backup.converted(manifest, site.archive().journal_version):
        say(text)
    with site.of(cluster.model_copy(update={"state_dir": state})) as there:
        layout, journal, terraform = there.cluster.layout, there.journal(), there.terraform()
        end_operations(journal, f"restored from a backup of {_date(manifest.created)}")
        align(journal, terraform, cluster.clouds)
        restore_servers.take_over(journal, terraform, _clouds(there, say), say)
        # What was made since the backup looks to this journal as if nobody wanted it. A brake that only a
        # person releases stays such a one.
        if not (why := journal.brake()) or brake.ends_by_itself(why):
            journal.set_brake(brake.RESTORED)
        states = sorted(path.parent for path in layout.terraform.rglob(".terraform.lock.hcl"))
        for directory in states:
            say(f"terraform init in {directory.relative_to(state)}")
            there.directory(directory).init()
        layout.runs.mkdir(mode=0o700)


def _clouds(site: Site, say: Callable[[str], None]) -> Mapping[str, Cloud]:
    """A cloud that is described wrong is no obstacle: the cluster file can be mended afterwards."""
    try:
        return site.clouds()
    except ConfigError as error:
        say(f"no cloud can be read: images and flavors are those of the backup ({error.line})")
        return {}


def end_operations(journal: Journal, text: str) -> None:
    """What was under way then is not now; what is still wanted, Slurm's own states tell the engine."""
    now = time.time()
    for op in journal.open_operations():
        journal.save_operation(replace(op, outcome=phases.CANCELLED, since=now, text=text))
    for request in journal.unplanned_requests():
        journal.plan_request(request.id, [], [(request.hostlist, text)], now)
    for run in journal.runs():
        journal.drop_run(run.record.id)


def align(journal: Journal, terraform: Terraform, clouds: Iterable[str]) -> None:
    """Make the records name exactly what the states hold: the two were not copied at the same moment.

    An entry without a record would be taken for one whose server went by its id, and be removed with it.
    """
    held: dict[str, tuple[str, str]] = {}
    for cloud in clouds:
        for shard in terraform.shards(cloud):
            for name, server in terraform.servers(shard).items():
                held.setdefault(name, (shard, server.id))
    records = journal.node_records()
    for name, record in records.items():
        shard, server_id = held.get(name, ("", ""))
        if shard and record.shard != shard:
            journal.save_node(replace(record, shard=shard, server_id=server_id))
        elif record.shard and not shard:
            journal.save_node(replace(record, shard=""))


def inventory(site: Site, manifest: Manifest) -> bool:
    """Write the inventory anew where the state directory has moved: there are paths in it.

    Returns:
        False if the cloud or Slurm could not be asked: `deploy` does it then.
    """
    if str(site.cluster.layout.root) == manifest.state_dir:
        return True
    try:
        deploy.write_inventory(site)
    except PowersaveError:
        return False
    return True


def _date(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))
