"""What the contract's cases of clouds and images are run on: the adapter, and an OpenStack over HTTP."""

import time
from typing import Any

from slurm_powersave.adapters.openstack.images import OpenStackImageCloud
from tests.contract.cloud_cases import CLUSTER
from tests.contract.image_cases import KEY
from tests.unit.adapters.openstack.lab import World


class Subject:
    """The HTTP cloud, with what the base module would have made."""

    address = "10.0.0.20"

    def __init__(self, world: World, **settings: Any) -> None:
        self.world = world
        self.cloud = OpenStackImageCloud(CLUSTER, world.settings(**settings))
        world.cloud.network["networks"] = [
            {"id": "net", "name": "x", "tags": ["slurm-powersave", f"cluster={CLUSTER}"]}
        ]
        world.cloud.key_pairs[f"slurm-powersave-{CLUSTER}"] = f"{KEY} comment"

    def create(self, name: str, tags: frozenset[str]) -> str:
        return self.world.cloud.add_server(name, tags)

    def foreign_image(self, server_id: str, name: str) -> None:
        self.world.cloud.add_image(name)

    def let_pass(self, seconds: float) -> None:
        time.sleep(seconds / 4)
