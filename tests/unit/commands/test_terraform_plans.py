"""`terraform plan` in all states: which ones, and one that fails hides nothing of the others."""

from pathlib import Path

from slurm_powersave.commands import terraform_plans
from slurm_powersave.model.errors import TerraformError
from slurm_powersave.ports.terraform_directory import Planned
from slurm_powersave.testing.site import MemoryProgram, MemorySite, Parts
from slurm_powersave.testing.world import cluster


class PretendState:
    """A state whose plan depends on its directory's name."""

    forgotten: list[Path] = []  # noqa: RUF012  # shared on purpose: plans come from several threads

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    @property
    def exists(self) -> bool:
        return (self.directory / "terraform.tfstate").exists()

    def plan(self) -> Planned:
        if self.directory.name == "nodes-002":
            raise TerraformError("terraform plan failed", why="locked")
        actions = {"create": 1} if self.directory.name == "nodes-001" else {}
        return Planned(self.directory / "plan" / "tfplan", "a text" if actions else "", actions, {})

    def forget(self, planned: Planned) -> None:
        self.forgotten.append(planned.file)


def test_all_states_in_order(tmp_path: Path) -> None:
    for name in ("base", "local/nodes-001", "local/nodes-002", "other/nodes-001", "local/nodes-003"):
        directory = tmp_path / "terraform" / name
        directory.mkdir(parents=True)
        if name != "local/nodes-003":
            # A shard that was laid out and never applied has no state yet.
            (directory / "terraform.tfstate").touch()
    outside = Parts(directory=PretendState, terraform_program=MemoryProgram())

    found = list(terraform_plans.plan_all(MemorySite(cluster(state_dir=tmp_path), outside)))

    assert [(one.name, one.actions, bool(one.error)) for one in found] == [
        ("base", {}, False),
        ("local/nodes-001", {"create": 1}, False),
        ("local/nodes-002", {}, True),
        ("other/nodes-001", {"create": 1}, False),
    ]
    assert len(PretendState.forgotten) == 3
