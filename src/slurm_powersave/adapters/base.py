"""Terraform in the foreground: the base state (network, login node), and a person's view of all states."""

import json
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slurm_powersave.adapters.process import Completed, run
from slurm_powersave.adapters.terraform import outputs, write_synced
from slurm_powersave.adapters.terraform_command import Command, diagnostics
from slurm_powersave.model.errors import TerraformError

_SECONDS = 1800.0


@dataclass(frozen=True)
class Planned:
    """A saved plan and what it would do."""

    file: Path
    text: str
    """As `terraform show` words it for a person; empty if it would do nothing."""
    actions: Mapping[str, int]
    """Action (create, update, delete, replace) -> how many resources."""

    @property
    def words(self) -> str:
        """Say what it would do."""
        return ", ".join(f"{count} to {word}" for word, count in sorted(self.actions.items())) or "no changes"


class State:
    """One Terraform directory, worked in while somebody waits."""

    def __init__(self, directory: Path, command: Command) -> None:
        self.directory, self._command = directory, command

    def lay_out(self, module: Path, variables: Mapping[str, Any], name: str) -> None:
        """Copy a root module and write its variables; run `terraform init` where that is needed."""
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for source in sorted(module.glob("*.tf")):
            shutil.copyfile(source, self.directory / source.name)
        write_synced(self.directory / name, json.dumps(variables, indent=1) + "\n")
        if not (self.directory / ".terraform.lock.hcl").exists():
            self.init()

    def init(self) -> None:
        """Run `terraform init`.

        Raises:
            TerraformError: Terraform's own words.
        """
        self._run(self._command.init(), "init")

    def plan(self, *, destroy: bool = False) -> Planned:
        """Make a plan, with a refresh.

        Raises:
            TerraformError: Terraform's own words.
        """
        out = Path(tempfile.mkdtemp(prefix="plan-", dir=self.directory)) / "tfplan"
        self._run(self._command.plan(out, refresh=True, destroy=destroy), "plan")
        plan = json.loads(self._run(self._command.show(out), "show").out)
        actions: dict[str, int] = {}
        for change in plan.get("resource_changes", []):
            words = change["change"]["actions"]
            if words not in (["no-op"], ["read"]):
                word = "replace" if len(words) > 1 else str(words[0])
                actions[word] = actions.get(word, 0) + 1
        text = self._run(self._command.show_text(out), "show").out if actions else ""
        return Planned(out, text.strip(), actions)

    def apply(self, planned: Planned) -> None:
        """Carry a saved plan out.

        Raises:
            TerraformError: Terraform's own words.
        """
        try:
            self._run(self._command.apply(planned.file, 10), "apply")
        finally:
            self.forget(planned)

    def forget(self, planned: Planned) -> None:
        """Remove a plan that is not to be carried out."""
        shutil.rmtree(planned.file.parent, ignore_errors=True)

    def outputs(self) -> Mapping[str, Any]:
        """Return the values of the state's outputs."""
        return outputs(self.directory)

    def ids(self) -> frozenset[str]:
        """Name the ids of all that the state holds.

        Raises:
            TerraformError: it can't be read.
        """
        if not self.exists:
            return frozenset()
        try:
            content = json.loads((self.directory / "terraform.tfstate").read_bytes() or b"{}")
            instances = [
                instance
                for resource in content.get("resources", [])
                if resource.get("mode") == "managed"
                for instance in resource.get("instances", [])
            ]
            return frozenset(str((instance.get("attributes") or {}).get("id")) for instance in instances)
        except (OSError, ValueError, AttributeError) as error:
            raise TerraformError("not a state", where=str(self.directory), why=str(error)) from error

    @property
    def exists(self) -> bool:
        """Whether there is a state."""
        return (self.directory / "terraform.tfstate").exists()

    def _run(self, argv: list[str], what: str) -> Completed:
        done = run(argv, timeout=_SECONDS, env=self._command.env(), cwd=self.directory)
        if done.rc != 0:
            errors = "; ".join(text for _, text in diagnostics(done.out.splitlines()))
            raise TerraformError(
                f"terraform {what} failed",
                where=str(self.directory),
                why=errors or done.err.strip()[-600:] or done.out.strip()[-600:],
                todo=f"Look at it with: cd {self.directory} && terraform plan",
            )
        return done
