"""Where playbooks, roles and hooks are: beside the source in a checkout, below the prefix when installed."""

import os
import sys
from pathlib import Path

from slurm_powersave.model.errors import ConfigError

HOME = "SLURM_POWERSAVE_HOME"


def home() -> Path:
    """Return the directory that holds playbooks/, roles/ and slurmscripts/.

    Raises:
        ConfigError: none of the known places has them.
    """
    places = [
        Path(__file__).resolve().parents[3],
        Path(sys.prefix) / "share" / "slurm-powersave",
        Path("/usr/share/slurm-powersave"),
    ]
    if given := os.environ.get(HOME):
        places = [Path(given)]
    for place in places:
        if (place / "playbooks" / "node.yml").exists():
            return place
    raise ConfigError(
        "the playbooks are not found",
        where=", ".join(map(str, places)),
        todo=f"Set {HOME} to the directory that holds playbooks/, roles/ and slurmscripts/.",
    )
