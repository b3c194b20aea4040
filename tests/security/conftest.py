"""A login node's spool in a directory of a test's own, with `nobody` in the place of SlurmUser."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.security.login_node import LoginNode


@pytest.fixture
def login_node() -> Iterator[LoginNode]:
    """A spool of `nobody`, below a directory that root alone may write and everybody may pass."""
    root = Path(tempfile.mkdtemp(prefix="slurm-powersave-login-"))
    root.chmod(0o711)
    try:
        yield LoginNode(root)
    finally:
        shutil.rmtree(root)
