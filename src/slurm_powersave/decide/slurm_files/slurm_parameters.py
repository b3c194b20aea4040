"""The parameters of slurm.conf (all but nodes and partitions), as cluster file and version ask.

Which line belongs to which version of Slurm is in model/slurm_versions.py.
"""

import re
from collections.abc import Iterator, Sequence

from slurm_powersave.config.cluster import Cluster
from slurm_powersave.config.layout import FAST_START, HOOKS, SITE_EPILOG, SITE_PROLOG, SITE_PROLOG_SLURMCTLD
from slurm_powersave.model.hostlist import expand_any, fold
from slurm_powersave.model.slurm_versions import Difference

# Values that are lists of words: what a site adds is added, not put in the place of ours.
_WORD_LISTS = frozenset(
    {
        "communicationparameters",
        "grestypes",
        "privatedata",
        "reconfigflags",
        "schedulerparameters",
        "slurmctldparameters",
        "slurmdparameters",
        "suspendexcnodes",
        "suspendexcstates",
    }
)
_LINES = frozenset({"nodename", "partitionname", "nodeset", "downnodes", "include"})


class Parameters:
    """Parameters in order; Slurm does not mind the case of a key, so neither is a key twice here."""

    def __init__(self) -> None:
        self._values: dict[str, tuple[str, tuple[str, ...]]] = {}

    def set(self, key: str, value: str | int) -> None:
        """Set a parameter; an empty value leaves it out."""
        self._values[key.lower()] = (key, (str(value),) if value != "" else ())

    def add(self, key: str, word: str) -> None:
        """Add a word to a parameter that is a list; `name=value` takes the place of the same name."""
        name, values = self._values.get(key.lower(), (key, ()))
        words = values[0].split(",") if values else []
        kept = [item for item in words if item.partition("=")[0].lower() != word.partition("=")[0].lower()]
        self._values[key.lower()] = (name, (",".join([*kept, word]),))

    def override(self, key: str, values: Sequence[str]) -> None:
        """Do what slurm_conf_extra says: nothing given leaves the key out, else it replaces or adds."""
        if key.lower() in _WORD_LISTS and any(values):
            for value in values:
                for word in filter(None, value.split(",")):
                    self.add(key, word)
        else:
            name = self._values.get(key.lower(), (key, ()))[0]
            self._values[key.lower()] = (name, tuple(value for value in values if value))

    def get(self, key: str) -> str:
        """Return a parameter's (first) value; empty if it is left out."""
        return "".join(self._values.get(key.lower(), (key, ()))[1][:1])

    def lines(self) -> Iterator[str]:
        """Write `Key=value` lines."""
        for key, values in self._values.values():
            yield from (f"{key}={value}" for value in values)


def overrides(cluster: Cluster) -> bool:
    """Tell whether Slurm believes slurm.conf instead of what a node has (the local cloud's containers)."""
    return "config_overrides" in parameters(cluster).get("SlurmdParameters").split(",")


def parameters(cluster: Cluster) -> Parameters:
    """Collect every parameter that the cluster file and Slurm's version ask for."""
    found = Parameters()
    for key, value in _ALWAYS:
        found.set(key, value)
    found.set("ClusterName", cluster.cluster_name)
    found.set("SlurmctldHost", f"{cluster.login.name}({cluster.login.address})")
    _power_save(cluster, found)
    _by_version(cluster, found)
    _site(cluster, found)
    lines = extra_lines(cluster)
    for key, values in cluster.slurm_conf_extra.items():
        if key not in lines:
            found.override(key, values)
    return found


def protected(cluster: Cluster) -> frozenset[str]:
    """Name the nodes in SuspendExcNodes: the persistent ones, and what the site adds."""
    return _listed(parameters(cluster).get("SuspendExcNodes") or "")


def protected_by(slurm_conf: str) -> frozenset[str]:
    """Name the nodes in SuspendExcNodes of a slurm.conf of ours."""
    found = re.findall(r"^SuspendExcNodes=(\S+)$", slurm_conf, re.MULTILINE)
    return _listed(found[-1] if found else "")


def _listed(value: str) -> frozenset[str]:
    # A list may end in `:COUNT` (Difference.SUSPEND_EXC_NODES_COUNT).
    return frozenset(expand_any(re.sub(r":\d+(?=,|$)", "", value)) if value else ())


