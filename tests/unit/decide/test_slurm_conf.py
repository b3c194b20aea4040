"""slurm.conf, line by line."""

from collections.abc import Callable
from typing import Any

import pytest

from slurm_powersave.config.settings import Cluster
from slurm_powersave.decide.slurm_files.addresses import assign
from slurm_powersave.decide.slurm_files.removed_nodes import RemovedNodes
from slurm_powersave.decide.slurm_files.slurm_conf import (
    cgroup_conf,
    gres_conf,
    memory_per_cpu,
    node_lines,
    partition_lines,
    slurm_conf,
)
from slurm_powersave.model.nodes import NodeFacts

Make = Callable[..., Cluster]
FACTS = {"compute": NodeFacts(2, 1800), "big": NodeFacts(16, 60000)}


def conf(cluster: Cluster) -> list[str]:
    """Return the lines."""
    return slurm_conf(cluster, FACTS, assign(cluster, {})).splitlines()


def value(cluster: Cluster, key: str) -> str | None:
    """Return a parameter's only value."""
    found = [line.partition("=")[2] for line in conf(cluster) if line.partition("=")[0] == key]
    assert len(found) <= 1, f"{key} stands there {len(found)} times"
    return found[0] if found else None


def test_the_whole_text_for_22_05(make: Make) -> None:
    assert conf(make({"fast_start": False})) == [
        "# Written by slurm-powersave from the cluster file; changes here are overwritten.",
        "ClusterName=demo",
        "SlurmctldHost=demo-login(10.79.0.10)",
        "SlurmUser=slurm",
        "AuthType=auth/munge",
        "CredType=cred/munge",
        "StateSaveLocation=/var/lib/slurm/slurmctld",
        "SlurmdSpoolDir=/var/lib/slurm/slurmd",
        "SlurmctldPidFile=/run/slurmctld.pid",
        "SlurmdPidFile=/run/slurmd.pid",
        "SlurmctldLogFile=/var/log/slurm/slurmctld.log",
        "SlurmdLogFile=/var/log/slurm/slurmd.log",
        "ProctrackType=proctrack/cgroup",
        "TaskPlugin=task/affinity,task/cgroup",
        "JobAcctGatherType=jobacct_gather/cgroup",
        "MpiDefault=none",
        "SchedulerType=sched/backfill",
        "SelectType=select/cons_tres",
        "SelectTypeParameters=CR_Core_Memory",
        "ReturnToService=1",
        "ResumeProgram=/usr/lib/slurm-powersave/resume",
        "SuspendProgram=/usr/lib/slurm-powersave/suspend",
        "ResumeFailProgram=/usr/lib/slurm-powersave/resume-fail",
        "RebootProgram=/usr/lib/slurm-powersave/reboot",
        "ResumeTimeout=1800",
        "SuspendTimeout=600",
        "ResumeRate=0",
        "SuspendRate=0",
        "SuspendTime=INFINITE",
        "SuspendExcNodes=demo-1",
        "SlurmctldParameters=reboot_from_controller",
        "TreeWidth=65533",
        "CommunicationParameters=NoAddrCache",
        "PrivateData=cloud",
        "",
        "NodeName=demo-[1-4] NodeAddr=10.79.1.[1-4] CPUs=2 RealMemory=1800 State=CLOUD",
        "NodeName=demo-big-0 NodeAddr=10.79.2.1 CPUs=16 RealMemory=60000 State=CLOUD",
        "NodeName=demo-big-1 NodeAddr=10.79.2.9 CPUs=16 RealMemory=60000 State=CLOUD",
        "# DefMemPerCPU=900 of main: the memory per CPU of pool compute, the least in it. "
        "options.DefMemPerCPU sets another.",
        "# DefMemPerCPU=900 of long: the memory per CPU of pool compute, the least in it. "
        "options.DefMemPerCPU sets another.",
        "PartitionName=main Nodes=demo-[1-4] State=UP SuspendTime=600 DefMemPerCPU=900 Default=YES",
        "PartitionName=long Nodes=demo-[1-2],demo-big-[0-1] State=UP SuspendTime=600 DefMemPerCPU=900",
    ]


