"""What adapters keep in mind is forgotten when what it is about has gone."""

from typing import Any, cast

from slurm_powersave.adapters.openstack.api import Api
from slurm_powersave.adapters.openstack.resize import Resizes
from slurm_powersave.adapters.slurm.commands import ScontrolSlurm
from tests.slurmctld import Slurmctld, line


def test_a_node_that_was_unreadable_and_has_left_slurm_is_forgotten() -> None:
    """As long as one is kept in mind, nodes are asked for by their names."""
    liar = line("n2", system="Linux\nhello")
    host = Slurmctld({"n1": line("n1"), "n2": liar})
    slurm = ScontrolSlurm(host)
    assert slurm.snapshot().unreadable == {"n2"}
    del host.nodes["n2"]
    for _ in range(2):
        snapshot = slurm.snapshot()
        assert set(snapshot.nodes) == {"n1"} and not snapshot.unreadable
    assert "scontrol -o show node;" in host.asked[-1], "all of them at once, as before"


def test_resizes_of_servers_that_have_gone_are_forgotten() -> None:
    now = [0.0]
    resizes = Resizes(cast(Api, None), lambda: now[0])
    for number in range(100):
        now[0] += 3600.0
        resizes.asked(f"id-{number}")
        waits: list[dict[str, Any]] = [{"id": f"other-{number}", "status": "VERIFY_RESIZE"}]
        resizes.look(waits)
    assert len(resizes._asked) + len(resizes._since) < 60
