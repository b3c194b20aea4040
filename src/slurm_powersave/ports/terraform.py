"""Terraform: the nodes' states, one for each shard."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from slurm_powersave.decide.node.plan_guard import Contract
from slurm_powersave.model.nodes import RunRecord, StateServer, TerraformNode
from slurm_powersave.model.permit import Permit
from slurm_powersave.ports.run import Run


class ModuleVersions(Protocol):
    """The versions of the nodes' root module: its clouds' and the shards'. Raises TerraformError."""

    def newer_module(self, shard: str) -> str:
        """Name the root module's version if the shard has another one.

        Empty if it has this one, was never initialised, or if its cloud is not in the cluster file.
        """


class Terraform(ModuleVersions, Protocol):
    """The nodes' root module, applied in several states (shards). Methods raise TerraformError."""

    def shards(self, cloud: str) -> Sequence[str]:
        """Name the shards of a cloud, initialised or not."""

    def init(self, cloud: str, shard: str) -> Run:
        """Lay out a shard (new or old) and run `terraform init` in it."""

    def initialised(self, shard: str) -> bool:
        """Tell whether the shard can be planned in."""

    def nodes(self, shard: str) -> Mapping[str, TerraformNode]:
        """Read the map that the shard's *.auto.tfvars.json holds."""

    def write_nodes(self, shard: str, nodes: Mapping[str, TerraformNode]) -> None:
        """Replace that map, atomically."""

    def try_module(self, shard: str) -> Run:
        """Start a plan with the newer root module beside the shard; it ends well if nothing would change."""

    def end_trial(self, shard: str, *, take: bool) -> None:
        """Give the shard the root module that was tried, or leave it as it was."""

    def servers(self, shard: str) -> Mapping[str, StateServer]:
        """Read node name -> server from the shard's state; tainted ones too."""

    def state_version(self, shard: str) -> str:
        """Name the version of the shard's state: another one after each change. Empty if it can't be told."""

    def busy(self, shard: str) -> bool:
        """Tell whether some terraform process holds the state's lock."""

    def plan(self, shard: str, targets: Sequence[str], *, refresh: bool) -> Run:
        """Start `terraform plan -out` with a target per node, and `terraform show -json` after it."""

    def contract(self, shard: str) -> Contract:
        """Read what the shard's root module promises to the plan guard."""

    def plan_json(self, plan: RunRecord) -> Mapping[str, Any]:
        """Read what `terraform show -json` said of a finished plan."""

    def apply(self, shard: str, plan: RunRecord, parallelism: int, permits: Sequence[Permit] = ()) -> Run:
        """Start `terraform apply` of the saved plan.

        Each server that the plan deletes, replaces or changes needs its permit; RefusedError without one.
        """

    def forget_servers(self, shard: str, permits: Sequence[Permit]) -> Run:
        """Start `terraform state rm` of the nodes of these permits: their servers are gone."""

    def refresh(self, shard: str) -> Run:
        """Start `terraform apply -refresh-only`: what is gone leaves the state, nothing else is touched."""

    def is_broken(self, shard: str) -> bool:
        """Tell whether the state is empty or not readable, and nobody is writing it now."""

    def put_back(self, shard: str) -> str:
        """Put the copy from before the last apply in the place of a broken state; say what was done."""

    def reattach(self, record: RunRecord) -> Run:
        """Take up a run that an earlier engine started; one whose process is gone polls as ended."""

    def forget(self, record: RunRecord) -> None:
        """Remove what a run left behind: plans and outputs may hold user data."""
