"""The guest images of the tests, and the versions of Slurm that are in them."""

import os
import subprocess
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
CHOSEN_SLURM = os.environ.get("SLURM", "")
"""The one version that this run is about; empty: `MAIN_SLURM`, and the others where they may differ."""
MAIN_SLURM = CHOSEN_SLURM or "26.05"
SLURM_VERSIONS = ("22.05", "24.11", "26.05")


def guest_image(slurm: str = MAIN_SLURM) -> str:
    """Return the path of the guest image with this version of Slurm; build it if it is not there."""
    build = [CHECKOUT / "demo/guests/build", "--slurm", slurm]
    done = subprocess.run(build, check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout.strip().splitlines()[-1]
