"""The mount unit's text, as the module reads it, and slurmd's need of it."""

from slurm_powersave.decide.slurm_files.storage import mount_unit
from tests.unit.roles.role_files import load


def test_slurmd_needs_the_mount_that_the_unit_makes() -> None:
    module = load("slurm_host", "slurm_host_storage")
    text = mount_unit("10.0.0.1:/srv/ohpc", "/mnt/ohpc", "nfs4", "vers=4.2")
    assert module.where(text) == "/mnt/ohpc"
    assert module.requires(text).splitlines()[1:] == ["[Unit]", "RequiresMountsFor=/mnt/ohpc"]
