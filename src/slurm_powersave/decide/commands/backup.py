"""What a backup file holds, what it is called, and which one may be restored where. Pure.

A tar file: manifest.json first, then cluster.yml, then the state directory's files below state/. Members
below logs/ are for people.
"""

import json
import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import PurePosixPath
from typing import Any

from slurm_powersave.model.errors import ConfigError, RefusedError
from slurm_powersave.model.outside_text import VERSION, is_chosen_name, matching

FORMAT = 1
MANIFEST, CLUSTER_FILE, STATE, LOGS = "manifest.json", "cluster.yml", "state/", "logs/"
_KEPT = ("applied.json", "known_hosts", "keys/", "inventory/", "terraform/")
"""Parts of the state directory that are copied as they are; the journal is copied by SQLite."""
_LONGEST = 1000
"""Characters of a member's name at most; each / in it makes a directory."""
_YEAR_10000 = 253_402_300_800
_LEFT = re.compile(
    r"/\.terraform/|^/terraform/[^/]+/(providers(\.new|\.old)?|try-[^/]*)/|/(plan|run)-[^/]*/|\.lock\.info$"
    r"|\.tfstate\.(backup|before-apply|broken)$|\.new$"
)
"""Files that are left out: Terraform makes them again, or they exist only for a moment."""


@dataclass(frozen=True)
class Member:
    """One file in a backup."""

    size: int
    """Bytes."""
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What a backup says of itself."""

    cluster: str
    created: float
    """Seconds since the epoch."""
    version: str
    """Of slurm-powersave."""
    journal: int
    """The journal's version."""
    host: str
    """Where it was made."""
    cluster_file: str
    state_dir: str
    members: dict[str, Member] = field(default_factory=dict)
    """In the order of the file."""
    format: int = FORMAT

    def text(self) -> str:
        """Write manifest.json."""
        date = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.created))
        return json.dumps({"date": date} | asdict(self), indent=1) + "\n"


_SINCE = {4: "when nodes were last in use, why servers were deleted, the hardware of each pool, and pauses"}
"""A version of the journal -> what is recorded from then on that somebody may look for after a restore."""


def parse(text: str, where: str) -> Manifest:
    """Read manifest.json.

    Raises:
        ConfigError: it is no manifest, or one that only a later version understands.
    """
    try:
        found: dict[str, Any] = json.loads(text)
        del found["date"]
        if not _is_count(found["format"]):
            raise TypeError(found["format"])
        if found["format"] > FORMAT:
            raise ConfigError(
                f"a backup of format {found['format']}; this version reads format {FORMAT}",
                where=where,
                todo=f"Use slurm-powersave {found.get('version')} or later.",
            )
        members = {str(name): Member(**member) for name, member in found.pop("members").items()}
        manifest = Manifest(**found, members=members)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ConfigError("not a backup of slurm-powersave", where=where, why=repr(error)) from None
    if wrong := [name for name, fits in _FORMS.items() if not fits(getattr(manifest, name))]:
        why = f"the value of {wrong[0]} in its manifest is missing or not valid"
        raise ConfigError("not a backup of slurm-powersave", where=where, why=why)
    return manifest


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_time(value: object) -> bool:
    return isinstance(value, int | float) and 0 <= value < _YEAR_10000


def _is_path(value: object) -> bool:
    return isinstance(value, str) and value.isprintable() and 0 < len(value) <= _LONGEST


def _are_members(value: Mapping[str, Member]) -> bool:
    return all(_is_count(member.size) and isinstance(member.sha256, str) for member in value.values())


_FORMS: Mapping[str, Callable[[Any], bool]] = {
    "cluster": is_chosen_name,
    "created": _is_time,
    "version": lambda value: bool(matching(VERSION, value)),
    "journal": _is_count,
    "host": is_chosen_name,
    "cluster_file": _is_path,
    "state_dir": _is_path,
    "members": _are_members,
}
"""The keys of a manifest and how each value is checked: anybody may have written a backup file."""


def belongs(path: str) -> bool:
    """Tell whether a file, named relative to the state directory, is part of a backup."""
    return path.startswith(_KEPT) and not _LEFT.search(f"/{path}")


def is_safe(name: str) -> bool:
    """Tell whether a member's name leads to where members may lie."""
    path = PurePosixPath(name)
    return (
        not path.is_absolute()
        and ".." not in path.parts
        and str(path) == name
        and "\0" not in name
        and len(name) <= _LONGEST
        and (name == CLUSTER_FILE or name.startswith((STATE, LOGS)))
    )


def file_name(cluster: str, created: float) -> str:
    """Name a backup so that names sort by age."""
    return f"slurm-powersave-{cluster}-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime(created))}.tar.gz"


def outdated(names: Iterable[str], cluster: str, keep: int) -> list[str]:
    """Choose the backups of a cluster beyond the newest `keep`; other files are never chosen."""
    ours = re.compile(rf"slurm-powersave-{re.escape(cluster)}-\d{{8}}T\d{{6}}Z\.tar\.gz")
    return sorted(name for name in names if ours.fullmatch(name))[:-keep]


def refuse(manifest: Manifest, cluster: str | None, version: str, journal: int) -> None:
    """Refuse a backup that is another cluster's, or of a later version.

    Args:
        manifest: the backup's.
        cluster: the cluster file's name; None if there is no cluster file yet.
        version: ours.
        journal: the version of the journal that we write.

    Raises:
        RefusedError: it is not for us.
    """
    if cluster is not None and cluster != manifest.cluster:
        raise RefusedError(
            f"a backup of cluster {manifest.cluster}, and the cluster file is of {cluster}",
            todo="Name the right cluster file by --cluster, or a file that does not exist yet.",
        )
    if manifest.journal > journal or _numbers(manifest.version) > _numbers(version):
        raise RefusedError(
            f"a backup made by slurm-powersave {manifest.version}; this is {version}",
            todo=f"Install version {manifest.version} or later.",
        )


def converted(manifest: Manifest, journal: int) -> str:
    """Say that an older journal is converted, and what it does not record; empty if it is of our version."""
    if manifest.journal == journal:
        return ""
    missing = "; ".join(what for version, what in _SINCE.items() if manifest.journal < version)
    text = f"its journal is of version {manifest.journal} and is converted to version {journal}"
    return f"{text}; it does not record {missing}" if missing else text


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])
