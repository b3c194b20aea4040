"""Terraform in one directory while a person waits: the base state, and a person's view of all states."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from slurm_powersave.model.cloud_facts import Tools
from slurm_powersave.model.permit import Permit


@dataclass(frozen=True)
class Planned:
    """A saved plan and what it would do."""

    file: Path
    text: str
    """As `terraform show` words it for a person; empty if it would do nothing."""
    actions: Mapping[str, int]
    """Action (create, update, delete, replace) -> how many resources."""
    content: Mapping[str, Any] = field(repr=False)
    """The JSON of `terraform show -json`: what decide/commands/base_plan.py judges."""

    @property
    def words(self) -> str:
        """Say what it would do."""
        return ", ".join(f"{count} to {word}" for word, count in sorted(self.actions.items())) or "no changes"


@dataclass(frozen=True)
class Held:
    """One object that a state holds."""

    address: str
    attributes: Mapping[str, Any]


class TerraformDirectory(Protocol):
    """One directory with its root module and its state. Methods raise TerraformError."""

    directory: Path

    def lay_out(self, module: Path, variables: Mapping[str, Any], name: str) -> None:
        """Copy a root module and write its variables; run `terraform init` where that is needed."""

    def files(self) -> Mapping[Path, str]:
        """Read the root module and its variables as they are there; none before the first `lay_out`."""

    def put_back(self, files: Mapping[Path, str]) -> None:
        """Undo `lay_out` if nothing was applied."""

    def init(self) -> None:
        """Run `terraform init`."""

    def upgrade(self) -> None:
        """Run `terraform init -upgrade`; where it fails the lock file stays what it was."""

    def plan(self, *, destroy: bool = False, replace: Sequence[str] = ()) -> Planned:
        """Make a plan, with a refresh; `replace` are addresses that are to be made anew."""

    def apply(self, planned: Planned, permits: Sequence[Permit] = ()) -> None:
        """Carry a saved plan out; RefusedError if an object that it deletes or replaces has no permit."""

    def forget(self, planned: Planned) -> None:
        """Remove a plan that is not to be carried out."""

    def outputs(self) -> Mapping[str, Any]:
        """Return the values of the state's outputs; none before the first apply."""

    def ids(self) -> frozenset[str]:
        """Name the ids of all that the state holds."""

    def held(self) -> list[Held]:
        """List all objects that the state holds, but no data sources."""

    @property
    def exists(self) -> bool:
        """Whether there is a state."""

    @property
    def broken(self) -> bool:
        """Whether the state is empty or not readable, and nobody is writing it now."""

    def mend(self) -> str:
        """Put the copy from before the last apply in the place of a broken state; say what was done."""


class TerraformProgram(Protocol):
    """The program itself, and which providers the directories of a cluster have chosen."""

    def check(self) -> str:
        """Return its version; MissingToolError if it is absent or too old."""

    def tools(self) -> Tools:
        """Ask for its version, and read which providers an `init` has chosen. Raises nothing."""

    def locked(self) -> Mapping[str, str]:
        """Read the dependency lock files; of a provider in several states the oldest version."""

    def initialised(self, directory: Path) -> bool:
        """Tell whether `terraform init` has ended well in a directory."""

    def choose(self, first: Path) -> None:
        """Make what a directory has been initialised with the cloud's choice, in the place of another one."""

    def give(self, directory: Path) -> None:
        """Give a shard the cloud's lock file; its next `init` takes what stands there."""

    def forget(self) -> None:
        """Remove what was chosen for each cloud."""
