"""What the brake holds, and how much may be destroyed on our own account."""

import pytest

from slurm_powersave.decide.node import brake
from slurm_powersave.model.nodes import Server, SlurmNode

OFF = frozenset({"IDLE", "CLOUD", "POWERED_DOWN"})


@pytest.mark.parametrize(("servers", "most"), [(0, 5), (59, 5), (60, 6), (1000, 100)])
def test_a_tenth_but_five_at_least(servers: int, most: int) -> None:
    assert brake.limit(servers) == most
    assert not brake.passed(most - 1, servers) and brake.passed(most, servers)


def test_it_holds_the_servers_of_nodes_that_are_off() -> None:
    nodes = {
        "n1": SlurmNode("n1", OFF),
        "n2": SlurmNode("n2", frozenset({"IDLE"})),
        "n3": SlurmNode("n3", OFF),
    }
    servers = [Server(f"s-{name}", name, "ACTIVE") for name in ("other", "n2", "n1")]
    assert brake.held(nodes, servers) == [Server("s-n1", "n1", "ACTIVE")]


def test_only_a_journal_without_a_past_is_believed_after_a_while() -> None:
    assert brake.ends_by_itself(brake.NEW) and brake.ends_by_itself(brake.RESTORED)
    assert not brake.ends_by_itself(brake.passed(5, 5)) and not brake.ends_by_itself("")
