"""What a person asks of images: who may build when, what may be deleted."""

from pathlib import Path
from typing import Any

import pytest

from slurm_powersave.commands import images
from slurm_powersave.commands.messages import Dialog
from slurm_powersave.config.settings import Cluster
from slurm_powersave.model.errors import ConfigError, RefusedError
from slurm_powersave.model.images import BASE, BUILDING, CLUSTER, READY, ROLE, Image, NewServer
from slurm_powersave.testing.cloud import MemoryClock
from slurm_powersave.testing.images import MemoryImageCloud, MemoryImagePlays
from slurm_powersave.testing.site import MemorySite, Parts
from slurm_powersave.testing.world import cluster as memory_cluster


class Plays(MemoryImagePlays):
    """They are closed after use."""

    def __enter__(self) -> "Plays":
        return self

    def __exit__(self, *_: object) -> None:
        return


class Lab:
    """A deployed cluster with its cloud in memory; its clock goes on by itself."""

    def __init__(self, root: Path) -> None:
        clouds = {
            "mem": {"adapter": "local", "nodes_module": root, "builder_address": "10.0.0.20"},
        }
        self.cluster: Cluster = memory_cluster(state_dir=root, clouds=clouds)
        clock = MemoryClock()
        self.cloud = MemoryImageCloud(clock, "test")
        self.said: list[str] = []
        self.answer = True
        for path in (self.cluster.layout.private_key, self.cluster.layout.public_key):
            path.parent.mkdir(exist_ok=True)
            path.write_text("ssh-ed25519 AAAA")
        self.cluster.layout.inventory.mkdir()
        outside = Parts(
            clouds={"mem": self.cloud}, image_work=Plays(self.cloud), clock=clock, wait=clock.advance
        )
        self.site = MemorySite(self.cluster, outside)

    @property
    def dialog(self) -> Dialog:
        return Dialog(self.said.append, self.said.append, lambda question: self.answer)

    def build(self, **options: Any) -> Any:
        order = {"base": "default", "node": None, "name": "gold", "pool": None, **options}
        return images.build(self.site, self.dialog, **order)

    def names(self) -> list[str]:
        return [image.name for image in self.cloud.list_images()]


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


def test_build_says_first_what_it_will_do(lab: Lab) -> None:
    built = lab.build()
    assert built.provenance["name"] == "gold" and set(built.seconds) >= {"start", "prove"}
    assert "start test-builder (small, 10.0.0.20) from image default" in lab.said[0]
    assert "image gold is ready" in lab.said[-1]
    assert lab.names() == ["default", "gold"]
    assert [row.name for row in images.listed(lab.site)] == ["default", "gold"]


@pytest.mark.parametrize("options", [{"dry_run": True}, {}])
def test_who_says_no_or_only_looks_changes_nothing(lab: Lab, options: dict[str, Any]) -> None:
    lab.answer = False
    assert (lab.build(**options) is None) == (not options)
    assert lab.names() == ["default"] and lab.cloud.created == 0


def test_a_cluster_must_be_deployed(lab: Lab) -> None:
    lab.cluster.layout.private_key.unlink()
    with pytest.raises(ConfigError, match="never deployed"):
        lab.build()


@pytest.mark.parametrize(
    ("name", "error", "words"),
    [
        ("none", ConfigError, "no image none"),
        ("default", RefusedError, "did not make it"),
        ("theirs", RefusedError, "did not make it"),
        ("used", RefusedError, "node n1"),
    ],
)
def test_what_may_not_be_deleted(lab: Lab, name: str, error: type[Exception], words: str) -> None:
    lab.cloud.add_image(Image("theirs", properties={CLUSTER: "other", ROLE: READY}))
    lab.cloud.add_image(Image("used", properties={CLUSTER: "test", ROLE: READY, BASE: "default"}))
    start(lab.cloud, "n1", "used")
    before = lab.names()
    with pytest.raises(error, match=words):
        images.delete(lab.site, name, lab.dialog)
    assert lab.names() == before


@pytest.mark.parametrize("role", [READY, BUILDING])
def test_what_nobody_uses_may_be_deleted(lab: Lab, role: str) -> None:
    lab.cloud.add_image(Image("gold", properties={CLUSTER: "test", ROLE: role}))
    lab.answer = False
    assert not images.delete(lab.site, "gold", lab.dialog)
    lab.answer = True
    assert images.delete(lab.site, "gold", lab.dialog)
    assert lab.names() == ["default"]


def start(cloud: MemoryImageCloud, name: str, image: str) -> None:
    """Make a server of an image."""
    cloud.create_server(NewServer(name, image, "small", "10.0.1.1", "", "", frozenset()))


def test_the_image_of_a_pool_may_not_be_deleted(lab: Lab) -> None:
    lab.cloud.add_image(Image("default", properties={CLUSTER: "test", ROLE: READY}))
    with pytest.raises(RefusedError, match="pool compute"):
        images.delete(lab.site, "default", lab.dialog)
