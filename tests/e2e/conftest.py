"""One cluster for all end-to-end tests of the chain; what a killed run left is removed first."""

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.harness import Live

PLACE = Path("/var/tmp/slurm-powersave-tests")
LANE = int(os.environ.get("SLURM_POWERSAVE_TEST_LANE", "0"))
"""Runs in different lanes share a machine: each has names, a bridge, addresses and a lock of its own."""


def lane() -> Live:
    """The cluster of this run's lane."""
    if not LANE:
        return Live(PLACE / "e2e")
    name = f"e2e{LANE}"
    return Live(PLACE / name, name=name, bridge=f"br-sps-test{LANE}", network=f"10.{90 + LANE}")


@pytest.fixture(scope="session")
def deployed() -> Iterator[Live]:
    """A deployed cluster whose engine runs."""
    if os.geteuid() != 0:
        pytest.skip("containers need root")
    PLACE.mkdir(exist_ok=True)
    with (PLACE / f"lock{LANE or ''}").open("w") as lock:
        # Two runs in one lane would take each other's bridge: the second waits for the first.
        fcntl.flock(lock, fcntl.LOCK_EX)
        live = lane()
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
