"""The real Terraform on the local cloud against the cases of tests/contract/test_terraform.py."""

import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from slurm_powersave.adapters.local_cloud.cloud import LocalCloud
from slurm_powersave.adapters.terraform.shards import Module, ShardedTerraform
from slurm_powersave.wiring import LiveSite
from tests.contract.terraform_cases import CASES, CLUSTER, Subject
from tests.e2e.harness import Live
from tests.permits import permit


class Real:
    """States below a directory, for another cluster on the end-to-end cluster's cloud."""

    def __init__(self, live: Live, directory: Path) -> None:
        self._live, self._directory = live, directory
        cluster = live.cluster
        local = cluster.clouds["local"]
        self._module = Module(
            local.nodes_module, CLUSTER, local.settings, cluster.layout.public_key.read_text().strip()
        )
        self._command = LiveSite(cluster).terraform_command()
        self.cloud = LocalCloud(CLUSTER, local.settings)
        self.cloud_name, self.network = "local", live.network
        self.restart()

    def let_pass(self, seconds: float) -> None:
        time.sleep(seconds)

    def fail_creates(self, name: str) -> None:
        self._live.fault("create-fails", name)

    def renew_module(self) -> None:
        newer = self._directory / "newer"
        shutil.copytree(self._module.path, newer)
        with (newer / "main.tf").open("a") as file:
            file.write("# newer\n")
        self._module = replace(self._module, path=newer)
        self.restart()

    def restart(self) -> None:
        self.terraform = ShardedTerraform(self._directory, {self.cloud_name: self._module}, self._command)


@pytest.fixture
def real(deployed: Live, tmp_path: Path) -> Iterator[Real]:
    """No shard and no server; the servers are removed afterwards."""
    subject = Real(deployed, tmp_path)
    yield subject
    deployed.cloud("fault", "clear")
    for server in subject.cloud.servers():
        subject.cloud.delete(server.id, permit("delete", server.id))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_real_terraform(real: Real, case: Callable[[Subject], None]) -> None:
    case(real)
