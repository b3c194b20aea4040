"""One lab for all tests on OpenStack of a run; each module or test has a project of its own in it.

SLURM_POWERSAVE_KEEP_LAB=1 leaves the lab up for the next run.
"""

import fcntl
import os
from collections.abc import Iterator

import pytest

from tests.e2e.conftest import LANE, PLACE
from tests.openstack.harness import Lab, Project, Ssh
from tests.place import own_place


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """The lab, up, and nothing in it."""
    if os.geteuid() != 0:
        pytest.skip("containers need root")
    own_place(PLACE)
    keep = os.environ.get("SLURM_POWERSAVE_KEEP_LAB") == "1"
    with (PLACE / f"lock-openstack{LANE or ''}").open("w") as lock:
        # Two runs in one lane would take each other's ports: the second waits for the first.
        fcntl.flock(lock, fcntl.LOCK_EX)
        made = Lab(PLACE / f"openstack{LANE or ''}", LANE)
        if not keep:
            made.remove()
        made.up()
        yield made
        if not keep:
            made.remove()


@pytest.fixture(scope="module")
def project(lab: Lab) -> Iterator[Project]:
    """A project for the tests of a module."""
    with lab.project() as made:
        yield made


@pytest.fixture(scope="session")
def ssh(tmp_path_factory: pytest.TempPathFactory) -> Ssh:
    """The control host's key."""
    return Ssh(tmp_path_factory.mktemp("ssh"))
