"""The slurmctld that runs, and the version that the cluster file names: what follows when they differ. Pure.

slurmctld's own word counts. The installed programs may be newer than the process that still runs.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from slurm_powersave.config.cluster import Cluster
from slurm_powersave.decide.preflight import time_limits
from slurm_powersave.decide.preflight.findings import Found, error, warning
from slurm_powersave.model.errors import ConfigError
from slurm_powersave.model.slurm_version import Version
from slurm_powersave.model.slurm_versions import NEWEST, Difference, Standing, has, standing

KEY = "slurm_version"
"""The key of the cluster file."""


@dataclass(frozen=True)
class Running:
    """What the slurmctld that runs said of its version."""

    version: Version | None = None
    trouble: str = ""
    """Why it could not be read. Both are empty where nobody was asked: nothing is deployed yet."""
    timers: Mapping[str, int] = field(default_factory=dict)
    """Slurm's parameter (ResumeTimeout, for one) -> seconds; empty where that is not known."""


@dataclass(frozen=True)
class Disagreement:
    """slurmctld runs another version than the cluster file names."""

    wrong: str
    right: str
    """What to do."""


def disagreement(cluster: Cluster, running: Running) -> Disagreement | None:
    """Compare the first two numbers; None if they agree, or if slurmctld's version is not known."""
    found, said = running.version, cluster.slurm_release
    if found is None or found == said:
        return None
    where = f"slurmctld on {cluster.login.name}"
    wrong = f"{where} runs Slurm {found.text or found}, the cluster file says {said}"
    if not has(found, Difference.POWER_DOWN_FORCE):
        oldest = Difference.POWER_DOWN_FORCE.value.since
        return Disagreement(wrong, f"Upgrade slurmctld: Slurm {oldest} or later is needed.")
    todo = f'Set {KEY}: "{found}" in {cluster.file} and run slurm-powersave deploy'
    return Disagreement(wrong, f"{todo}; until then slurm.conf stays as it is.")


def findings(cluster: Cluster, running: Running) -> Found:
    """Find what `check` has to say of the version of Slurm, and of the limits with which it runs."""
    if differs := disagreement(cluster, running):
        yield error(KEY, differs.wrong, differs.right)
    if standing(cluster.slurm_release) is Standing.NEWER:
        yield warning(
            KEY,
            f"Slurm {cluster.slurm_release} is newer than {NEWEST}, the newest version that was tested",
            f"It is treated like {NEWEST}. Read Slurm's release notes, and try it on a test cluster first.",
        )
    yield from time_limits.findings(cluster, running.timers)


def asked(cluster: Cluster, running: Running) -> list[str]:
    """Say for a person what was asked of slurmctld, and what it answered."""
    where = f"slurmctld on {cluster.login.name}"
    if running.trouble:
        return [f"{where}: its version could not be read: {running.trouble}"]
    if running.version is None:
        return []
    return [f"{where}: Slurm {running.version.text or running.version} ({standing(running.version)})"]


def refuse(cluster: Cluster, running: Running) -> None:
    """Write no slurm.conf for another version than the one that will read it.

    Raises:
        ConfigError: they differ.
    """
    if differs := disagreement(cluster, running):
        raise ConfigError(differs.wrong, where=f"{cluster.file}: {KEY}", todo=differs.right)
