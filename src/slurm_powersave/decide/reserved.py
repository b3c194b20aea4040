"""Parameters of slurm.conf that are made from other keys of the cluster file, with the key to use."""

_HOOK = "leave it out: our hook stands there"

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
