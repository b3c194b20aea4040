"""An address once given to a name stays with it."""

from collections.abc import Callable

import pytest

from slurm_powersave.config.settings import Cluster
from slurm_powersave.decide.slurm_files.addresses import assign
from slurm_powersave.model.errors import ConfigError

Make = Callable[..., Cluster]


def test_new_names_get_theirs_by_position(make: Make) -> None:
    assert assign(make(), {}) == {
        "demo-1": "10.79.1.1",
        "demo-2": "10.79.1.2",
        "demo-3": "10.79.1.3",
        "demo-4": "10.79.1.4",
        "demo-big-0": "10.79.2.1",
        "demo-big-1": "10.79.2.9",
    }


def test_what_was_given_stays_when_the_range_moves(make: Make) -> None:
    recorded = assign(make(), {})
    moved = make({"node_pools[0].addresses": "10.79.9.1-10.79.9.4"})
    assert assign(moved, recorded) == recorded


def test_a_longer_pool_keeps_the_old_and_gives_the_new(make: Make) -> None:
    recorded = assign(make(), {})
    longer = make({"node_pools[0].nodes": "demo-[1-5]", "node_pools[0].addresses": "10.79.1.1-10.79.1.5"})
    assert assign(longer, recorded) == {**recorded, "demo-5": "10.79.1.5"}


def test_a_new_name_before_the_old_ones_clashes(make: Make) -> None:
    recorded = assign(make(), {})
    shifted = make({"node_pools[0].nodes": "demo-[0-4]", "node_pools[0].addresses": "10.79.1.1-10.79.1.5"})
    with pytest.raises(ConfigError) as caught:
        assign(shifted, recorded)
    assert "10.79.1.1 of demo-0 was given to demo-1" in str(caught.value)
    assert "at the end of the pool's `nodes`" in str(caught.value)
    at_the_end = make(
        {"node_pools[0].nodes": "demo-[1-4],demo-0", "node_pools[0].addresses": "10.79.1.1-10.79.1.5"}
    )
    assert assign(at_the_end, recorded)["demo-0"] == "10.79.1.5"


def test_a_name_that_is_configured_no_more_holds_its_address_as_long_as_it_is_passed(make: Make) -> None:
    with pytest.raises(ConfigError, match="clash"):
        assign(make(), {"old-7": "10.79.1.3"})
    assert assign(make(), {"old-7": "10.79.1.99"})["demo-3"] == "10.79.1.3"


def test_the_login_node_s_address_is_taken(make: Make) -> None:
    with pytest.raises(ConfigError, match=r"10\.79\.0\.10 of demo-2 was given to demo-login"):
        assign(make(), {"demo-2": "10.79.0.10"})


def test_all_clashes_are_counted(make: Make) -> None:
    with pytest.raises(ConfigError, match="and 1 more"):
        assign(make(), {f"old-{address}": address for address in assign(make(), {}).values()})
