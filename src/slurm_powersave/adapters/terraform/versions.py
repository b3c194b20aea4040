"""Which Terraform and providers are on this host, found by running only `terraform version`."""

import re
from pathlib import Path

from slurm_powersave.adapters.terraform.command import Command
from slurm_powersave.config.plain_file import read_text
from slurm_powersave.model.cloud_facts import Tools
from slurm_powersave.model.errors import MissingToolError

_LOCKED = re.compile(r'^provider "([^"]+)" \{\s*\n\s*version\s*=\s*"([^"]+)"', re.MULTILINE)


def read(command: Command, states: Path) -> Tools:
    """Ask Terraform for its version, and read which providers an `init` has chosen.

    Args:
        command: how Terraform is called.
        states: the directory of all states.
    """
    providers = locked(states)
    try:
        return Tools(command.check(), providers=providers)
    except MissingToolError as error:
        return Tools(trouble=error.line, providers=providers)


def locked(states: Path) -> dict[str, str]:
    """Read the dependency lock files; of a provider in several states the oldest version."""
    found: dict[str, str] = {}
    for path in sorted(states.glob("**/.terraform.lock.hcl")):
        for source, version in _LOCKED.findall(read_text(path)):
            found[source] = min(found.get(source, version), version, key=_numbers)
    return found


def _numbers(version: str) -> list[int]:
    return [int(part) for part in re.findall(r"[0-9]+", version)]
