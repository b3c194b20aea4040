"""What tests of several adapters share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.openstack.http_cloud import HttpCloud
from tests.openstack.proxy import Proxy
from tests.unit.adapters.openstack.lab import World


@pytest.fixture
def openstack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """An OpenStack of one file, with credentials in clouds.yaml."""
    with HttpCloud() as cloud, Proxy({"all": cloud.address}) as proxy:
        yield World(cloud, proxy, tmp_path, monkeypatch)
