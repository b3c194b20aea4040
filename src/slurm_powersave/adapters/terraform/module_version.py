"""A shard has a copy of its root module; a newer one is tried beside the shard before it replaces the copy.

The trial has the shard's state, its map and its providers in a directory of its own.
Whatever comes of it, the shard is as it was.
"""

import hashlib
import shlex
import shutil
from collections.abc import Mapping
from pathlib import Path

from slurm_powersave.adapters.terraform import providers
from slurm_powersave.adapters.terraform.command import Command
from slurm_powersave.adapters.terraform.state_file import STATE, write_synced
from slurm_powersave.config.plain_file import read_bytes


def copy(module: Path, directory: Path) -> None:
    """Give a directory a root module; files of an older one that the newer one does not have go."""
    files = _files(module)
    for name, content in files.items():
        if not (directory / name).exists() or read_bytes(directory / name) != content:
            write_synced(directory / name, content)
    for path in directory.glob("*.tf"):
        if path.name not in files:
            path.unlink()


def newer(module: Path, directory: Path) -> str:
    """Name the module's version if the directory has another one; empty if it has this one."""
    files = _files(module)
    if files == _files(directory):
        return ""
    digest = hashlib.sha256()
    for name, content in files.items():
        digest.update(name.encode() + b"\0" + content + b"\0")
    return digest.hexdigest()


def trial(shard: Path) -> Path:
    """Return where a newer module is tried for a shard."""
    return shard.with_name(f"try-{shard.name}")


def lay_out(module: Path, shard: Path, variables: Mapping[str, str]) -> Path:
    """Make a trial's directory: the newer module, its variables, and what else the shard has."""
    place = trial(shard)
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(mode=0o700)
    copy(module, place)
    for name, content in variables.items():
        write_synced(place / name, content)
    for name in (providers.LOCK, STATE):
        if (shard / name).exists():
            write_synced(place / name, read_bytes(shard / name))
    return place


def script(command: Command, place: Path, out: Path, *, empty: bool) -> str:
    """Return what tries it: it ends with 0 if Terraform would change nothing.

    Where the shard has no server a change can only be one of its outputs.
    """
    plan = shlex.join(command.plan(out, refresh=False, detailed=True))
    allowed = " || [ $? = 2 ]" if empty else ""
    return f"umask 077; {shlex.join(providers.init(command, place))} && {{ {plan}{allowed}; }}"


def _files(place: Path) -> dict[str, bytes]:
    return {path.name: read_bytes(path) for path in sorted(place.glob("*.tf"))}
