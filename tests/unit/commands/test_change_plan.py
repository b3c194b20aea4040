"""What a deploy shows before it asks, and what it does when that has changed afterwards."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from slurm_powersave.commands.base_state import Wish
from slurm_powersave.commands.change_plan import Files
from slurm_powersave.commands.messages import Dialog
from slurm_powersave.decide.commands.play_plan import HostPlan, PlayPlan, file_change
from slurm_powersave.decide.slurm_files.inventory import HOSTS, Inventory
from slurm_powersave.model.errors import PlaybookError, RefusedError
from slurm_powersave.testing.cloud import MemoryClock
from slurm_powersave.testing.site import MemoryPlays, MemorySite, Parts
from slurm_powersave.testing.slurm import MemorySlurm
from slurm_powersave.testing.world import cluster as memory_cluster

NOTHING = PlayPlan({"login": HostPlan()})


def plan(after: str = "b\n", **more: Any) -> PlayPlan:
    files = {"/etc/hosts": file_change("/etc/hosts", "a\n", after)}
    return PlayPlan({"login": HostPlan(files, {"slurmctld": "reconfigures"})}, **more)


class Lab:
    """A cluster whose n1 is always to be up, and what the play answers."""

    def __init__(self, root: Path) -> None:
        made = memory_cluster(state_dir=root / "state")
        pools = tuple(pool.model_copy(update={"min_nodes": 1}) for pool in made.node_pools)
        self.cluster = made.model_copy(update={"node_pools": pools})
        self.cluster.layout.root.mkdir()
        self.slurm = MemorySlurm(MemoryClock(), self.cluster.nodes(), lambda mode, nodes: None)
        self.slurm.set_flags("n1", "IDLE", "CLOUD")
        self.plans: list[PlayPlan] = [NOTHING]
        self.said: list[str] = []
        self.asked: list[str] = []
        self.unasked = False
        self.answer = True
        self.extra: Mapping[str, Any] = {}

    def check(self, playbook: str, inventory: Path, extra: Mapping[str, Any]) -> PlayPlan:
        assert playbook == "deploy.yml" and (inventory / HOSTS).exists()
        self.extra = extra
        return self.plans.pop(0)

    def files(self) -> Files:
        def ask(question: str) -> bool:
            self.asked.append(question)
            return self.answer

        dialog = Dialog(self.said.append, self.said.append, ask, self.unasked)
        outside = Parts(slurm=self.slurm, plays=MemoryPlays(plan=self.check))
        return Files(
            MemorySite(self.cluster, outside), dialog, Wish(replace_edits=True), lambda: Inventory({}, {})
        )

    @property
    def text(self) -> str:
        return "\n".join(self.said)


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


def test_nothing_to_do_asks_nothing(lab: Lab) -> None:
    assert lab.files().agree() and not lab.asked
    assert "No file and no daemon would change." in lab.text
    assert lab.extra["slurmctld_replace_edits"] and not lab.extra["leaving_planned"]
    assert not list(lab.cluster.layout.root.iterdir()), "nothing is left behind"


def test_what_changes_is_shown_and_asked_for(lab: Lab) -> None:
    lab.plans, lab.answer = [plan()], False
    assert not lab.files().agree()
    assert "/etc/hosts changes on login:" in lab.text and "slurmctld reconfigures on login" in lab.text


def test_it_is_looked_at_again_after_the_answer(lab: Lab) -> None:
    lab.plans = [plan(), plan()]
    assert lab.files().agree()
    lab.plans = [plan(), plan("c\n")]
    with pytest.raises(RefusedError, match="/etc/hosts on login"):
        lab.files().agree()
    lab.plans, lab.unasked = [plan()], True
    assert lab.files().agree(), "--yes: it has just been shown"


def test_min_nodes_that_are_off_are_named(lab: Lab) -> None:
    lab.plans = [NOTHING, NOTHING]
    lab.slurm.set_flags("n1", "IDLE", "CLOUD", "POWERED_DOWN")
    assert lab.files().agree() and lab.asked and "powers up n1" in lab.text
    lab.plans, lab.said = [NOTHING], []
    lab.slurm.set_flags("n1", "IDLE", "CLOUD", "POWERED_DOWN", "DRAIN")
    assert lab.files().agree() and "powers up" not in lab.text


def test_what_can_not_be_read_is_said_and_asked_about(lab: Lab) -> None:
    lab.plans, lab.answer = [PlayPlan({"login": HostPlan(unread="it does not answer over SSH")})], False
    assert not lab.files().agree()
    assert "login can't be read: it does not answer over SSH" in lab.text
    assert "No file" not in lab.text


def test_a_play_that_would_be_refused_is_not_asked_about(lab: Lab) -> None:
    lab.plans = [plan(refused="login: MaxArraySise")]
    with pytest.raises(PlaybookError, match="MaxArraySise"):
        lab.files().agree()
    assert not lab.asked and "/etc/hosts" in lab.text


def test_a_new_login_node_has_nothing_to_compare_with(lab: Lab) -> None:
    lab.plans = []
    assert lab.files().show(fresh=True)
    assert "login is new" in lab.text and "powers up n1" in lab.text
