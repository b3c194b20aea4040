"""`backup`: journal, states, keys and cluster file in one file, while the engine goes on.

The journal is copied by SQLite as it is at one moment, and the states after it. What has gone on in
between, or after the backup, is found by the engine that runs after a restore
(engine/reconcile/server_records.py).
"""

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from slurm_powersave import __version__
from slurm_powersave.config.plain_file import read_bytes
from slurm_powersave.config.settings import Cluster
from slurm_powersave.decide.commands import backup
from slurm_powersave.decide.commands.backup import Manifest
from slurm_powersave.model.errors import ConfigError
from slurm_powersave.ports.site import Site

_STAGING = ".staging-"
_FORGOTTEN = 86400.0
"""Age in seconds of a directory that a killed backup has left."""


@dataclass(frozen=True)
class Made:
    """A backup that was written and verified."""

    path: Path
    size: int
    """Bytes."""
    manifest: Manifest
    removed: tuple[str, ...] = ()
    """Older ones, beyond those that are kept."""


def make(
    site: Site,
    to: Path | None = None,
    *,
    keep: int | None = None,
    add: Callable[[Path], object] = lambda place: None,
) -> Made:
    """Write a backup to a directory (STATE/backups if none is named) or to a file.

    Args:
        site: whose.
        to: a directory, or the file's name.
        keep: how many of this cluster's backups stay in the directory; None for all.
        add: writes more below the directory that it is given.

    Raises:
        ConfigError: there is nothing to back up, or the place can't be written to.
    """
    cluster, created = site.cluster, time.time()
    directory = to or cluster.layout.backups
    if to is not None and not to.is_dir():
        if keep is not None:
            raise ConfigError(
                "--keep is for a directory", where=str(to), todo="Name a directory that exists by --to."
            )
        directory = to.parent
    name = to.name if to is not None and not to.is_dir() else backup.file_name(cluster.cluster_name, created)
    try:
        with _staged(site, created, add) as (place, manifest):
            if to is None:
                directory.mkdir(mode=0o700, exist_ok=True)
            written = site.archive().save(directory / name, place, manifest)
    except OSError as error:
        raise ConfigError("no backup could be made", where=str(directory), why=str(error)) from error
    removed = backup.outdated(os.listdir(directory), cluster.cluster_name, keep) if keep else []
    for old in removed:
        (directory / old).unlink(missing_ok=True)
    return Made(directory / name, (directory / name).stat().st_size, written, tuple(removed))


def send(site: Site, out: IO[bytes]) -> None:
    """Write a backup to a stream; it is made as a file first, and verified."""
    with tempfile.TemporaryDirectory(dir=_root(site.cluster), prefix=_STAGING) as place:
        made = make(site, Path(place) / "backup")
        with made.path.open("rb") as file:
            shutil.copyfileobj(file, out)
        out.flush()


def _root(cluster: Cluster) -> Path:
    root = cluster.layout.root
    if not cluster.layout.journal.exists():
        raise ConfigError(
            "there is nothing to back up yet",
            where=str(root),
            todo="Create the cluster first: slurm-powersave deploy",
        )
    return root


@contextmanager
def _staged(site: Site, created: float, add: Callable[[Path], object]) -> Iterator[tuple[Path, Manifest]]:
    """Lay out what goes into the backup in a directory that only its owner can read."""
    cluster, root = site.cluster, _root(site.cluster)
    for old in root.glob(f"{_STAGING}*"):
        if created - old.stat().st_mtime > _FORGOTTEN:
            shutil.rmtree(old, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=root, prefix=_STAGING) as directory:
        place = Path(directory)
        _copy(read_bytes(cluster.file), place / backup.CLUSTER_FILE)
        state = place / backup.STATE
        state.mkdir()
        version = site.archive().copy_journal(cluster.layout.journal, state / cluster.layout.journal.name)
        for path in sorted(root.rglob("*")):
            name = str(path.relative_to(root))
            if backup.belongs(name) and path.is_file():
                content = site.archive().content(path)
                if content is not None:
                    _copy(content, state / name)
        add(place)
        yield (
            place,
            Manifest(
                cluster=cluster.cluster_name,
                created=created,
                version=__version__,
                journal=version,
                host=os.uname().nodename,
                cluster_file=str(cluster.file),
                state_dir=str(root),
            ),
        )


def _copy(content: bytes, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content)