@pytest.mark.parametrize(
    ("key", "by_version"),
    [
        ("SlurmctldParameters", {
            "22.05": "reboot_from_controller",
            "23.02": "reboot_from_controller,idle_on_node_suspend",
            "25.05": "reboot_from_controller,idle_on_node_suspend",
        }),
        ("SuspendExcStates", {"22.05": None, "22.05.8": None, "23.02": "DRAIN,DOWN", "24.11": "DRAIN,DOWN"}),
        ("ReconfigFlags", {"22.05": None, "23.02": "KeepPowerSaveSettings"}),
        ("TreeWidth", {"21.08": "65533", "22.05": "65533", "23.02": "65533", "23.11": None, "24.11": None}),
        ("CommunicationParameters", {"22.05": "NoAddrCache", "23.02": "NoAddrCache", "23.11": None}),
        ("PrivateData", {"21.08": "cloud", "22.05": "cloud", "23.02": None, "24.11": None}),
        ("SchedulerParameters", {
            "22.05": None, "24.11": None,
            "25.05": "requeue_on_resume_failure", "26.05": "requeue_on_resume_failure",
        }),
        ("PrologSlurmctld", {"22.05": None, "23.02": "/usr/lib/slurm-powersave/prolog-slurmctld"}),
        ("ReturnToService", {"22.05": "1", "25.11": "1"}),
    ],
)  # fmt: skip
def test_what_depends_on_the_version(make: Make, key: str, by_version: dict[str, str | None]) -> None:
    assert {version: value(make({"slurm_version": version}), key) for version in by_version} == by_version


@pytest.mark.parametrize("version", ["22.05", "23.02", "24.11", "25.05"])
def test_addresses_are_fixed_so_nodes_never_report_them(make: Make, version: str) -> None:
    text = "\n".join(conf(make({"slurm_version": version})))
    assert "cloud_reg_addrs" not in text
    assert text.count("State=CLOUD") == 3


def test_timing(make: Make) -> None:
    timing = {
        "suspend_time": 20,
        "suspend_timeout": 15,
        "resume_timeout": 120,
        "resume_rate": 3,
        "suspend_rate": 4,
        "interval": 1,
        "min_interval": 0,
    }
    cluster = make({"power_save": timing, "partitions[1].options": {"suspendtime": 99}})
    assert value(cluster, "ResumeTimeout") == "120"
    assert value(cluster, "SuspendTimeout") == "15"
    assert value(cluster, "ResumeRate") == "3"
    assert value(cluster, "SuspendRate") == "4"
    assert value(cluster, "SuspendTime") == "INFINITE"
    assert value(cluster, "SlurmctldParameters") == (
        "reboot_from_controller,power_save_interval=1,power_save_min_interval=0"
    )
    main, long = partition_lines(cluster, FACTS)
    assert "SuspendTime=20" in main
    assert "suspendtime=99" in long
    assert "SuspendTime=20" not in long


def test_nodes_may_stay_for_ever(make: Make) -> None:
    # INFINITE in all places would switch power saving off, and POWER_UP with it.
    assert "SuspendTime=31536000" in " ".join(
        partition_lines(make({"power_save": {"suspend_time": None}}), FACTS)
    )


def test_min_nodes_are_excluded_lowest_first(make: Make) -> None:
    nodes = {"node_pools[0].nodes": "demo-[10-11],demo-[8-9]", "partitions[1].nodes": None}
    assert value(make({**nodes, "node_pools[0].min_nodes": 3}), "SuspendExcNodes") == "demo-[8-10]"
    assert value(make({**nodes, "node_pools[1].min_nodes": 2}), "SuspendExcNodes") == "demo-8,demo-big-[0-1]"
    assert value(make({**nodes, "node_pools[0].min_nodes": 0}), "SuspendExcNodes") is None


def test_slurmd_may_call_the_reboot_hook(make: Make) -> None:
    cluster = make({"reboot_from_controller": False})
    assert value(cluster, "SlurmctldParameters") is None
    assert value(cluster, "RebootProgram") == "/usr/lib/slurm-powersave/reboot"


