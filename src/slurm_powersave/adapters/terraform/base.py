"""Terraform in the foreground: the base state (network, login node), and a person's view of all states."""

import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from slurm_powersave.adapters.processes import foreground
from slurm_powersave.adapters.processes.process import Completed
from slurm_powersave.adapters.terraform import providers, state_file
from slurm_powersave.adapters.terraform.command import Command, diagnostics
from slurm_powersave.adapters.terraform.state_file import STATE, outputs, write_synced
from slurm_powersave.config.plain_file import read_bytes, read_text
from slurm_powersave.decide.node import plan_permits
from slurm_powersave.model.errors import TerraformError
from slurm_powersave.model.permit import Act, Permit, use_all
from slurm_powersave.ports.terraform_directory import Held, Planned

_SECONDS = 1800.0


class State:
    """One Terraform directory, worked in while somebody waits. Implements ports.TerraformDirectory."""

    def __init__(self, directory: Path, command: Command, *, shard: bool = False) -> None:
        """`shard`: it holds nodes, and shares its providers with the cloud's other shards."""
        self.directory, self._command, self._shard = directory, command, shard

    def lay_out(self, module: Path, variables: Mapping[str, Any], name: str) -> None:
        """Copy a root module and write its variables; run `terraform init` where that is needed."""
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for source in sorted(module.glob("*.tf")):
            shutil.copyfile(source, self.directory / source.name)
        write_synced(self.directory / name, json.dumps(variables, indent=1) + "\n")
        if not providers.initialised(self.directory):
            self.init()

    def files(self) -> Mapping[Path, str]:
        """Read the root module and its variables as they are there; none before the first `lay_out`."""
        return {path: read_text(path) for path in self._sources()}

    def put_back(self, files: Mapping[Path, str]) -> None:
        """Undo `lay_out` if nothing was applied, so that a person's own `terraform plan` says "No changes".

        Before the first apply `files` is empty, and the new files stay: there is no state yet.
        """
        if not files:
            return
        for path in self._sources():
            if path not in files:
                path.unlink()
        for path, content in files.items():
            if not path.exists() or read_text(path) != content:
                write_synced(path, content)

    def _sources(self) -> list[Path]:
        return [path for pattern in ("*.tf", "*.auto.tfvars.json") for path in self.directory.glob(pattern)]

    def init(self) -> None:
        """Run `terraform init`.

        Raises:
            TerraformError: Terraform's own words.
        """
        self._run(
            providers.init(self._command, self.directory) if self._shard else self._command.init(), "init"
        )

    def upgrade(self) -> None:
        """Run `terraform init -upgrade`; where it fails the lock file stays what it was.

        Raises:
            TerraformError: Terraform's own words.
        """
        lock = self.directory / providers.LOCK
        before = read_text(lock) if lock.exists() else None
        (self.directory / ".terraform" / "plugin_path").unlink(missing_ok=True)
        try:
            self._run(self._command.init(upgrade=True), "init")
        except TerraformError:
            if before is not None:
                write_synced(lock, before)
            raise

    def plan(self, *, destroy: bool = False, replace: Sequence[str] = ()) -> Planned:
        """Make a plan, with a refresh; `replace` are addresses that are to be made anew.

        Raises:
            TerraformError: Terraform's own words.
        """
        out = Path(tempfile.mkdtemp(prefix="plan-", dir=self.directory)) / "tfplan"
        self._run(self._command.plan(out, refresh=True, destroy=destroy, replace=replace), "plan")
        plan = json.loads(self._run(self._command.show(out), "show").out)
        actions: dict[str, int] = {}
        for change in plan.get("resource_changes", []):
            words = change["change"]["actions"]
            if words not in (["no-op"], ["read"]):
                word = "replace" if len(words) > 1 else str(words[0])
                actions[word] = actions.get(word, 0) + 1
        text = self._run(self._command.show_text(out), "show").out if actions else ""
        return Planned(out, text.strip(), actions, plan)

    def apply(self, planned: Planned, permits: Sequence[Permit] = ()) -> None:
        """Carry a saved plan out, if each object that it deletes or replaces has a permit.

        Raises:
            RefusedError: one has none.
            TerraformError: Terraform's own words.
        """
        try:
            use_all(permits, Act.DELETE, plan_permits.destroyed(planned.content))
            state_file.keep(self.directory)
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
        return frozenset(str(held.attributes.get("id")) for held in self.held())

    def held(self) -> list[Held]:
        """List all objects that the state holds, but no data sources.

        Raises:
            TerraformError: it can't be read.
        """
        if not self.exists:
            return []
        try:
            content = json.loads(read_bytes(self.directory / STATE) or b"{}")
            return list(_held(content))
        except (OSError, ValueError, AttributeError, TypeError) as error:
            raise TerraformError(
                "the Terraform state can't be read", where=str(self.directory), why=str(error)
            ) from error

    @property
    def exists(self) -> bool:
        """Whether there is a state."""
        return (self.directory / STATE).exists()

    @property
    def broken(self) -> bool:
        """Whether the state is empty or not readable, and nobody is writing it now."""
        return state_file.is_broken(self.directory)

    def mend(self) -> str:
        """Put the copy from before the last apply in the place of a broken state; say what was done.

        The next plan refreshes it: what the cloud no longer has leaves it.
        """
        return state_file.put_back(self.directory)

    def _run(self, argv: list[str], what: str) -> Completed:
        done = foreground.run(argv, timeout=_SECONDS, env=self._command.env(), cwd=self.directory)
        if done.rc != 0:
            errors = "; ".join(text for _, text in diagnostics(done.out.splitlines()))
            raise TerraformError(
                f"terraform {what} failed",
                where=str(self.directory),
                why=errors or done.err.strip()[-600:] or done.out.strip()[-600:],
                todo=f"Look at it with: cd {self.directory} && terraform plan",
            )
        return done


def _held(content: Mapping[str, Any]) -> Iterator[Held]:
    for resource in content.get("resources", []):
        if resource.get("mode") != "managed":
            continue
        whole = f"{resource.get('type')}.{resource.get('name')}"
        address = f"{resource['module']}.{whole}" if resource.get("module") else whole
        for instance in resource.get("instances", []):
            key = f"[{json.dumps(instance['index_key'])}]" if "index_key" in instance else ""
            yield Held(address + key, instance.get("attributes") or {})
