"""What the first node of a pool says of its hardware is recorded: once, and from a fresh disk only."""

from pathlib import Path

import pytest

from slurm_powersave.commands import deploy
from slurm_powersave.decide.slurm_files.removed_nodes import RemovedNodes
from slurm_powersave.engine import slurm_conf_in_use
from slurm_powersave.engine.runs import first_nodes
from slurm_powersave.model.hardware import FirstNode, Hardware
from slurm_powersave.testing.cloud import MemoryClock, MemoryCloud
from slurm_powersave.testing.site import MemorySite, Parts
from slurm_powersave.testing.world import MemoryWorld, cluster
from tests.unit.engine.reboot_stories import ask, ready
from tests.unit.engine.stories import up

LINE = "NodeName=x CPUs=1 Boards=1 SocketsPerBoard=1 CoresPerSocket=1 ThreadsPerCore=1 RealMemory="
SAID = Hardware(1, 1, 1, 1, 1, 980)


def world() -> MemoryWorld:
    """Nodes n1 to n4, each with another amount of memory."""
    made = MemoryWorld.of(4)
    made.playbooks.hardware = {f"n{number}": f"{LINE}{981 - number}" for number in range(1, 5)}
    return made


def memory(made: MemoryWorld) -> dict[str, int]:
    """Node -> RealMemory, as it is recorded."""
    return {one.node: one.hardware.real_memory for one in made.journal.first_nodes()}


def test_the_first_node_of_a_pool_is_recorded_and_the_others_are_not() -> None:
    made = world()
    up(made, "n2")
    (found,) = made.journal.first_nodes()
    assert found == FirstNode("compute", "small", "default", "n2", Hardware(1, 1, 1, 1, 1, 979))
    up(made, "n1", "n3")
    made.crash()
    up(made, "n4")
    assert memory(made) == {"n2": 979}


@pytest.mark.parametrize("said", ["", "NodeName=x", f"{LINE}980\nx", f"{LINE}{'9' * 30}"])
def test_what_is_no_line_of_slurmd_s_leaves_the_place_to_the_next_node(said: str) -> None:
    made = world()
    made.playbooks.hardware["n1"] = said
    up(made, "n1")
    assert memory(made) == {} and made.slurm.node("n1").up
    up(made, "n2")
    assert memory(made) == {"n2": 979}


def test_a_reboot_says_nothing_and_a_fresh_disk_of_the_first_node_does() -> None:
    made = ready(2)
    made.playbooks.hardware = {"n1": f"{LINE}600", "n2": f"{LINE}700"}
    ask(made, "n1", "reboot")
    assert memory(made) == {}, "its disk was in the hands of jobs"
    ask(made, "n1", "reimage")
    assert memory(made) == {"n1": 600}
    ask(made, "n2", "reimage")
    assert memory(made) == {"n1": 600}
    made.playbooks.hardware["n1"] = f"{LINE}800"
    ask(made, "n1", "reboot please")
    assert memory(made) == {"n1": 600}
    ask(made, "n1", "reimage replace")
    assert memory(made) == {"n1": 800}


# What a deploy makes of it


def test_the_next_deploy_or_resize_writes_it_and_until_then_it_is_told(
    tmp_path: Path,
) -> None:
    wanted = cluster(state_dir=tmp_path / "state")
    cloud = MemoryCloud(MemoryClock(), "test")
    site = MemorySite(wanted, Parts(clouds={"mem": cloud}))
    deploy.prepare(site)
    deploy.write_inventory(site)
    slurm_conf_in_use.save(site.store())
    journal = site.journal()
    sizes = {"mem": cloud.flavors()}
    assert first_nodes.findings(wanted, journal, site.store(), sizes) == []
    journal.save_first_node(FirstNode("compute", "small", "default", "n1", SAID))
    (found,) = first_nodes.findings(wanted, journal, site.store(), sizes)
    assert "RealMemory 900, its nodes have 1 and 980: slurmd -C of n1 (flavor small)" in found.wrong

    made = deploy.make_inventory(site, RemovedNodes())
    assert "RealMemory=980" in made.variables["slurm_powersave"]["node_lines"][0]
    assert not slurm_conf_in_use.of(made.variables).same(slurm_conf_in_use.load(site.store())), (
        "resize has something to do"
    )
    deploy.write_inventory(site)
    slurm_conf_in_use.save(site.store())
    assert first_nodes.findings(wanted, journal, site.store(), sizes) == []
