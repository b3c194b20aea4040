"""One cluster for all end-to-end tests of a worker; what a killed run left is removed first.

`deployed` is made for one version of Slurm after the other: the main one for all tests, the others for those
marked `every_slurm` and, in `make test-all`, for all.
"""

import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.guests import CHOSEN_SLURM, MAIN_SLURM, SLURM_VERSIONS
from tests.e2e.harness import Live
from tests.e2e.play_lab import Lab
from tests.place import own_place

PLACE = Path("/var/tmp/slurm-powersave-tests")
_WORKER = os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")
LANE = int(os.environ.get("SLURM_POWERSAVE_TEST_LANE", "0")) + int(_WORKER)
"""Workers share a machine: each lane has a directory, a bridge, addresses and a lock of its own."""


LIVE = pytest.StashKey[Live]()
"""The worker's cluster."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give each test that needs a cluster the versions of Slurm that it is about."""
    if "deployed" not in metafunc.fixturenames:
        return
    everywhere = any(metafunc.definition.iter_markers("every_slurm"))
    versions = [MAIN_SLURM] if CHOSEN_SLURM else [MAIN_SLURM, *(v for v in SLURM_VERSIONS if v != MAIN_SLURM)]
    marked = [
        pytest.param(version, marks=[] if everywhere or version == MAIN_SLURM else [pytest.mark.slow])
        for version in versions
    ]
    metafunc.parametrize("deployed", marked, indirect=True, scope="session")


def lane(slurm: str) -> Live:
    """The cluster of this worker's lane."""
    if not LANE:
        return Live(PLACE / "e2e", slurm=slurm)
    return Live(PLACE / f"e2e-{LANE}", bridge=f"br-sps-test{LANE}", network=f"10.{90 + LANE}", slurm=slurm)


@pytest.fixture(scope="session")
def deployed(request: pytest.FixtureRequest) -> Iterator[Live]:
    """A deployed cluster whose engine runs."""
    if os.geteuid() != 0:
        pytest.skip("containers need root")
    own_place(PLACE)
    with (PLACE / f"lock{LANE or ''}").open("w") as lock:
        # Two runs in one lane would take each other's bridge: the second waits for the first.
        fcntl.flock(lock, fcntl.LOCK_EX)
        live = lane(request.param)
        live.remove()
        live.make()
        request.config.stash[LIVE] = live
        yield live
        del request.config.stash[LIVE]
        live.stop_engine()
        live.remove()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Deploy a cluster again that a test has torn down, as soon as another test needs it."""
    live = item.config.stash.get(LIVE, None)
    if live and not live.made and "deployed" in getattr(item, "fixturenames", ()):
        live.make()


@pytest.fixture
def live(deployed: Live) -> Iterator[Live]:
    """The cluster at rest; brought to rest again by the next test that uses it."""
    deployed.rest()
    yield deployed


PLAY_NETWORK = f"10.{200 + LANE % 20}"
"""Of the guests of `lab`."""


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """A login node that a play deployed, and two nodes; what a killed run left is removed first."""
    own_place(PLACE)
    with (PLACE / f"lock-playbooks{LANE or ''}").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        made = Lab(PLACE / f"playbooks-{LANE}", f"br-sps-play{LANE or ''}", PLAY_NETWORK)
        made.remove()
        made.make()
        made.play("deploy.yml")
        made.on("play-login", "scontrol update nodename=play-2 state=POWER_UP")
        time.sleep(2)  # Slurm waits for a boot after the request, in whole seconds
        for node in made.nodes.values():
            made.start(node.name, node.address)
        news, result, _ = made.configure("play-1", "play-2")
        assert result.ok, news
        made.wait("both have registered", lambda: made.states() == dict.fromkeys(news, "idle"))
        yield made
        made.remove()
