"""A cluster file keeps its cluster_name and its state directory."""

import os
from pathlib import Path

import pytest

from slurm_powersave import wiring
from slurm_powersave.commands import deploy, identity
from slurm_powersave.config import settings
from slurm_powersave.config.settings import Cluster
from slurm_powersave.engine import slurm_conf_in_use
from slurm_powersave.model.errors import RefusedError
from tests.unit.surfaces.conftest import CLUSTER


class Place:
    """A cluster file, and its state directories beside each other."""

    def __init__(self, root: Path) -> None:
        for name in ("base", "nodes", "state"):
            (root / name).mkdir()
        self.root, self.file = root, root / "all.yml"
        self.file.write_text(CLUSTER)

    def cluster(self, old: str = "", new: str = "") -> Cluster:
        """Read the file, with one thing changed."""
        assert old in CLUSTER
        self.file.write_text(CLUSTER.replace(old, new, 1) if old else CLUSTER)
        return settings.load(self.file)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture
def deployed(place: Place) -> Place:
    """It was deployed."""
    identity.record(wiring.site(place.cluster()))
    (place.root / "state/terraform/base").mkdir(parents=True)
    return place


def told(cluster: Cluster) -> list[tuple[str, str]]:
    return [(one.where, one.wrong) for one in identity.findings(wiring.site(cluster))]


def test_a_deploy_notes_it(place: Place) -> None:
    (place.root / "state/keys").mkdir()
    for name in ("id_ed25519", "munge.key"):
        (place.root / "state/keys" / name).touch()
    deploy.prepare(wiring.site(place.cluster()))
    assert told(place.cluster()) == []
    assert (
        "state directory of cluster demo, and"
        in told(place.cluster("cluster_name: demo", "cluster_name: new"))[0][1]
    )


def test_the_name_can_t_change(deployed: Place) -> None:
    assert told(deployed.cluster()) == []
    cluster = deployed.cluster("cluster_name: demo", "cluster_name: new")
    ((where, wrong),) = told(cluster)
    assert (
        where == "cluster_name" and f"{deployed.root}/state is the state directory of cluster demo" in wrong
    )
    with pytest.raises(RefusedError, match="Put cluster_name: demo back"):
        identity.refuse(wiring.site(cluster))


def test_neither_where_only_slurm_conf_tells_it(place: Place) -> None:
    """A directory that an earlier release has deployed has no note."""
    cluster = place.cluster()
    text = '{"slurm_conf": "SlurmUser=slurm\\nClusterName=demo\\n", "node_lines": [], "partition_lines": []}'
    cluster.layout.slurm_conf_in_use.write_text(text)
    assert slurm_conf_in_use.load(wiring.site(cluster).store()).slurm_conf
    assert told(cluster) == []
    assert told(place.cluster("cluster_name: demo", "cluster_name: new"))[0][0] == "cluster_name"


@pytest.mark.parametrize("text", ["", "[]", "[[[[", '{"cluster_name": 1}', "\x00", '{"slurm_conf": 1}'])
def test_a_damaged_note_stops_nobody(place: Place, text: str) -> None:
    cluster = place.cluster()
    if "slurm_conf" in text:
        cluster.layout.slurm_conf_in_use.write_text(text)
    cluster.layout.identity.write_text(text)
    assert [one for one in told(cluster) if "cluster 1" not in one[1]] == []


@pytest.mark.parametrize(
    ("old", "new", "where"),
    [
        ("state_dir: state", "state_dir: other", "state_dir"),
        ("cluster_name: demo\nstate_dir: state", "cluster_name: new\nstate_dir: new", "cluster_name"),
    ],
)
def test_an_empty_directory_beside_the_one_that_the_file_had(
    deployed: Place, old: str, new: str, where: str
) -> None:
    """The default state_dir has the cluster's name in it: with another name it is another directory."""
    ((found, wrong),) = told(deployed.cluster(old, new))
    assert found == where and f"deployed as cluster demo with its state in {deployed.root}/state" in wrong


def test_neither_a_copy_nor_one_that_was_torn_down_nor_another_file_s(deployed: Place) -> None:
    os.rename(deployed.root / "state", deployed.root / "state.before-restore")
    assert told(deployed.cluster()) == []
    os.rename(deployed.root / "state.before-restore", deployed.root / "state")
    os.rmdir(deployed.root / "state/terraform/base")
    assert told(deployed.cluster("state_dir: state", "state_dir: other")) == []
    (deployed.root / "state/terraform/base").mkdir()
    os.rename(deployed.file, deployed.root / "second.yml")
    deployed.file = deployed.root / "second.yml"
    assert told(deployed.cluster("state_dir: state", "state_dir: other")) == []
