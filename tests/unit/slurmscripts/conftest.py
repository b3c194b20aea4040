from pathlib import Path

import pytest

from tests.hook_scripts import HookScripts


@pytest.fixture(params=["dash", "bash"])
def hooks(request: pytest.FixtureRequest, tmp_path: Path) -> HookScripts:
    """The hooks, run by Debian's /bin/sh and by that of RHEL."""
    scripts = HookScripts(tmp_path, shell=request.param)
    scripts.log_to(tmp_path / "syslog")
    return scripts
