"""CPUs and RealMemory of a pool."""

from collections.abc import Callable

import pytest

from slurm_powersave.config.settings import Cluster
from slurm_powersave.decide.flavor.node_memory import by_pool, facts, fits
from slurm_powersave.model.errors import ConfigError
from slurm_powersave.model.nodes import Flavor, NodeFacts
from tests.unit.decide.flavors import FLAVORS

Make = Callable[..., Cluster]


def test_the_smallest_flavor_counts_less_the_margin(make: Make) -> None:
    assert facts(make(), FLAVORS) == {"compute": NodeFacts(1, 921), "big": NodeFacts(6, 14400)}


def test_what_the_file_says_comes_first(make: Make) -> None:
    cluster = make(
        {"node_pools[1].cpus": 2, "node_pools[1].real_memory": 9000, "node_pools[0].memory_margin": 0}
    )
    assert facts(cluster, FLAVORS) == {"compute": NodeFacts(1, 1024), "big": NodeFacts(2, 9000)}


def test_a_flavor_smaller_than_slurm_conf_promises_is_refused(make: Make) -> None:
    cluster = make({"node_pools[0].cpus": 2, "node_pools[1].real_memory": 16001, "node_pools[1].cpus": 7})
    with pytest.raises(ConfigError) as caught:
        facts(cluster, FLAVORS)
    text = str(caught.value)
    assert "node_pools[0].cpus: flavor small has 1, 2 are promised" in text
    assert "node_pools[1].cpus: flavor huge has 6, 7 are promised" in text
    assert "node_pools[1].real_memory: flavor large has 16000 MiB, 16001 are promised" in text


def test_of_all_that_meet_a_requirement_the_smallest_counts(make: Make) -> None:
    cluster = make({"node_pools[1].flavors": [{"cores": 2}]})
    assert facts(cluster, FLAVORS)["big"] == NodeFacts(6, 14400)
    assert by_pool(cluster, FLAVORS) == {"compute": ("small",), "big": ("huge", "large")}
    assert by_pool(cluster, {}) == {}


def test_what_slurm_conf_promises_is_kept_by_what_is_as_large() -> None:
    small = Flavor("small", 2, 4000)
    assert fits(small, NodeFacts(2, 4000)) and fits(small, None)
    assert not fits(small, NodeFacts(3, 4000)) and not fits(small, NodeFacts(2, 4001))


def test_no_flavor_is_needed_when_the_file_says_both(make: Make) -> None:
    both = {f"node_pools[{i}].{key}": 5 for i in (0, 1) for key in ("cpus", "real_memory")}
    assert facts(make(both), {}) == {"compute": NodeFacts(5, 5), "big": NodeFacts(5, 5)}


def test_unknown_flavors_are_named_all_at_once(make: Make) -> None:
    cluster = make({"node_pools[0].flavors": ["smal"], "node_pools[1].flavors": ["large", "q"]})
    with pytest.raises(ConfigError) as caught:
        facts(cluster, FLAVORS)
    text = str(caught.value)
    assert "node_pools[0].flavors: local has no flavor smal (did you mean small?)" in text
    assert "node_pools[1].flavors: local has no flavor q (it has huge, large, small)" in text
