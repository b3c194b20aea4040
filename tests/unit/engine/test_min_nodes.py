"""min_nodes in an edited cluster file: nothing is powered up before slurmctld keeps it up."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from slurm_powersave.engine.slurm_conf_in_use import SlurmConfInUse, persistent
from slurm_powersave.testing.world import MemoryWorld, cluster


def world_of(root: Path) -> MemoryWorld:
    """A world whose cluster file says that n1 and n2 are always up."""
    pool = cluster(3).node_pools[0].model_dump(mode="json") | {"min_nodes": 2}
    return MemoryWorld.of(3, node_pools=[pool], state_dir=root)


def apply(world: MemoryWorld, slurm_conf: str) -> None:
    """Say what slurmctld was given last."""
    world.cluster.layout.slurm_conf_in_use.write_text(
        json.dumps(asdict(SlurmConfInUse(slurm_conf=slurm_conf)))
    )


def test_a_node_comes_up_only_when_slurmctld_was_told_to_keep_it_up(tmp_path: Path) -> None:
    world = world_of(tmp_path)
    apply(world, "SuspendTime=60\nSuspendExcNodes=n1\n")
    world.run(120)
    assert {server.name for server in world.cloud.servers()} == {"n1"}
    apply(world, "SuspendTime=60\nSuspendExcNodes=n[1-2]\n")
    world.run(120)
    assert {server.name for server in world.cloud.servers()} == {"n1", "n2"}


@pytest.mark.parametrize(
    ("slurm_conf", "kept"),
    [
        ("", ()),
        ("#SuspendExcNodes=n1\n", ()),
        ("SuspendExcNodes=n[1-3]:2\n", ("n1", "n2")),
        ("SuspendExcNodes=n3\nSuspendExcNodes=n2\n", ("n2",)),
    ],
)
def test_which_nodes_are_kept_up(tmp_path: Path, slurm_conf: str, kept: tuple[str, ...]) -> None:
    world = world_of(tmp_path)
    assert persistent(world.cluster, world.store) == ("n1", "n2"), "no record tells: all of them"
    apply(world, slurm_conf)
    assert persistent(world.cluster, world.store) == kept
