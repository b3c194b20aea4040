"""What slurm.conf holds beyond the cluster file while nodes leave."""

from collections.abc import Callable

from slurm_powersave.config.settings import Cluster
from slurm_powersave.decide.slurm_files.addresses import assign
from slurm_powersave.decide.slurm_files.inventory import inventory
from slurm_powersave.decide.slurm_files.removed_nodes import meaning, removed
from slurm_powersave.model.nodes import NodeFacts

Make = Callable[..., Cluster]
FACTS = {"compute": NodeFacts(2, 1800), "big-mem": NodeFacts(16, 60000), "big": NodeFacts(16, 60000)}
NODES = [
    "NodeName=demo-[1-9] NodeAddr=10.0.1.[1-9] CPUs=2 Gres=disk:2 State=CLOUD",
    "NodeName=old NodeAddr=10.0.9.9 State=CLOUD",
]
PARTITIONS = [
    "PartitionName=main Nodes=demo-[1-9] State=UP",
    "PartitionName=gone Nodes=demo-9,old SuspendTime=5",
]
ADDRESSES = {"demo-9": "10.0.1.9", "old": "10.0.9.9"}


def test_a_node_keeps_its_line_its_partitions_and_its_protection(make: Make) -> None:
    cluster = make({})
    kept = removed(["old", "demo-9"], ADDRESSES, ["demo-9"], NODES, PARTITIONS)
    made = inventory(cluster, FACTS, assign(cluster, {}), kept)
    conf = made.variables["slurm_powersave"]["slurm_conf"]
    lines = conf.splitlines()
    assert "NodeName=demo-9 NodeAddr=10.0.1.9 CPUs=2 Gres=disk:2 State=CLOUD" in lines
    assert "PartitionName=gone Nodes=old,demo-9 SuspendTime=5" in lines, "its jobs would be killed"
    (main,) = [line for line in lines if line.startswith("PartitionName=main ")]
    assert "demo-9" in main or "demo-[1-4,9]" in main
    (protected,) = [line for line in lines if line.startswith("SuspendExcNodes=")]
    assert protected.endswith("demo-9")
    assert "GresTypes=disk" in lines
    assert "10.0.9.9 old\n" in made.variables["slurm_powersave"]["etc_hosts"]
    assert made.hosts["all"]["children"]["nodes"]["children"]["leaving"]["hosts"]["old"] == {
        "ansible_host": "10.0.9.9"
    }


def test_nothing_leaves(make: Make) -> None:
    cluster = make({})
    addresses = assign(cluster, {})
    assert inventory(cluster, FACTS, addresses, removed([], {}, [], NODES, PARTITIONS)) == inventory(
        cluster, FACTS, addresses
    )


def test_a_slurm_conf_means_the_same_however_it_is_folded() -> None:
    one = (
        "# x\nSuspendExcNodes=n[1-2]\nNodeName=n[1-3] NodeAddr=10.0.0.[1-3] CPUs=2\n"
        "PartitionName=a Nodes=n[1-3] State=UP\n"
    )
    two = (
        "NodeName=n[1-2] NodeAddr=10.0.0.[1-2] CPUs=2\nNodeName=n3 NodeAddr=10.0.0.3 CPUs=2\n\n"
        "PartitionName=a Nodes=n3,n[1-2] State=UP\nSuspendExcNodes=n2,n1\n"
    )
    assert meaning(one) == meaning(two)
    for old, new in (("CPUs=2", "CPUs=4"), ("n3,", ""), ("n2,n1", "n1"), ("State=UP", "State=DOWN")):
        assert meaning(two.replace(old, new)) != meaning(one)
