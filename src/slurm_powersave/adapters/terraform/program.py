"""The program `terraform` of this host, and the providers that a cluster's directories have chosen."""

from pathlib import Path

from slurm_powersave.adapters.terraform import providers, versions
from slurm_powersave.adapters.terraform.command import Command
from slurm_powersave.model.cloud_facts import Tools


class Program:
    """Implements ports.TerraformProgram."""

    initialised = staticmethod(providers.initialised)
    choose = staticmethod(providers.choose)
    give = staticmethod(providers.give)

    def __init__(self, command: Command, states: Path) -> None:
        """`states`: the directory of all states."""
        self._command, self._states = command, states

    def check(self) -> str:
        """Return its version; MissingToolError if it is absent or too old."""
        return self._command.check()

    def tools(self) -> Tools:
        """Ask for its version, and read which providers were chosen."""
        return versions.read(self._command, self._states)

    def locked(self) -> dict[str, str]:
        """Read the dependency lock files."""
        return versions.locked(self._states)

    def forget(self) -> None:
        """Remove what was chosen for each cloud."""
        providers.forget(self._states)
