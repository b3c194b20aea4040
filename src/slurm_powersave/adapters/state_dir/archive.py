"""Backup files: tar, compressed, readable by their owner only, and read once more after they were written."""

import hashlib
import io
import os
import tarfile
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import IO

from slurm_powersave.decide.commands import backup
from slurm_powersave.decide.commands.backup import Manifest, Member
from slurm_powersave.model.errors import ConfigError

_BLOCK = 1 << 20
_LONGEST_MANIFEST = 64 << 20
_BROKEN = (tarfile.TarError, EOFError, zlib.error)


def write(target: IO[bytes], place: Path, manifest: Manifest) -> Manifest:
    """Write all files below a directory, the manifest first; return it with its members."""
    names = sorted(
        (str(path.relative_to(place)) for path in place.rglob("*") if path.is_file()),
        key=lambda name: (name != backup.CLUSTER_FILE, name),
    )
    whole = replace(manifest, members={name: _described(place / name) for name in names})
    with tarfile.open(fileobj=target, mode="w|gz") as tar:
        text = whole.text().encode()
        _add(tar, backup.MANIFEST, io.BytesIO(text), len(text), whole.created)
        for name, member in whole.members.items():
            with (place / name).open("rb") as file:
                _add(tar, name, file, member.size, whole.created)
    return whole


def _add(tar: tarfile.TarFile, name: str, content: IO[bytes], size: int, created: float) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode, entry.mtime = size, 0o600, int(created)
    tar.addfile(entry, content)


def _described(path: Path) -> Member:
    with path.open("rb") as file:
        return Member(path.stat().st_size, _copy(file, None))


class Reader:
    """A backup that is read from its beginning to its end, each member held against the manifest.

    Methods raise ConfigError for a file that is damaged or no backup.
    """

    def __init__(self, tar: tarfile.TarFile, where: str) -> None:
        self._tar, self._where = tar, where
        entry, file = self._next()
        if entry is None or entry.name != backup.MANIFEST or entry.size > _LONGEST_MANIFEST:
            raise self._damaged("it does not begin with a manifest")
        self.manifest = backup.parse(file.read().decode(errors="replace"), where)
        self._left = dict(self.manifest.members)
        if bad := [name for name in self._left if not backup.is_safe(name)]:
            raise self._damaged(f"a member is called {bad[0]!r}")

    def _next(self) -> tuple[tarfile.TarInfo | None, IO[bytes]]:
        entry = self._tar.next()
        if entry is None:
            return None, io.BytesIO()
        file = self._tar.extractfile(entry) if entry.isreg() else None
        if file is None:
            raise self._damaged(f"{entry.name} is no plain file")
        return entry, file

    def _damaged(self, why: str) -> ConfigError:
        return ConfigError(
            "the file is no backup, or is damaged",
            where=self._where,
            why=why,
            todo="Nothing was changed. Use another backup.",
        )

    def cluster_file(self) -> bytes:
        """Read the cluster file: it is the first member, because it tells where the others go."""
        content = io.BytesIO()
        if self._member(content) != backup.CLUSTER_FILE:
            raise self._damaged("it holds no cluster file")
        return content.getvalue()

    def extract(self, into: Path | None = None) -> None:
        """Write the members that are left below a directory; with none, only check them."""
        while self._member(into) is not None:
            pass
        if self._left:
            raise self._damaged(f"{next(iter(self._left))} is missing")

    def _member(self, target: IO[bytes] | Path | None) -> str | None:
        """Read the next member into a stream, or below a directory; return its name, None at the end."""
        entry, file = self._next()
        if entry is None:
            return None
        wanted = self._left.pop(entry.name, None)
        if wanted is None or wanted.size != entry.size:
            raise self._damaged(f"{entry.name} is not as the manifest says")
        if isinstance(target, Path):
            with _created(target / entry.name) as out:
                found = _copy(file, out)
        else:
            found = _copy(file, target)
        if found != wanted.sha256:
            raise self._damaged(f"{entry.name} has another checksum")
        return entry.name


def _copy(file: IO[bytes], out: IO[bytes] | None) -> str:
    """Copy a stream and return its checksum."""
    digest = hashlib.sha256()
    while block := file.read(_BLOCK):
        digest.update(block)
        if out:
            out.write(block)
    return digest.hexdigest()


@contextmanager
def _created(path: Path) -> Iterator[IO[bytes]]:
    """Write a new file that only its owner can read, and its directories; it is on the disk at the end."""
    _make_directory(path.parent)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
        yield out
        out.flush()
        os.fsync(out.fileno())


def _make_directory(path: Path) -> None:
    # Not `parents=True`: those would get the mode that the umask gives.
    if not path.exists():
        _make_directory(path.parent)
        path.mkdir(mode=0o700)


@contextmanager
def reading(source: IO[bytes], where: str) -> Iterator[Reader]:
    """Open a backup; what tar or gzip say while it is read is told as an error of ours."""
    try:
        with tarfile.open(fileobj=source, mode="r|*") as tar:
            yield Reader(tar, where)
    except _BROKEN as error:
        raise ConfigError(
            "the backup can't be read",
            where=where,
            why=str(error) or repr(error),
            todo="Nothing was changed. Use another backup.",
        ) from error


def verify(path: Path) -> Manifest:
    """Read a whole backup and hold it against its manifest.

    Raises:
        ConfigError: it is damaged.
    """
    with path.open("rb") as file, reading(file, str(path)) as reader:
        reader.extract()
        return reader.manifest


def save(target: Path, place: Path, manifest: Manifest) -> Manifest:
    """Make a backup file of what is below `place`: whole, verified and mode 0600, or not there at all.

    Raises:
        ConfigError: it can't be written there.
    """
    if not target.parent.is_dir():
        raise ConfigError("the backup can't be written", where=str(target), why="there is no such directory")
    new = target.with_name(f".{target.name}.{os.getpid()}.{time.monotonic_ns()}")
    try:
        with _created(new) as file:
            written = write(file, place, manifest)
        verify(new)
        os.replace(new, target)
        _sync(target.parent)
    except OSError as error:
        raise ConfigError("the backup can't be written", where=str(target), why=str(error)) from error
    finally:
        new.unlink(missing_ok=True)
    return written


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
