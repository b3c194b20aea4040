"""The cluster file as it was applied: kept, and gone back to by `deploy --back` and `resize --back`."""

import contextlib
import difflib
import os
import stat
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from slurm_powersave.commands.messages import Dialog
from slurm_powersave.config import settings, yaml_file
from slurm_powersave.config.layout import Layout
from slurm_powersave.config.plain_file import read_bytes
from slurm_powersave.config.settings import Cluster
from slurm_powersave.model.errors import ConfigError
from slurm_powersave.ports.site import Site

KEPT = 10
"""Cluster files that stay."""


@dataclass(frozen=True)
class Applying:
    """A cluster file that is being applied, as it was when it was read."""

    site: Site
    text: bytes

    @classmethod
    def of(cls, site: Site) -> "Applying":
        """Take its text; it may be edited while it is applied."""
        file = site.cluster.file
        return cls(site, read_bytes(file) if file.exists() else b"")

    def succeeded(self) -> None:
        """Keep it, unless it is what was applied last."""
        directory = self.site.cluster.layout.cluster_files
        directory.mkdir(mode=0o700, exist_ok=True)
        known = _known(directory)
        if not self.text or (known and read_bytes(known[-1]) == self.text):
            return
        number = int(known[-1].name.partition("-")[0]) + 1 if known else 1
        stamp = time.strftime("%Y-%m-%dT%H-%M-%S")
        self.site.own_files().save(directory / f"{number:06d}-{stamp}.yml", self.text)
        for path in _known(directory)[:-KEPT]:
            path.unlink()


def go_back(file: Path, dialog: Dialog, *, dry_run: bool) -> Cluster | None:
    """Put the cluster file back that was applied before; return it, or None if the person said no.

    That is the newest one that was applied and differs from the present one, which is kept beside it.
    With `dry_run` the file stays as it is, and what is returned is read from the old one.

    Raises:
        ConfigError: there is none, or it is not right any more.
    """
    file = file.resolve()
    text = read_bytes(file)
    old = _previous(text, layout_of(file).cluster_files)
    lines = difflib.unified_diff(
        text.decode(errors="replace").splitlines(),
        read_bytes(old).decode(errors="replace").splitlines(),
        f"{file} (now)",
        f"{file} (applied {old.stem.partition('-')[2]})",
        lineterm="",
    )
    dialog.show("\n".join(lines))
    found = _beside(file, old)
    try:
        cluster = settings.load(found)
        if dry_run:
            return cluster.model_copy(update={"file": file})
        if not dialog.ask("Go back to this cluster file?"):
            return None
        kept = _keep(file)
        os.replace(found, file)
    finally:
        found.unlink(missing_ok=True)
    dialog.say(f"{file} is as it was applied before; what it was until now is in {kept}")
    return settings.load(file)


def _known(directory: Path) -> list[Path]:
    return sorted(directory.glob("[0-9]*-*.yml"))


def layout_of(file: Path) -> Layout:
    """Find the state directory, also of a cluster file with mistakes, which one may want to leave.

    Raises:
        ConfigError: the file has mistakes, and no directory is known where others were applied.
    """
    try:
        return settings.load(file).layout
    except ConfigError:
        content = yaml_file.read(file).content
        given = content.get("state_dir") or f"/var/lib/slurm-powersave/{content.get('cluster_name')}"
        layout = Layout(file.parent / str(given))
        if not layout.cluster_files.is_dir():
            raise
        return layout


def _previous(text: bytes, directory: Path) -> Path:
    for path in reversed(_known(directory)):
        if read_bytes(path) != text:
            return path
    raise ConfigError(
        "there is no cluster file to go back to",
        where=str(directory),
        why="none was applied before that differs from the present one",
        todo="One is kept whenever a deploy or resize has succeeded. Edit the cluster file instead.",
    )


def _beside(file: Path, old: Path) -> Path:
    """Copy the old file beside the present one: relative paths mean the same there."""
    handle, name = tempfile.mkstemp(prefix=f".{file.stem}-", suffix=".yml", dir=file.parent)
    return _written(handle, Path(name), read_bytes(old), file)


def _keep(file: Path) -> Path:
    """Copy the present file to a name of its own."""
    kept = file.with_name(f"{file.name}.replaced-{time.strftime('%Y-%m-%dT%H-%M-%S')}")
    handle = os.open(kept, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    return _written(handle, kept, read_bytes(file), file)


def _written(handle: int, path: Path, text: bytes, like: Path) -> Path:
    """Write a new file, with owner and mode of another one as far as that is allowed."""
    found = like.stat()
    with os.fdopen(handle, "wb") as new:
        new.write(text)
        with contextlib.suppress(PermissionError):
            os.fchown(new.fileno(), found.st_uid, found.st_gid)
        os.fchmod(new.fileno(), stat.S_IMODE(found.st_mode))
        new.flush()
        os.fsync(new.fileno())
    return path
