"""The plan guard on plans that a real Terraform made, of its builtin `terraform_data`; needs no cloud."""

import json
import shutil
from pathlib import Path

import pytest

from slurm_powersave.adapters.processes.process import run
from slurm_powersave.adapters.terraform.command import Command
from slurm_powersave.decide.node.plan_guard import Contract, Expected, PlanMode, check, tags
from slurm_powersave.model.nodes import NodeSpec, TerraformNode

SHARD = "tf/nodes-001"
MODULE = """
variable "nodes" { type = map(any) }
variable "extra" {
  type    = bool
  default = false
}
resource "terraform_data" "node" {
  for_each         = var.nodes
  input            = each.value
  triggers_replace = each.value.image
}
resource "terraform_data" "other" {
  count = var.extra ? 1 : 0
  input = var.extra ? keys(var.nodes) : []
}
"""
CONTRACT = Contract(
    "terraform_data.node",
    {word: f"input.{word}" for word in ("name", "image", "flavor", "zone", "address", "tags")},
)


def entry(name: str) -> TerraformNode:
    """What the journal holds of a node."""
    return TerraformNode(
        NodeSpec(name, "compute", "tf", "img", "small", "", f"10.0.1.{name[1:]}"), f"op-{name}"
    )


class Workdir:
    """A directory with a state, and a map of nodes."""

    def __init__(self, directory: Path) -> None:
        self.directory, self.command = directory, Command()
        self.nodes: dict[str, dict[str, object]] = {}
        (directory / "main.tf").write_text(MODULE)
        self._run(self.command.init())

    def add(self, *names: str, **changes: object) -> None:
        """Put nodes into the map."""
        for name in names:
            node = entry(name).node
            self.nodes[name] = {
                "name": name,
                "image": node.image,
                "flavor": node.flavor,
                "zone": "",
                "address": node.address,
                "tags": sorted(tags("demo", SHARD, entry(name))),
            } | changes

    def _run(self, argv: list[str]) -> str:
        done = run(argv, timeout=60, cwd=self.directory, env=self.command.env())
        assert done.rc == 0, done.out + done.err
        return done.out

    def plan(self, *targets: str, extra: bool = False, refresh: bool = False) -> dict[str, object]:
        """Plan, and return what `terraform show -json` says of it."""
        content = {"nodes": self.nodes, "extra": extra}
        (self.directory / "nodes.auto.tfvars.json").write_text(json.dumps(content))
        addresses = [f'terraform_data.node["{name}"]' for name in targets]
        self._run(self.command.plan(self.directory / "tfplan", addresses, refresh=refresh))
        found: dict[str, object] = json.loads(self._run(self.command.show(self.directory / "tfplan")))
        return found

    def apply(self) -> None:
        """Carry the last plan out."""
        self._run(self.command.apply(self.directory / "tfplan", 10))

    def server_id(self, name: str) -> str:
        """Read a node's id from the state."""
        state = json.loads((self.directory / "terraform.tfstate").read_text())
        instances = [i for resource in state["resources"] for i in resource["instances"]]
        return next(str(i["attributes"]["id"]) for i in instances if i.get("index_key") == name)

    def taint(self, name: str) -> None:
        """Mark a node as Terraform does when its creation failed half-way."""
        self._run(["terraform", "taint", f'terraform_data.node["{name}"]'])


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state with n1 and n2."""
    directory = tmp_path_factory.mktemp("base")
    work = Workdir(directory)
    work.add("n1", "n2")
    work.plan("n1", "n2")
    work.apply()
    return directory


@pytest.fixture
def work(base: Path, tmp_path: Path) -> Workdir:
    """A copy of that state."""
    shutil.copytree(base, tmp_path / "w")
    found = Workdir(tmp_path / "w")
    found.add("n1", "n2")
    return found


def violations(content: dict[str, object], mode: PlanMode, nodes: dict[str, str]) -> str:
    """Hold a plan against a request for nodes (name -> server id)."""
    expected = {name: Expected(entry(name), server_id) for name, server_id in nodes.items()}
    found = check(content, mode, expected, contract=CONTRACT, cluster="demo", shard=SHARD)
    return " | ".join(map(str, found))


def test_a_create_that_was_asked_for_passes(work: Workdir) -> None:
    work.add("n3", "n4")
    assert violations(work.plan("n3", "n4"), PlanMode.CREATE, {"n3": "", "n4": ""}) == ""


def test_a_delete_that_was_asked_for_passes(work: Workdir) -> None:
    del work.nodes["n1"]
    content = work.plan("n1")
    assert violations(content, PlanMode.DELETE, {"n1": work.server_id("n1")}) == ""
    work.apply()
    assert "No changes" in run(
        ["terraform", "plan", "-no-color"], timeout=60, cwd=work.directory, env=work.command.env()
    ).out  # fmt: skip


def test_the_last_node_leaves_none(work: Workdir) -> None:
    work.nodes.clear()
    ids = {name: work.server_id(name) for name in ("n1", "n2")}
    assert violations(work.plan("n1", "n2"), PlanMode.DELETE, ids) == ""
    assert "not asked for" in violations(work.plan("n1", "n2"), PlanMode.DELETE, {"n1": ids["n1"]})


def test_another_server_under_the_name_is_refused(work: Workdir) -> None:
    del work.nodes["n1"]
    assert "not old-id as asked for" in violations(work.plan("n1"), PlanMode.DELETE, {"n1": "old-id"})


def test_no_changes_is_no_success(work: Workdir) -> None:
    assert "0 times" in violations(work.plan("n1"), PlanMode.CREATE, {"n1": ""})


def test_a_target_that_does_not_exist_is_no_success(work: Workdir) -> None:
    assert "0 times" in violations(work.plan("n7"), PlanMode.CREATE, {"n7": ""})


def test_an_edited_image_replaces_nobody(work: Workdir) -> None:
    work.add("n1", "n2", image="new")
    work.add("n3")
    content = work.plan("n3")
    assert violations(content, PlanMode.CREATE, {"n3": ""}) == "", "targeted, it is left alone"
    found = violations(work.plan(), PlanMode.CREATE, {"n3": ""})
    assert found.count("delete/create of something that was not asked for") == 2


def test_a_changed_attribute_is_an_update(work: Workdir) -> None:
    work.add("n1", flavor="large")
    assert "update instead of create" in violations(work.plan("n1"), PlanMode.CREATE, {"n1": ""})


def test_another_flavor_than_the_journals(work: Workdir) -> None:
    work.add("n3", flavor="large")
    assert "input.flavor is 'large' where 'small'" in violations(work.plan("n3"), PlanMode.CREATE, {"n3": ""})


def test_a_tainted_entry_is_refused(work: Workdir) -> None:
    work.taint("n1")
    found = violations(work.plan("n1"), PlanMode.CREATE, {"n1": ""})
    assert "delete/create instead of create (replace_because_tainted)" in found
    del work.nodes["n1"]
    assert violations(work.plan("n1"), PlanMode.DELETE, {"n1": work.server_id("n1")}) == ""


def test_an_extra_resource_is_refused(work: Workdir) -> None:
    work.add("n3")
    found = violations(work.plan(extra=True), PlanMode.CREATE, {"n3": ""})
    assert found == "terraform_data.other[0]: create of something that was not asked for"


def test_a_stale_map_is_refused(work: Workdir) -> None:
    work.nodes.clear()
    work.add("n3")
    found = violations(work.plan(), PlanMode.CREATE, {"n3": ""})
    assert found.count("delete of something that was not asked for") == 2
