"""The local cloud's images against the cases of tests/contract/test_images.py."""

import time
from collections.abc import Callable, Iterator

import pytest

from slurm_powersave.adapters.local_cloud.images import LocalImageCloud
from tests.contract.cloud_cases import CLUSTER
from tests.contract.image_cases import CASES, Subject
from tests.e2e.harness import Live


class Real:
    """The cloud that the end-to-end cluster is on, as another cluster sees it."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self.cloud = LocalImageCloud(CLUSTER, live.cluster.clouds["local"].settings)
        self.address = f"{live.network}.9.20"
        self.made: list[str] = []

    def create(self, name: str, tags: frozenset[str]) -> str:
        address = f"{self._live.network}.9.{len(self.made) + 1}"
        words = ["--name", name, "--image", "default", "--flavor", "small", "--address", address]
        made = self._live.cloud("create", *words, *(f"--tag={tag}" for tag in sorted(tags)))
        self.made.append(made["id"])
        return str(made["id"])

    def foreign_image(self, server_id: str, name: str) -> None:
        self._live.cloud("snapshot", server_id, "--name", name)

    def let_pass(self, seconds: float) -> None:
        time.sleep(seconds)

    def clean(self) -> None:
        """Remove what a case has made."""
        for server_id in [*self.made, *(server.id for server in self.cloud.servers())]:
            self._live.cloud("delete", server_id)
        for found in self._live.cloud("snapshots"):
            self._live.cloud("image-delete", found["name"])


@pytest.fixture
def real(deployed: Live) -> Iterator[Real]:
    """A cloud without servers or images of ours, and again so afterwards."""
    subject = Real(deployed)
    yield subject
    subject.clean()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_local_cloud(real: Real, case: Callable[[Subject], None]) -> None:
    case(real)
