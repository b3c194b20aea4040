"""A newer version of the nodes' root module: it reaches the shards in which it changes nothing."""

import json
from pathlib import Path

from slurm_powersave import wiring
from slurm_powersave.engine.runs import root_modules
from slurm_powersave.model import phases
from slurm_powersave.model.nodes import NodeRecord, NodeSpec
from slurm_powersave.testing.world import MemoryWorld, cluster
from tests.unit.engine.checks import assert_at_rest, operations, servers
from tests.unit.engine.stories import up


def shard_of(world: MemoryWorld, node: str) -> str:
    return world.journal.node_records()[node].shard


def test_it_is_taken_where_it_changes_nothing() -> None:
    world = MemoryWorld.of(2)
    world.slurm.end(up(world, "n1"))
    shard, before = shard_of(world, "n1"), servers(world)
    world.terraform.module = "2"
    world.run(60)
    assert world.terraform.versions[shard] == "2"
    assert servers(world) == before, "nothing was done to a server"
    assert_at_rest(world)


def test_else_the_shard_keeps_its_own_and_takes_no_new_nodes_until_it_is_empty() -> None:
    world = MemoryWorld.of(3)
    world.slurm.end(up(world, "n1"))
    shard = shard_of(world, "n1")
    world.terraform.module, world.terraform.module_changes = "2", True
    world.run(60)
    assert world.terraform.versions[shard] == "1"
    trials = len([run for run in world.terraform.runs.values() if run.record.kind == "module"])
    world.run(300)
    assert trials == len([run for run in world.terraform.runs.values() if run.record.kind == "module"])
    up(world, "n2")
    assert shard_of(world, "n2") != shard and world.terraform.versions[shard_of(world, "n2")] == "2"
    world.slurm.suspend("n1")
    world.run(5)
    world.settle(120)
    world.run(60)
    assert operations(world, "n1")[-1].outcome == phases.DONE, "it is deleted by the old one"
    assert world.terraform.versions[shard] == "2", "nothing is left that it could change"


def test_a_shard_in_which_a_person_works_is_left_for_later() -> None:
    world = MemoryWorld.of(2)
    world.slurm.end(up(world, "n1"))
    shard = shard_of(world, "n1")
    world.terraform.module = "2"
    world.terraform.locked.add(shard)
    world.run(60)
    assert world.terraform.versions[shard] == "1"
    world.terraform.locked.clear()
    world.run(60)
    assert world.terraform.versions[shard] == "2"


def test_status_names_the_nodes_that_have_an_older_one(tmp_path: Path) -> None:
    module = tmp_path / "module"
    module.mkdir()
    (module / "main.tf").write_text("# two\n")
    made = cluster(2)
    clouds = {name: cloud.model_copy(update={"nodes_module": module}) for name, cloud in made.clouds.items()}
    made = made.model_copy(update={"state_dir": tmp_path, "clouds": clouds})
    shard = made.layout.terraform / "mem/nodes-001"
    (shard / ".terraform").mkdir(parents=True)
    (shard / ".terraform.lock.hcl").touch()
    (shard / "main.tf").write_text("# one\n")
    node = NodeSpec("n1", "p", "mem", "default", "small", "", "10.0.0.1")
    records = {"n1": NodeRecord(node, shard="mem/nodes-001", server_id="id-1")}
    versions = wiring.site(made).module_versions()
    found = root_modules.older(versions, records)
    assert found == {"mem/nodes-001": ["n1"]} and json.dumps(found)
    (line,) = root_modules.lines(found)
    assert line.startswith("Terraform state mem/nodes-001 (n1) has an older version of the root module")
    (shard / "main.tf").write_text("# two\n")
    assert root_modules.older(versions, records) == {}
