"""The package as an earlier commit of this repository had it, beside ours."""

import subprocess
import sys
import sysconfig
from pathlib import Path

from tests.e2e.guests import CHECKOUT


def old_release(commit: str, place: Path) -> Path:
    """Lay out a commit below `place`, and return the Python that runs its package.

    It shares the pinned packages of this checkout: requirements.lock was the same.
    """
    code = place / "code"
    code.mkdir(parents=True)
    archive = subprocess.run(
        ["git", "-C", CHECKOUT, "archive", "--format=tar", commit], capture_output=True, check=False
    )
    assert archive.returncode == 0, f"{archive.stderr.decode()}: the test needs the repository's history"
    subprocess.run(["tar", "-x", "-C", code], input=archive.stdout, check=True)
    venv = place / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
    (packages,) = venv.glob("lib/python*/site-packages")
    ours = sysconfig.get_paths()["purelib"]
    # In this order: its own package comes before ours, which is installed among the others.
    (packages / "old.pth").write_text(f"{code / 'src'}\n{ours}\n")
    return venv / "bin/python"
