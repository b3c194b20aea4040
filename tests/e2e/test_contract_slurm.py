"""The real slurmctld against the cases that the Slurm in memory passes (tests/contract/test_slurm.py)."""

from collections.abc import Callable, Iterator

import pytest

from tests.contract.slurm_cases import CASES, Subject
from tests.e2e.harness import OFF, Live
from tests.e2e.real_slurm import Real

pytestmark = pytest.mark.every_slurm


@pytest.fixture(scope="module")
def alone(deployed: Live) -> Iterator[Live]:
    """The cluster at rest, with its engine stopped."""
    deployed.rest()
    deployed.stop_engine()
    yield deployed
    deployed.start_engine()


@pytest.fixture
def real(alone: Live) -> Iterator[Real]:
    """All nodes off, and again so afterwards; the spool is empty."""
    subject = Real(alone)
    yield subject
    alone.login("scancel -u root", check=False)

    def off() -> bool:
        states = alone.nodes()
        for name, node in states.items():
            if node.powering_up:
                alone.login(f"scontrol update nodename={name} state=POWER_DOWN_FORCE", check=False)
            elif node.has("POWERING_DOWN", "DRAIN"):
                alone.login(f"scontrol update nodename={name} state=RESUME", check=False)
        return all(OFF in node.flags and not node.has("DRAIN") for node in states.values())

    alone.wait("all nodes are off", off, 60)
    subject.forget_hooks()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_real_slurm(real: Real, case: Callable[[Subject], None]) -> None:
    case(real)
