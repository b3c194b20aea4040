"""The limits of the cluster file against each other, and against those with which slurmctld runs. Pure.

A node that takes too long is to be told, rest and be replaced by us. Where Slurm's own ResumeTimeout is over
before that, all that is known of it is that Slurm lost patience.
"""

from collections.abc import Iterator, Mapping

from slurm_powersave.config.cluster import Cluster
from slurm_powersave.decide.preflight.findings import Found, warning

TIMERS = {"ResumeTimeout": "resume_timeout", "SuspendTimeout": "suspend_timeout"}
"""Slurm's parameter -> the key of `power_save`."""
_OURS = {
    "boot_timeout": "a server may take {own} s until its SSH answers",
    "configure_timeout": "a node's play may take {own} s",
    "registration_timeout": "a node may take {own} s to register after its play",
}
"""Key of `failure` -> what its seconds are for."""


def findings(cluster: Cluster, running: Mapping[str, int]) -> Found:
    """Find limits that come too late, and those with which slurmctld does not run.

    Args:
        cluster: the cluster file.
        running: Slurm's parameter -> seconds, as slurmctld tells them; empty where it was not asked.
    """
    for timer, key in TIMERS.items():
        said = getattr(cluster.power_save, key)
        if timer in running and running[timer] != said:
            yield warning(
                f"power_save.{key}",
                f"{said} s, and slurmctld runs with {timer}={running[timer]}",
                "Run slurm-powersave deploy: it writes slurm.conf. Or set the key to what is meant.",
            )
    if "SuspendTime" in running:
        yield warning(
            "power_save.suspend_time",
            f"slurmctld runs with SuspendTime={running['SuspendTime']} for all nodes, and the cluster file"
            " sets it for its partitions only",
            "Run slurm-powersave deploy: it writes slurm.conf.",
        )
    patience = dict(_patience(cluster, running))
    where = min(patience, key=lambda name: patience[name])
    for key, words in _OURS.items():
        own = getattr(cluster.failure, key)
        if own >= patience[where]:
            yield warning(
                f"failure.{key}",
                f"{words.format(own=own)}, and Slurm gives a node up after {patience[where]} s ({where})",
                f"failure.{key} of less than {patience[where]}, or {where} of more than {own}.",
            )


def _patience(cluster: Cluster, running: Mapping[str, int]) -> Iterator[tuple[str, int]]:
    """Yield who says after how many seconds Slurm gives a node up that does not come."""
    yield "power_save.resume_timeout", cluster.power_save.resume_timeout
    if "ResumeTimeout" in running and running["ResumeTimeout"] != cluster.power_save.resume_timeout:
        yield "slurmctld's ResumeTimeout", running["ResumeTimeout"]
    for number, partition in enumerate(cluster.partitions):
        for key, value in partition.options.items():
            if key.lower() == "resumetimeout" and str(value).isdecimal():
                yield f"partitions[{number}].options.{key}", int(value)
