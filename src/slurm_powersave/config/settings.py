"""Find, check and load the cluster file: group_vars/all.yml, read by Terraform, Ansible and us alike."""

import os
from collections.abc import Mapping
from pathlib import Path

from slurm_powersave.config.cluster import Cluster
from slurm_powersave.config.layout import Layout
from slurm_powersave.config.report import examine
from slurm_powersave.config.sections import (
    Cloud,
    FailurePolicy,
    Login,
    Partition,
    Pool,
    PowerSave,
    TerraformSettings,
)
from slurm_powersave.config.yaml_file import Mistake
from slurm_powersave.model.errors import ConfigError

__all__ = [
    "SEARCHED",
    "VARIABLE",
    "Cloud",
    "Cluster",
    "FailurePolicy",
    "Layout",
    "Login",
    "Mistake",
    "Partition",
    "Pool",
    "PowerSave",
    "TerraformSettings",
    "find",
    "load",
    "report",
]

VARIABLE = "SLURM_POWERSAVE_CLUSTER"
"""The environment variable that names the cluster file."""
SEARCHED = (Path("group_vars/all.yml"), Path("/etc/slurm-powersave/cluster.yml"))
"""Where the cluster file is looked for when nothing names it; the first relative to the directory."""


def find(explicit: Path | None, env: Mapping[str, str], directory: Path | None = None) -> Path:
    """Find the cluster file: as named, by the environment, here, in /etc.

    Args:
        explicit: what `--cluster` named.
        env: the environment.
        directory: what relative paths are relative to; the working directory by default.

    Raises:
        ConfigError: there is none; says where it was looked for.
    """
    here = directory or Path.cwd()
    if explicit:
        named, by = explicit, "--cluster"
    elif env.get(VARIABLE):
        named, by = Path(env[VARIABLE]), f"${VARIABLE}"
    else:
        places = [here / place for place in SEARCHED]
        for place in places:
            if os.path.exists(place):
                return place
        raise ConfigError(
            "there is no cluster file",
            why="looked for " + ", ".join(str(place) for place in places),
            todo=f"Name one by `--cluster FILE` or ${VARIABLE}.",
        )
    place = here / named.expanduser()
    if os.path.lexists(place):
        return place  # what is wrong with it is told when it is read
    raise ConfigError(
        "there is no such cluster file",
        where=str(place),
        why=f"named by {by}",
        todo="Name a file that exists.",
    )


def report(path: Path) -> list[Mistake]:
    """Name every mistake of a cluster file, in the order of the file; an empty list if it is right."""
    return examine(path)[1]


def load(path: Path) -> Cluster:
    """Read the cluster file.

    Raises:
        ConfigError: it can't be read or holds mistakes; the text lists every one of them.
    """
    cluster, mistakes = examine(path)
    if cluster is None or mistakes:
        count = f"{len(mistakes)} mistake{'s' if len(mistakes) != 1 else ''}"
        listed = "".join(f"\n  {mistake}" for mistake in mistakes)
        raise ConfigError(
            f"{count} in the cluster file{listed}",
            where=str(path),
            todo="Nothing was changed. `slurm-powersave check` shows them again.",
        )
    return cluster
