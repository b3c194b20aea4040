"""The control host's user data, as Terraform itself renders it."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

MODULE = Path(__file__).resolve().parents[3] / "terraform_ctl"
GIVEN = {
    "image": "debian-12",
    "flavor": "m1.small",
    "public_key": "ssh-ed25519 AAAA me",
    "ssh_from": ["192.0.2.0/24"],
    "toolkit": "git+https://git.example.org/slurm-powersave@v1",
    "terraform_sha256": "0123456789abcdef" * 4,
}


def console(directory: Path, expression: str, **changes: Any) -> "subprocess.CompletedProcess[str]":
    """Evaluate an expression over the module's variables and locals that need no provider."""
    for name in ("variables.tf", "user_data.tf", "bootstrap.sh"):
        shutil.copyfile(MODULE / name, directory / name)
    (directory / "terraform.tfvars.json").write_text(json.dumps(GIVEN | changes))
    return subprocess.run(
        ["terraform", f"-chdir={directory}", "console"],
        input=expression,
        env=os.environ | {"TF_CLI_CONFIG_FILE": os.devnull, "TF_IN_AUTOMATION": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def user_data(directory: Path, **changes: Any) -> str:
    """Render the user data."""
    done = console(directory, "jsonencode(local.user_data)", **changes)
    assert done.returncode == 0, done.stderr
    return str(json.loads(json.loads(done.stdout)))
