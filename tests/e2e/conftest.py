"""One cluster for all end-to-end tests of the chain; what a killed run left is removed first."""

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.harness import Live

PLACE = Path("/var/tmp/slurm-powersave-tests")


@pytest.fixture(scope="session")
def deployed() -> Iterator[Live]:
    """A deployed cluster whose engine runs."""
    if os.geteuid() != 0:
        pytest.skip("containers need root")
    PLACE.mkdir(exist_ok=True)
    with (PLACE / "lock").open("w") as lock:
        # Two runs on one machine would take each other's bridge: the second waits for the first.
        fcntl.flock(lock, fcntl.LOCK_EX)
        live = Live(PLACE / "e2e")
        live.remove()
        live.make()
        yield live
        live.stop_engine()
        live.remove()


@pytest.fixture
def live(deployed: Live) -> Iterator[Live]:
    """The cluster at rest; brought to rest again by the next test that uses it."""
    deployed.rest()
    yield deployed
