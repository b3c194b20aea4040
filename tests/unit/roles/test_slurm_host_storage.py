"""The mount unit's text, as the module reads it, and slurmd's need of it."""

import importlib.util
from pathlib import Path

from slurm_powersave.decide.slurm_files.storage import mount_unit

ROLES = Path(__file__).resolve().parents[3] / "roles"


def test_slurmd_needs_the_mount_that_the_unit_makes() -> None:
    path = ROLES / "slurm_host/module_utils/slurm_host_storage.py"
    spec = importlib.util.spec_from_file_location("slurm_host_storage", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    text = mount_unit("10.0.0.1:/srv/ohpc", "/mnt/ohpc", "nfs4", "vers=4.2")
    assert module.where(text) == "/mnt/ohpc"
    assert module.requires(text).splitlines()[1:] == ["[Unit]", "RequiresMountsFor=/mnt/ohpc"]
