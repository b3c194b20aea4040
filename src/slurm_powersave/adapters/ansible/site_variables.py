"""Variables that a node can't replace while a playbook of the site runs on it.

There facts are variables, and stand above those of the inventory: a node that was broken into would choose
what `{{ site_key_file }}` is in the site's own `copy`. The variables of a play stand above facts.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from slurm_powersave.config.plain_file import read_bytes, read_text
from slurm_powersave.decide.slurm_files.inventory import VARIABLES

OURS = "slurm_powersave"
SITES = "site_"
_LARGEST = 1 << 20
"""Bytes of a site's file that are looked through."""


def protected(inventory: Path) -> dict[str, Any]:
    """Return what a play of the site is to have as its own variables.

    That is what the cluster file has under site_ and what is computed from it, unless the site has laid files
    beside the generated inventory that name the variable too, for some hosts perhaps: then those count.
    """
    variables = json.loads(read_bytes((inventory / VARIABLES).with_suffix(".json")))
    others = "\n".join(_texts(inventory))
    return {
        name: value
        for name, value in variables.items()
        if name == OURS or (name.startswith(SITES) and name not in others)
    }


def _texts(inventory: Path) -> Iterator[str]:
    generated = {(inventory / VARIABLES).with_suffix(".json"), inventory / "hosts.json"}
    for link in (path for path in inventory.rglob("*") if path.is_symlink()):
        for path in [link] if link.is_file() else sorted(link.rglob("*")):
            if path not in generated and path.is_file() and path.stat().st_size <= _LARGEST:
                yield read_text(path, errors="replace")
