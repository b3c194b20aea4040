"""Where playbooks, roles and hooks are: beside the source in a checkout, below the prefix when installed."""

import os
import sys
from pathlib import Path

from slurm_powersave import __version__
from slurm_powersave.adapters.processes.process import run
from slurm_powersave.model.errors import ConfigError, MissingToolError

HOME = "SLURM_POWERSAVE_HOME"


def home() -> Path:
    """Return the directory that holds playbooks/, roles/ and slurmscripts/.

    Raises:
        ConfigError: none of the known places has them.
    """
    places = [
        Path(__file__).resolve().parents[4],
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


def version() -> dict[str, str]:
    """Say which playbooks and roles these are: our version, and what git calls a checkout (else empty)."""
    found = home()
    described = ""
    if (found / ".git").exists():
        try:
            done = run(["git", "-C", str(found), "describe", "--always", "--dirty", "--tags"], timeout=20)
            described = done.out.strip() if done.rc == 0 else ""
        except MissingToolError:
            described = ""
    return {"version": __version__, "git": described}