def extra_lines(cluster: Cluster) -> list[str]:
    """Name the keys of slurm_conf_extra of which every line is a thing of its own: they come last."""
    return [key for key in cluster.slurm_conf_extra if key.lower() in _LINES]


# Paths as Debian's packages lay them out.
_ALWAYS = (
    ("ClusterName", ""),
    ("SlurmctldHost", ""),
    ("SlurmUser", "slurm"),
    ("AuthType", "auth/munge"),
    ("CredType", "cred/munge"),
    ("StateSaveLocation", "/var/lib/slurm/slurmctld"),
    ("SlurmdSpoolDir", "/var/lib/slurm/slurmd"),
    ("SlurmctldPidFile", "/run/slurmctld.pid"),
    ("SlurmdPidFile", "/run/slurmd.pid"),
    ("SlurmctldLogFile", "/var/log/slurm/slurmctld.log"),
    ("SlurmdLogFile", "/var/log/slurm/slurmd.log"),
    ("ProctrackType", "proctrack/cgroup"),
    ("TaskPlugin", "task/affinity,task/cgroup"),
    ("JobAcctGatherType", "jobacct_gather/cgroup"),
    ("MpiDefault", "none"),
    ("SchedulerType", "sched/backfill"),
    ("SelectType", "select/cons_tres"),
    ("SelectTypeParameters", "CR_Core_Memory"),
    # 2 would turn an administrator's DOWN into IDLE at the next registration.
    ("ReturnToService", "1"),
)


def _power_save(cluster: Cluster, found: Parameters) -> None:
    timing = cluster.power_save
    for hook in ("Resume", "Suspend", "ResumeFail", "Reboot"):
        found.set(f"{hook}Program", f"{HOOKS}/{'resume-fail' if hook == 'ResumeFail' else hook.lower()}")
    found.set("ResumeTimeout", timing.resume_timeout)
    found.set("SuspendTimeout", timing.suspend_timeout)
    found.set("ResumeRate", timing.resume_rate)
    found.set("SuspendRate", timing.suspend_rate)
    # Each partition has its own SuspendTime: nodes that are in none of ours are never suspended.
    found.set("SuspendTime", "INFINITE")
    found.set("SuspendExcNodes", fold(cluster.persistent()))
    if cluster.reboot_from_controller:
        found.add("SlurmctldParameters", "reboot_from_controller")
    if timing.interval is not None:
        found.add("SlurmctldParameters", f"power_save_interval={timing.interval}")
    if timing.min_interval is not None:
        found.add("SlurmctldParameters", f"power_save_min_interval={timing.min_interval}")


def _by_version(cluster: Cluster, found: Parameters) -> None:
    if cluster.slurm_has(Difference.SUSPEND_EXC_STATES):
        # idle_on_node_suspend clears a DRAIN or DOWN that an administrator set; with
        # SuspendExcStates such a node is not suspended at all. Without SuspendExcStates neither is
        # set: such a node is suspended, and keeps flag and reason.
        found.add("SlurmctldParameters", "idle_on_node_suspend")
        found.set("SuspendExcStates", "DRAIN,DOWN")
    if cluster.slurm_has(Difference.KEEP_POWER_SAVE_SETTINGS):
        found.set("ReconfigFlags", "KeepPowerSaveSettings")
    if cluster.slurm_has(Difference.SENDS_THROUGH_NODES):
        # Nodes come and go: no message may be routed through one, no address be remembered.
        found.set("TreeWidth", "65533")
        found.set("CommunicationParameters", "NoAddrCache")
    if cluster.slurm_has(Difference.HIDES_POWERED_DOWN_NODES):
        found.set("PrivateData", "cloud")
    if cluster.slurm_has(Difference.REQUEUE_ON_RESUME_FAILURE):
        found.add("SchedulerParameters", "requeue_on_resume_failure")


def _site(cluster: Cluster, found: Parameters) -> None:
    if cluster.fast_start_on:
        # It runs the site's own after itself.
        found.set("PrologSlurmctld", FAST_START)
    elif cluster.prolog_slurmctld:
        found.set("PrologSlurmctld", SITE_PROLOG_SLURMCTLD)
    if cluster.prolog:
        found.set("Prolog", SITE_PROLOG)
    if cluster.epilog:
        found.set("Epilog", SITE_EPILOG)
    kinds = [item.partition(":")[0] for pool in cluster.node_pools for item in pool.gres.split(",")]
    for kind in filter(None, kinds):
        found.add("GresTypes", kind)
