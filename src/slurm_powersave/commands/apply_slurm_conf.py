"""The plays that give slurmctld another slurm.conf, with an inventory that the engine does not use yet.

A node that comes up meanwhile is configured from the old inventory: it never gets a slurm.conf that failed.
Once slurmctld has taken the new one the play copies it over (roles/slurmctld), before nodes are asked for.
"""

import os
import shutil
from pathlib import Path

from slurm_powersave.commands.base_state import NO_WISH, Wish
from slurm_powersave.config.plain_file import read_bytes, read_text
from slurm_powersave.decide.slurm_files.inventory import HOSTS, VARIABLES, Inventory
from slurm_powersave.engine import slurm_conf_in_use
from slurm_powersave.model.errors import PlaybookError
from slurm_powersave.ports.site import Site

_FILES = (HOSTS, VARIABLES)


def play(site: Site, playbook: str, made: Inventory, verb: str, wish: Wish = NO_WISH) -> None:
    """Run a playbook with an inventory; the inventory is the engine's, and recorded, if slurmctld took it.

    Raises:
        PlaybookError: Ansible failed; its output has gone where ours goes.
    """
    cluster, plays = site.cluster, site.plays()
    new, old = cluster.layout.next_inventory, cluster.layout.inventory
    shutil.rmtree(new, ignore_errors=True)
    try:
        write(new, made)
        plays.link_others(old, new)
        (old / VARIABLES).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        extra = {
            "slurmctld_accept": {"from": str(new), "to": str(old), "files": list(_FILES)},
            "slurmctld_replace_foreign": wish.replace_foreign,
            "slurmctld_replace_edits": wish.replace_edits,
        }
        rc = plays.run(playbook, new, extra)
        if rc == 0:
            for name in _FILES:
                os.replace(new / name, old / name)
        if rc == 0 or all(_same(new / name, old / name) for name in _FILES):
            slurm_conf_in_use.save(site.store())
    finally:
        shutil.rmtree(new, ignore_errors=True)
    if rc:
        raise PlaybookError(
            f"{playbook} failed with exit code {rc}",
            where=cluster.login.name,
            todo=f"Correct what Ansible names above, and run {verb} again: it continues from there.",
        )


def write(directory: Path, made: Inventory) -> None:
    """Write the files of an inventory that differ from what is there."""
    for name, text in made.files().items():
        path = directory / name
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.exists() or read_text(path) != text:
            # As Ansible copies it, so that a second run finds nothing to change.
            path.touch(mode=0o600)
            path.chmod(0o600)
            path.write_text(text)


def _same(one: Path, other: Path) -> bool:
    return other.exists() and read_bytes(one) == read_bytes(other)
