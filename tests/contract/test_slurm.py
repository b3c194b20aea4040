"""The Slurm in memory against the cases that the real one passes (tests/e2e/test_contract_slurm.py)."""

from collections.abc import Callable

import pytest

from slurm_powersave.model.slurm_version import Version
from slurm_powersave.model.slurm_versions import TESTED
from slurm_powersave.testing.cloud import MemoryClock
from slurm_powersave.testing.slurm import MemorySlurm
from tests.contract.slurm_cases import CASES, Subject


class Memory:
    """A MemorySlurm whose hooks only note their calls."""

    def __init__(self, version: str) -> None:
        self.nodes, self.version = ("n1", "n2"), Version.of(version)
        self._clock = MemoryClock()
        self._calls: list[tuple[str, str]] = []
        self.slurm = MemorySlurm(
            self._clock,
            self.nodes,
            lambda mode, hostlist: self._calls.append((mode.value, hostlist)),
            suspend_timeout=15,
            resume_timeout=90,
            version=version,
        )

    def submit(self, *nodes: str) -> int:
        return self.slurm.submit(*nodes)

    def let_pass(self, seconds: float) -> None:
        self._clock.advance(seconds)
        self.slurm.tick()

    def hooks(self) -> list[tuple[str, str]]:
        return self._calls

    def comment(self, job: int) -> str:
        return self.slurm.comments[job]["AdminComment"]


@pytest.mark.parametrize("version", [str(version) for version in TESTED])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_slurm_in_memory(case: Callable[[Subject], None], version: str) -> None:
    case(Memory(version))
