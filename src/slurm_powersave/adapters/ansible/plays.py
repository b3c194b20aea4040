"""The plays that a person waits for: of `deploy` and `resize`, and what they would change."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from slurm_powersave.adapters.ansible import play_check, project
from slurm_powersave.adapters.ansible.playbooks import Site, run_playbook
from slurm_powersave.adapters.ansible.run_inventory import link_others
from slurm_powersave.decide.commands.play_plan import PlayPlan


class AnsiblePlays:
    """Implements ports.Plays."""

    link_others = staticmethod(link_others)
    version = staticmethod(project.version)

    def __init__(self, site: Site) -> None:
        """`site`: where the plays are; each call names the inventory."""
        self._site = site

    def run(self, playbook: str, inventory: Path, extra: Mapping[str, Any]) -> int:
        """Run a play in the foreground; return ansible-playbook's exit code."""
        return run_playbook(replace(self._site, inventory=inventory), playbook, extra=extra)

    def check(self, playbook: str, inventory: Path, extra: Mapping[str, Any], place: Path) -> PlayPlan:
        """Run a play in check mode."""
        return play_check.check(replace(self._site, inventory=inventory), playbook, extra, place)
