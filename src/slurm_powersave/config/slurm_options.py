"""Checks of what the cluster file passes through to slurm.conf."""

from collections.abc import Mapping
from typing import Any

from slurm_powersave.config.unchecked_values import Found, View, mapping, whole
from slurm_powersave.config.yaml_file import Loc

_HOOK = "leave it out: our hook stands there"

# Parameters that are made from other keys of the cluster file, in lower case, with the key to use.
SLURM_CONF = {
    "clustername": "cluster_name",
    "slurmctldhost": "login",
    "resumeprogram": _HOOK,
    "suspendprogram": _HOOK,
    "resumefailprogram": _HOOK,
    "rebootprogram": _HOOK,
    "suspendtime": "power_save.suspend_time, or the option SuspendTime of a partition",
    "suspendtimeout": "power_save.suspend_timeout",
    "resumetimeout": "power_save.resume_timeout",
    "suspendrate": "power_save.suspend_rate",
    "resumerate": "power_save.resume_rate",
    "prologslurmctld": "prolog_slurmctld",
}
NODE = {
    "nodename": "node_pools[].nodes",
    "nodeaddr": "node_pools[].addresses",
    "nodehostname": "leave it out: the host name is the node's name",
    "state": "leave it out: all nodes are State=CLOUD",
    "cpus": "node_pools[].cpus",
    "realmemory": "node_pools[].real_memory",
    "feature": "node_pools[].features",
    "features": "node_pools[].features",
    "gres": "node_pools[].gres",
}
PARTITION = {
    "partitionname": "partitions[].name",
    "nodes": "partitions[].pools or partitions[].nodes",
}


def timing(view: View) -> Found:
    """Check durations against each other."""
    power_save = mapping(view.content.get("power_save"))
    interval, least = whole(power_save.get("interval")), whole(power_save.get("min_interval"))
    if interval and least and least > interval:
        yield view.mistake(
            ("power_save", "min_interval"), f"{least} is above interval ({interval})", f"at most {interval}"
        )
    resume = whole(power_save.get("resume_timeout", 1800)) or 0
    for key, value in mapping(view.content.get("slurm_conf_extra")).items():
        seconds = whole(value)
        if str(key).lower() == "prologepilogtimeout" and seconds and seconds <= resume:
            yield view.mistake(
                ("slurm_conf_extra", key),
                "ends the fast-start prolog before a node can be up",
                f"more than power_save.resume_timeout ({resume}), or leave it out",
            )


def reserved(view: View) -> Found:
    """Find options of slurm.conf that are made from other keys, or stand there twice."""
    places: list[tuple[Loc, Any, Mapping[str, str]]] = [
        (("slurm_conf_extra",), view.content.get("slurm_conf_extra"), SLURM_CONF)
    ]
    places += [(("node_pools", i, "options"), pool.get("options"), NODE) for i, pool in view.pools]
    places += [
        (("partitions", i, "options"), partition.get("options"), PARTITION)
        for i, partition in view.partitions
    ]
    for loc, options, taken in places:
        seen: dict[str, str] = {}
        for key in map(str, mapping(options)):
            if right := taken.get(key.lower()):
                yield view.mistake((*loc, key), "is made from other keys of this file", right)
            if key.lower() in seen:
                yield view.mistake((*loc, key), f"the same parameter as {seen[key.lower()]}", "keep one")
            seen.setdefault(key.lower(), key)
