"""What first nodes say of their hardware: what of it is recorded, told and written."""

from collections.abc import Callable

import pytest

from slurm_powersave.config.settings import Cluster
from slurm_powersave.decide.flavor.hardware import findings, is_first
from slurm_powersave.decide.flavor.node_memory import believed, facts
from slurm_powersave.decide.slurm_files.removed_nodes import configured
from slurm_powersave.decide.slurm_files.slurm_conf import node_lines
from slurm_powersave.model.hardware import FirstNode, Hardware
from slurm_powersave.model.nodes import Flavor, NodeFacts, NodeSpec
from tests.unit.decide.flavors import FLAVORS

Make = Callable[..., Cluster]
BOTH = {"node_pools[0].cpus": 1, "node_pools[0].real_memory": 1000}
OVERRIDES = {"slurm_conf_extra": {"SlurmdParameters": "config_overrides"}}


def first(pool: str, flavor: str, cpus: int, memory: int, node: str = "demo-1") -> FirstNode:
    """What a first node has said."""
    return FirstNode(pool, flavor, "default", node, Hardware(cpus, 1, 1, cpus, 1, memory))


SMALL = first("compute", "small", 1, 980)


def told(cluster: Cluster, *said: FirstNode, now: NodeFacts | None = None) -> list[tuple[str, str]]:
    """What is told of a cluster whose slurm.conf was written before the first node spoke, or says `now`."""
    sizes = facts(cluster, FLAVORS)
    if now:
        sizes["compute"] = now
    lines = node_lines(cluster, sizes, {name: "10.0.0.1" for name in cluster.nodes()})
    return [(one.where, one.wrong) for one in findings(cluster, FLAVORS, said, lines)]


# What is written


def test_what_the_first_node_has_takes_the_place_of_the_margin(make: Make) -> None:
    assert facts(make(), FLAVORS, [SMALL])["compute"] == NodeFacts(1, 980)
    assert facts(make(), FLAVORS, [SMALL])["big"] == NodeFacts(6, 14400), "another pool"


def test_of_several_flavors_the_smallest_counts_told_or_not(make: Make) -> None:
    large, huge = first("big", "large", 8, 15700), first("big", "huge", 5, 63000)
    assert facts(make(), FLAVORS, [large])["big"] == NodeFacts(6, 15700)
    assert facts(make(), FLAVORS, [large, huge])["big"] == NodeFacts(5, 15700)
    assert facts(make(), FLAVORS, [huge])["big"] == NodeFacts(5, 14400)


def test_what_the_file_says_comes_first(make: Make) -> None:
    assert facts(make(BOTH), FLAVORS, [SMALL])["compute"] == NodeFacts(1, 1000)
    assert facts(make({"node_pools[0].cpus": 1}), FLAVORS, [SMALL])["compute"] == NodeFacts(1, 980)


@pytest.mark.parametrize(
    ("cpus", "memory"), [(2, 1000), (1, 1025), (1, 511), (1, 999_999_999), (999_999, 1000), (1, 1)]
)
def test_a_node_that_lies_changes_nothing(make: Make, cpus: int, memory: int) -> None:
    assert facts(make(), FLAVORS, [first("compute", "small", cpus, memory)]) == facts(make(), FLAVORS)
    assert not believed(Hardware(cpus, 1, 1, 1, 1, memory), FLAVORS["local"]["small"])


def test_half_of_the_flavor_is_the_least() -> None:
    flavor = Flavor("f", 8, 1000)
    for cpus, memory in ((8, 1000), (4, 500)):
        assert believed(Hardware(cpus, 1, 1, 1, 1, memory), flavor)
    for cpus, memory in ((3, 500), (4, 499), (9, 1000), (8, 1001)):
        assert not believed(Hardware(cpus, 1, 1, 1, 1, memory), flavor)


def test_where_slurm_believes_slurm_conf_nothing_is_taken_and_nothing_told(make: Make) -> None:
    cluster = make(OVERRIDES)
    assert facts(cluster, FLAVORS, [SMALL]) == facts(cluster, FLAVORS)
    assert told(cluster, SMALL, first("compute", "small", 64, 250_000)) == []


# What is told


def test_a_difference_is_told_until_slurm_conf_has_it(make: Make) -> None:
    assert told(make(), SMALL) == [
        (
            "node_pools[0]",
            "pool compute: slurm.conf says CPUs 1 and RealMemory 921, its nodes have 1 and 980: slurmd -C of"
            " demo-1 (flavor small)",
        )
    ]
    assert told(make(), SMALL, now=NodeFacts(1, 980)) == []


def test_a_pool_or_flavor_that_is_not_of_the_file_is_nobody_s(make: Make) -> None:
    assert told(make(), first("gone", "small", 1, 980), first("compute", "large", 8, 15000)) == []


def test_a_node_that_can_not_be_believed_is_named(make: Make) -> None:
    ((where, wrong),) = told(make(), first("compute", "small", 64, 980))
    assert where == "node_pools[0]"
    assert "(demo-1) says CPUs=64 " in wrong and "RealMemory=980" in wrong
    assert "its flavor has 1 CPUs and 1024 MiB" in wrong


def test_a_promise_of_the_file_that_nodes_can_not_keep_is_named(make: Make) -> None:
    assert told(make(BOTH), SMALL) == [
        (
            "node_pools[0].real_memory",
            "pool compute: the cluster file says RealMemory 1000, the first node with flavor small (demo-1)"
            " has 980",
        )
    ]


def test_a_cloud_that_tells_no_flavors_still_has_promises(make: Make) -> None:
    both = BOTH | {f"node_pools[1].{key}": 5 for key in ("cpus", "real_memory")}
    found = [one.where for one in findings(make(both), {}, [SMALL], [])]
    assert found == ["node_pools[0].real_memory"]


def test_what_our_own_lines_promise_is_read(make: Make) -> None:
    cluster = make()
    lines = node_lines(cluster, facts(cluster, FLAVORS), {name: "10.0.0.1" for name in cluster.nodes()})
    assert configured(lines)["demo-4"] == NodeFacts(1, 921)
    assert configured(["NodeName=x NodeAddr=y State=CLOUD", "nonsense"]) == {}


# What is recorded


def node(name: str, image: str = "default") -> NodeSpec:
    return NodeSpec(name, "compute", "local", image, "small", "", "10.0.0.1")


def test_the_first_one_counts_until_there_is_another_image() -> None:
    assert is_first(None, node("demo-2"), "default")
    assert not is_first(SMALL, node("demo-2"), "default")
    assert is_first(SMALL, node("demo-1"), "default"), "a fresh server of the same node"
    assert is_first(SMALL, node("demo-2", "new"), "new")
    for known in (SMALL, None):
        assert not is_first(known, node("demo-1", "by-hand"), "default"), "an image of one node only"
