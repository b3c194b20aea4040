"""The local cloud's adapter against the cases of tests/contract/test_cloud.py."""

import time
from collections.abc import Callable, Iterator

import pytest

from slurm_powersave.adapters.local_cloud.cloud import LocalCloud
from tests.contract.cloud_cases import CASES, CLUSTER, Subject
from tests.e2e.harness import Live


class Real:
    """The cloud that the end-to-end cluster is on, as another cluster sees it."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self.cloud = LocalCloud(CLUSTER, live.cluster.clouds["local"].settings)
        self.made: list[str] = []

    def create(self, name: str, tags: frozenset[str]) -> str:
        address = f"{self._live.network}.9.{len(self.made) + 1}"
        words = ["--name", name, "--image", "default", "--flavor", "small", "--address", address]
        made = self._live.cloud("create", *words, *(f"--tag={tag}" for tag in sorted(tags)))
        self.made.append(made["id"])
        return str(made["id"])

    def let_pass(self, seconds: float) -> None:
        time.sleep(seconds)


@pytest.fixture
def real(deployed: Live) -> Iterator[Real]:
    """A cloud without servers of ours, and again so afterwards."""
    subject = Real(deployed)
    yield subject
    for server_id in subject.made:
        deployed.cloud("delete", server_id)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_local_cloud(real: Real, case: Callable[[Subject], None]) -> None:
    case(real)
