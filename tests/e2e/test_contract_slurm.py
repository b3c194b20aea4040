"""The real slurmctld against the cases that the Slurm in memory passes (tests/contract/test_slurm.py)."""

import re
import time
from collections.abc import Callable, Iterator

import pytest

from slurm_powersave.adapters import connect
from slurm_powersave.adapters.spool import parse_named
from tests.contract.slurm_cases import CASES, Subject
from tests.e2e.harness import OFF, Live

SPOOL = "/var/spool/slurm-powersave/new"


class Real:
    """The cluster's slurmctld without an engine: its hooks write to the spool, and nobody acts on it."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self.nodes = live.cluster.nodes()
        self.slurm = connect.slurm(live.cluster)

    def submit(self, *nodes: str) -> int:
        job = self._live.sbatch(f"-w {','.join(nodes)} -N{len(nodes)}")
        self._live.wait("it has its nodes", lambda: self._live.job(job)["JobState"] != "PENDING", 10)
        return job

    def let_pass(self, seconds: float) -> None:
        time.sleep(seconds)

    def hooks(self) -> list[tuple[str, str]]:
        files = self._live.login(f'cd {SPOOL} && for f in *; do echo "== $f"; cat "$f"; done', check=False)
        calls = []
        for part in files.split("== ")[1:]:
            name, _, text = part.partition("\n")
            if text:
                request = parse_named(name, (text.rstrip("\n") + "\n").encode())
                calls.append((request.mode.value, request.hostlist))
        return calls

    def comment(self, job: int) -> str:
        found = re.search(
            r"AdminComment=(.*?) *$", self._live.login(f"scontrol show job {job}"), re.MULTILINE
        )
        return found[1] if found else ""


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
    alone.login(f"rm -f {SPOOL}/*")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_real_slurm(real: Real, case: Callable[[Subject], None]) -> None:
    case(real)
