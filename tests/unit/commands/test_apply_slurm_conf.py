"""The engine's inventory changes when slurmctld has taken its slurm.conf, and not before."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from slurm_powersave.commands import apply_slurm_conf
from slurm_powersave.commands.base_state import Wish
from slurm_powersave.config.settings import Cluster
from slurm_powersave.decide.slurm_files.addresses import assign
from slurm_powersave.decide.slurm_files.inventory import Inventory, inventory
from slurm_powersave.engine import slurm_conf_in_use
from slurm_powersave.model.errors import PlaybookError
from slurm_powersave.model.nodes import NodeFacts
from slurm_powersave.testing.site import MemoryPlays, MemorySite, Parts
from slurm_powersave.testing.world import cluster as memory_cluster


class Lab:
    """A deployed cluster, and what Ansible would do."""

    def __init__(self, root: Path) -> None:
        self.cluster: Cluster = memory_cluster(state_dir=root / "state")
        self.place = self.cluster.layout.inventory
        apply_slurm_conf.write(self.place, self.made())
        (self.place / "group_vars/all/site.yml").write_text("site: 1")
        self.site = MemorySite(self.cluster, Parts(plays=MemoryPlays(self.play)))
        slurm_conf_in_use.save(self.site.store())
        self.before = self.texts()
        self.seen: list[tuple[Path, dict[str, Any]]] = []
        self.rc, self.copies = 0, False

    def made(self, **changes: Any) -> Inventory:
        cluster = self.cluster.model_copy(update=changes)
        facts = {pool.name: NodeFacts(2, 1000) for pool in cluster.node_pools}
        return inventory(cluster, facts, assign(cluster, {}))

    def texts(self) -> dict[str, str]:
        return {path.name: path.read_text() for path in sorted(self.place.rglob("*.yml"))}

    def play(self, name: str, inventory: Path, extra: dict[str, Any]) -> int:
        self.seen.append((inventory, extra))
        assert self.texts() == self.before, "a node that comes up now gets the old files"
        sites = inventory / "group_vars/all/site.yml"
        assert sites.exists() is bool(self.before) and (not self.before or sites.read_text() == "site: 1")
        accept = extra["slurmctld_accept"]
        for file in accept["files"] if self.copies else ():
            shutil.copy(Path(accept["from"], file), Path(accept["to"], file))
        return self.rc

    def run(self, wish: Wish = Wish()) -> None:  # noqa: B008  # frozen
        made = self.made(slurm_conf_extra={"MessageTimeout": ("17",)})
        apply_slurm_conf.play(self.site, "deploy.yml", made, "deploy", wish)


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


def test_slurmctld_took_it(lab: Lab) -> None:
    lab.run(Wish(replace_edits=True))
    assert lab.texts() != lab.before
    assert "MessageTimeout=17" in slurm_conf_in_use.load(lab.site.store()).slurm_conf
    _, extra = lab.seen[0]
    assert (extra["slurmctld_replace_foreign"], extra["slurmctld_replace_edits"]) == (False, True)
    assert not lab.cluster.layout.next_inventory.exists()


def test_slurmctld_refused_it(lab: Lab) -> None:
    lab.rc = 2
    with pytest.raises(PlaybookError, match=r"deploy\.yml failed with exit code 2"):
        lab.run()
    assert lab.texts() == lab.before
    assert "MessageTimeout" not in slurm_conf_in_use.load(lab.site.store()).slurm_conf
    assert not lab.cluster.layout.next_inventory.exists()


def test_slurmctld_took_it_and_something_else_failed_later(lab: Lab) -> None:
    lab.rc, lab.copies = 2, True
    with pytest.raises(PlaybookError):
        lab.run()
    assert "MessageTimeout=17" in slurm_conf_in_use.load(lab.site.store()).slurm_conf
    assert lab.texts() != lab.before


def test_before_the_first_deploy_there_is_no_inventory(lab: Lab) -> None:
    shutil.rmtree(lab.place)
    lab.before, lab.rc = {}, 2
    with pytest.raises(PlaybookError):
        lab.run()
    assert not list(lab.place.rglob("*.yml"))


def test_what_jobs_get_of_memory_is_remembered(lab: Lab) -> None:
    lab.run()
    last = slurm_conf_in_use.load(lab.site.store()).memory
    assert last and last == {name: 500 for name in last}
    assert slurm_conf_in_use.SlurmConfInUse().memory == {}, "a record of an older version has none"