def test_slurm_compares_what_a_node_has_whoever_said_the_numbers(make: Make) -> None:
    """With config_overrides it would believe slurm.conf, and take a node without its GPUs."""
    measured = {f"node_pools[{i}].{key}": 5 for i in (0, 1) for key in ("cpus", "real_memory")}
    assert value(make(measured), "SlurmdParameters") is None
    assert value(make({**measured, "node_pools[1].cpus": None}), "SlurmdParameters") is None
    assert value(make(), "SlurmdParameters") is None
    asked_for = {"slurm_conf_extra": {"SlurmdParameters": "config_overrides"}}
    assert value(make(asked_for), "SlurmdParameters") == "config_overrides"


def test_scripts_of_the_site(make: Make) -> None:
    scripts = {"prolog": "prolog.sh", "epilog": "prolog.sh", "prolog_slurmctld": "prolog.sh"}
    cluster = make(scripts)
    assert value(cluster, "Prolog") == "/usr/lib/slurm-powersave/site-prolog"
    assert value(cluster, "Epilog") == "/usr/lib/slurm-powersave/site-epilog"
    assert value(cluster, "PrologSlurmctld") == "/usr/lib/slurm-powersave/site-prolog-slurmctld"
    fast = make({**scripts, "fast_start": True})
    assert value(fast, "PrologSlurmctld") == "/usr/lib/slurm-powersave/prolog-slurmctld"


def test_features_gres_and_options_of_nodes(make: Make) -> None:
    cluster = make(
        {
            "node_pools[1].features": ["gpu", "ib"],
            "node_pools[1].gres": "gpu:a100:2,nic:1",
            "node_pools[0].gres": "gpu:1",
            "node_pools[0].options": {"Weight": 10},
        }
    )
    small, big, _ = node_lines(cluster, FACTS, assign(cluster, {}))
    assert small.endswith(" Gres=gpu:1 Weight=10 State=CLOUD")
    assert big.endswith(" Feature=gpu,ib Gres=gpu:a100:2,nic:1 State=CLOUD")
    assert value(cluster, "GresTypes") == "gpu,nic"


@pytest.mark.parametrize(
    ("nodes", "addresses", "expected"),
    [
        ("n[1-3]", "10.0.0.1-10.0.0.3", ["n[1-3] 10.0.0.[1-3]"]),
        ("n[8-11]", "10.0.0.98-10.0.0.101", ["n[8-11] 10.0.0.[98-101]"]),
        ("n[08-11]", "10.0.0.8-10.0.0.11", ["n[08-11] 10.0.0.[8-11]"]),
        ("n[1-4]", "10.0.0.254-10.0.1.1", ["n[1-2] 10.0.0.[254-255]", "n[3-4] 10.0.1.[0-1]"]),
        ("n[1-2],m7,x", "10.0.0.1-10.0.0.4", ["n[1-2] 10.0.0.[1-2]", "m7 10.0.0.3", "x 10.0.0.4"]),
        ("n[1-3]", "10.0.0.1,10.0.0.3,10.0.0.2", ["n1 10.0.0.1", "n2 10.0.0.3", "n3 10.0.0.2"]),
        ("n[3,2]", "10.0.0.2-10.0.0.3", ["n3 10.0.0.2", "n2 10.0.0.3"]),
    ],
)
def test_names_and_addresses_count_up_in_step(
    make: Make, nodes: str, addresses: str, expected: list[str]
) -> None:
    cluster = make(
        {"node_pools[0].nodes": nodes, "node_pools[0].addresses": addresses, "partitions[1].nodes": None}
    )
    lines = node_lines(cluster, FACTS, assign(cluster, {}))[: len(expected)]
    pairs = [line.split(" ")[:2] for line in lines]
    assert pairs == [[f"NodeName={n}", f"NodeAddr={a}"] for n, a in map(str.split, expected)]


def test_recorded_addresses_are_what_slurm_gets(make: Make) -> None:
    cluster = make()
    addresses = assign(cluster, {"demo-2": "10.79.9.9"})
    assert [line.split()[:2] for line in node_lines(cluster, FACTS, addresses)][:3] == [
        ["NodeName=demo-1", "NodeAddr=10.79.1.1"],
        ["NodeName=demo-2", "NodeAddr=10.79.9.9"],
        ["NodeName=demo-[3-4]", "NodeAddr=10.79.1.[3-4]"],
    ]


