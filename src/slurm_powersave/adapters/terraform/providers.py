"""One choice of Terraform's providers for all shards of a cloud: else each would fetch newer ones of its own.

Beside a cloud's shards lie its lock file and one directory with the providers, which Terraform reads as a
filesystem mirror; both come from the first shard. From then on `terraform init` needs no registry. A shard
has a link to that directory, by a relative path, so that it may be moved with the state directory.
"""

import shlex
import shutil
from pathlib import Path

from slurm_powersave.adapters.terraform.command import Command

LOCK = ".terraform.lock.hcl"
_KEPT_LOCK, _PACKAGES = "providers.lock.hcl", "providers"
_INSTALLED = Path(".terraform") / "providers"
# Terraform's own link is an absolute path. The path in it: HOST/NAMESPACE/TYPE/VERSION/MACHINE.
_RELATIVE = (
    "for at in .terraform/providers/*/*/*/*/*; do "
    '[ ! -L "$at" ] || ln -sfn "../../../../../../../${at#.terraform/}" "$at" || exit; done'
)
# `terraform init` remembers its -plugin-dir there, and uses it again when it is called without.
_FORGET = "rm -f .terraform/plugin_path"


def initialised(directory: Path) -> bool:
    """Tell whether `terraform init` has ended well in a directory."""
    return (directory / LOCK).exists() and (directory / ".terraform").is_dir()


def init(command: Command, directory: Path) -> list[str]:
    """Return what initialises a shard: with the cloud's providers, or from the registry if it needs others.

    A shard that has a lock file keeps it. What is missing is taken from the first shard, or from the login
    node's state, which mostly uses the same.
    """
    place = directory.parent
    _keep(place)
    tries = []
    locked = (directory / LOCK).exists() or (place / _KEPT_LOCK).exists()
    if (place / _PACKAGES).is_dir():
        from_here = shlex.join(command.init(readonly=locked, plugin_dir=f"../{_PACKAGES}"))
        tries.append(f"{{ {from_here} && {_RELATIVE}; }}")
    tries.append(f"{_FORGET}; {shlex.join(command.init(readonly=locked))}")
    steps = " || { " + " || { ".join(tries) + "; }" * len(tries)
    if (directory / LOCK).exists() or not locked:
        return ["/bin/sh", "-c", f"false{steps}"]
    # One that has failed is no shard yet.
    undo = f"{{ rc=$?; rm -f {LOCK}; exit $rc; }}"
    return ["/bin/sh", "-c", f"cp ../{_KEPT_LOCK} {LOCK} || exit; {{ false{steps}; }} || {undo}"]


def choose(first: Path) -> None:
    """Make what a directory has been initialised with the cloud's choice, in the place of another one."""
    place = first.parent
    _copy(first / _INSTALLED, place / _PACKAGES)
    shutil.copyfile(first / LOCK, place / _KEPT_LOCK)


def give(directory: Path) -> None:
    """Give a shard the cloud's lock file; its next `init` takes what stands there."""
    shutil.copyfile(directory.parent / _KEPT_LOCK, directory / LOCK)


def forget(states: Path) -> None:
    """Remove what was chosen for each cloud below the directory of all states."""
    for lock in states.glob(f"*/{_KEPT_LOCK}"):
        lock.unlink()
    for packages in states.glob(f"*/{_PACKAGES}"):
        shutil.rmtree(packages, ignore_errors=True)


def _keep(place: Path) -> None:
    """Record what was chosen at first use, as far as it is not recorded."""
    first = next((path for path in sorted(place.glob("nodes-*")) if initialised(path)), None)
    if first and not (place / _KEPT_LOCK).exists():
        choose(first)
    base = place.parent / "base"
    for source in (first, base):
        if source and not (place / _PACKAGES).exists() and _is_whole(source / _INSTALLED):
            _copy(source / _INSTALLED, place / _PACKAGES)


def _is_whole(packages: Path) -> bool:
    """Tell whether there are providers, and all links to them lead somewhere."""
    found = list(packages.glob("*/*/*/*/*"))  # HOST/NAMESPACE/TYPE/VERSION/MACHINE
    return bool(found) and all(path.exists() for path in found)


def _copy(source: Path, target: Path) -> None:
    """Add packages; those of other versions stay, since shards have links to them."""
    if not source.is_dir():
        return
    new = target.with_name(f"{target.name}.new")
    shutil.rmtree(new, ignore_errors=True)
    if target.exists():
        shutil.copytree(target, new)
    shutil.copytree(source, new, dirs_exist_ok=True)
    old = target.with_name(f"{target.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if target.exists():
        target.rename(old)
    new.rename(target)
    shutil.rmtree(old, ignore_errors=True)
