"""A newer root module is tried beside a shard, by the real Terraform, and replaces its copy or does not."""

import json
import shutil
import time
from pathlib import Path

import pytest

from slurm_powersave.adapters.processes.process import run
from slurm_powersave.adapters.terraform.command import Command
from slurm_powersave.adapters.terraform.shards import Module, ShardedTerraform
from slurm_powersave.model.nodes import NodeSpec, RunResult, TerraformNode
from slurm_powersave.ports.run import Run

SHARD = "os/nodes-001"
NODE = TerraformNode(NodeSpec("n1", "p", "os", "i", "f", "", "10.0.0.1", image_id="i", flavor_id="f"), "op1")
VARIABLES = "".join(f'variable "{name}" {{}}\n' for name in ("cluster", "cloud", "key_pair", "nodes"))
MODULE = (
    VARIABLES + 'resource "terraform_data" "node" {\n  for_each = var.nodes\n  input = each.value.image\n}\n'
)

pytestmark = pytest.mark.skipif(shutil.which("terraform") is None, reason="needs terraform")


class Site:
    """One shard, whose module needs no provider but Terraform's own."""

    def __init__(self, root: Path) -> None:
        self.module, self.command = root / "module", Command()
        self.module.mkdir()
        (self.module / "main.tf").write_text(MODULE)
        (self.module / "contract.json").write_text(
            json.dumps({"resource": "terraform_data.node", "attributes": {"name": "name"}})
        )
        modules = {"os": Module(self.module, "demo", {}, "ssh-ed25519 AAAA")}
        self.terraform = ShardedTerraform(root / "state", modules, self.command)
        assert finish(self.terraform.init("os", SHARD)).ok
        self.shard = self.terraform.directory(SHARD)
        # Terraform writes no lock file where no provider is installed.
        (self.shard / ".terraform.lock.hcl").touch()
        (self.shard / ".terraform").mkdir(exist_ok=True)

    def apply(self) -> None:
        self.terraform.write_nodes(SHARD, {"n1": NODE})
        argv = ["terraform", "apply", "-auto-approve", "-input=false"]
        done = run(argv, timeout=60, env=self.command.env(), cwd=self.shard)
        assert done.rc == 0, done.err

    def files(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in self.shard.iterdir() if path.is_file()}


def finish(began: Run) -> RunResult:
    """Wait for a run's end."""
    end = time.monotonic() + 60
    while (result := began.poll()) is None:
        assert time.monotonic() < end
        time.sleep(0.05)
    return result


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_one_that_changes_nothing_replaces_the_copy(site: Site) -> None:
    site.apply()
    assert site.terraform.newer_module(SHARD) == ""
    (site.module / "main.tf").write_text(MODULE + "# newer\n")
    (site.module / "more.tf").write_text("locals {\n  more = 1\n}\n")
    (site.shard / "gone.tf").write_text("# of the older one\n")
    assert site.terraform.newer_module(SHARD)
    state = (site.shard / "terraform.tfstate").read_bytes()
    result = finish(site.terraform.try_module(SHARD))
    assert result.ok, result.text
    assert (site.shard / "main.tf").read_text() == MODULE, "a trial leaves the shard alone"
    site.terraform.end_trial(SHARD, take=True)
    assert sorted(path.name for path in site.shard.glob("*.tf")) == ["main.tf", "more.tf"]
    assert site.terraform.newer_module(SHARD) == "" and site.terraform.nodes(SHARD) == {"n1": NODE}
    assert (site.shard / "terraform.tfstate").read_bytes() == state
    assert [path.name for path in site.shard.parent.glob("*nodes*")] == ["nodes-001"], "no trial is left"


@pytest.mark.parametrize(
    "newer",
    [
        MODULE.replace("each.value.image", '"${each.value.image}-2"'),
        MODULE + 'output "more" {\n  value = 1\n}\n',
        MODULE + "resource {\n",
        MODULE + 'variable "unset" {}\n',
    ],
    ids=["changes a node", "changes an output", "is broken", "wants a variable"],
)
def test_another_one_leaves_everything_as_it_was(site: Site, newer: str) -> None:
    site.apply()
    before = site.files()
    (site.module / "main.tf").write_text(newer)
    assert not finish(site.terraform.try_module(SHARD)).ok
    site.terraform.end_trial(SHARD, take=False)
    assert site.files() == before
    assert [path.name for path in site.shard.parent.glob("*nodes*")] == ["nodes-001"], "no trial is left"


def test_an_output_more_is_nothing_where_there_is_no_server(site: Site) -> None:
    (site.module / "main.tf").write_text(MODULE + 'output "more" {\n  value = 1\n}\n')
    assert finish(site.terraform.try_module(SHARD)).ok
    (site.module / "main.tf").write_text(MODULE + "resource {\n")
    assert not finish(site.terraform.try_module(SHARD)).ok