@pytest.mark.parametrize(
    ("extra", "key", "expected"),
    [
        ({"SelectTypeParameters": "CR_Core"}, "SelectTypeParameters", "CR_Core"),
        ({"selecttypeparameters": "CR_Core"}, "SelectTypeParameters", "CR_Core"),
        ({"DebugFlags": "Power"}, "DebugFlags", "Power"),
        ({"MessageTimeout": 30}, "MessageTimeout", "30"),
        ({"ProctrackType": None}, "ProctrackType", None),
        ({"ProctrackType": ""}, "ProctrackType", None),
        ({"slurmctldparameters": "x"}, "SlurmctldParameters", "reboot_from_controller,x"),
        ({"SlurmctldParameters": ["a=1", "b,a=2"]}, "SlurmctldParameters", "reboot_from_controller,b,a=2"),
        ({"SlurmctldParameters": None}, "SlurmctldParameters", None),
        ({"PrivateData": "jobs"}, "PrivateData", "cloud,jobs"),
        ({"SuspendExcNodes": "static1"}, "SuspendExcNodes", "demo-1,static1"),
    ],
)  # fmt: skip
def test_extra_replaces_adds_or_removes(
    make: Make, extra: dict[str, Any], key: str, expected: str | None
) -> None:
    assert value(make({"slurm_conf_extra": extra}), key) == expected


def test_extra_lines_come_last(make: Make) -> None:
    extra = {
        "NodeName": ["s1 CPUs=1", "s2 CPUs=2"],
        "partitionname": "static Nodes=s[1-2]",
        "Licenses": ["a:1", "b:2"],
    }
    lines = conf(make({"slurm_conf_extra": extra}))
    assert lines[-3:] == ["NodeName=s1 CPUs=1", "NodeName=s2 CPUs=2", "partitionname=static Nodes=s[1-2]"]
    assert [line for line in lines if line.startswith("Licenses")] == ["Licenses=a:1", "Licenses=b:2"]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, "DefMemPerCPU=900"),
        ({"partitions[1].options": {"DefMemPerNode": 5}}, None),
        ({"slurm_conf_extra": {"SelectTypeParameters": "CR_Core"}}, None),
        ({"slurm_conf_extra": {"selectTypeParameters": "CR_CPU_Memory"}}, "DefMemPerCPU=900"),
    ],
)
def test_a_job_that_asks_for_no_memory_gets_its_cores_share(
    make: Make, change: dict[str, Any], expected: str | None
) -> None:
    line = partition_lines(make(change), FACTS)[1]
    assert next((word for word in line.split() if word.startswith("DefMemPerCPU")), None) == expected


@pytest.mark.parametrize(("before", "now"), [(0, 900), (800, 900), (921, 921)])
def test_a_small_pool_that_joins_does_not_lower_what_jobs_get(make: Make, before: int, now: int) -> None:
    removed = RemovedNodes(memory={"long": before})
    assert memory_per_cpu(make(), FACTS, removed) == {"main": 900, "long": now}
    text = slurm_conf(make(), FACTS, assign(make(), {}), removed)
    assert ("as it was; pool compute has 900 MiB per CPU only" in text) is (before > 900)
    assert memory_per_cpu(make({"partitions[1].options": {"DefMemPerCPU": 5}}), FACTS, removed) == {
        "main": 900
    }


def test_gres_conf_and_cgroup_conf(make: Make) -> None:
    assert gres_conf(make()) == ""
    assert gres_conf(make({"gres_conf": "AutoDetect=nvml"})).splitlines()[1:] == ["AutoDetect=nvml"]
    assert cgroup_conf(make()).splitlines()[1:] == ["ConstrainCores=yes", "ConstrainRAMSpace=yes"]
    assert cgroup_conf(make({"cgroup_conf": "CgroupPlugin=disabled\n"})).splitlines()[1:] == [
        "CgroupPlugin=disabled"
    ]


def test_an_include_is_written_as_slurm_reads_it(make: Make) -> None:
    lines = conf(make({"slurm_conf_extra": {"Include": ["a.conf", "b.conf"]}}))
    assert lines[-2:] == ["Include a.conf", "Include b.conf"]
