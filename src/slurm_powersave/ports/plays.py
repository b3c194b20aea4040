"""Ansible while a person waits: the plays of `deploy` and `resize`, and what they would change."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from slurm_powersave.decide.commands.play_plan import PlayPlan


class Plays(Protocol):
    """Runs our playbooks on the login node, with an inventory that is given."""

    def run(self, playbook: str, inventory: Path, extra: Mapping[str, Any]) -> int:
        """Run a play, its output where ours goes; return ansible-playbook's exit code.

        `extra` are variables, in which nothing is a template.

        Raises:
            MissingToolError: ansible-playbook is not installed.
        """

    def check(self, playbook: str, inventory: Path, extra: Mapping[str, Any], place: Path) -> PlayPlan:
        """Run a play in check mode; what is needed for it is made in the directory `place`, and removed.

        Raises:
            PlaybookError: Ansible could not run at all.
        """

    def link_others(self, source: Path, directory: Path) -> None:
        """Give an inventory what is in another one beside our own files: a site's own variables."""

    def version(self) -> Mapping[str, str]:
        """Say which playbooks and roles these are."""
