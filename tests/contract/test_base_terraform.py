"""`deploy` and the plans of a real Terraform: what exists in the base state stays.

The root module is of the builtin `terraform_data` alone: no provider, no cloud.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from slurm_powersave.adapters.journal.sqlite import SqliteJournal
from slurm_powersave.adapters.processes.process import run
from slurm_powersave.adapters.terraform.base import State
from slurm_powersave.adapters.terraform.command import Command
from slurm_powersave.commands import apply_slurm_conf, base_state, deploy, host_trust
from slurm_powersave.commands.base_state import Wish
from slurm_powersave.commands.messages import Dialog
from slurm_powersave.config.settings import Cluster
from slurm_powersave.decide.commands.play_plan import HostPlan, PlayPlan
from slurm_powersave.decide.slurm_files.inventory import Inventory
from slurm_powersave.model.errors import ConfigError, RefusedError, TerraformError
from slurm_powersave.model.nodes import SlurmJob
from slurm_powersave.testing.cloud import MemoryClock, MemoryCloud
from slurm_powersave.testing.site import MemoryLoginHost, MemoryPlays, MemorySite, Parts
from slurm_powersave.testing.slurm import MemorySlurm
from slurm_powersave.testing.world import cluster as memory_cluster

MODULE = """
variable "cluster" { type = string }
variable "key_pair" { type = string }
variable "cloud" { type = any }
variable "login" { type = any }
resource "terraform_data" "network" {
  input            = "net"
  triggers_replace = try(var.cloud.cidr, "")
}
resource "terraform_data" "rule" {
  for_each = toset(try(var.cloud.ssh_from, []))
  input    = each.value
}
resource "terraform_data" "login" {
  input            = { name = var.login.name, network = terraform_data.network.id }
  triggers_replace = [var.login.name, var.login.address]
}
output "login" {
  value = { id = terraform_data.login.id, address = var.login.address, host_key = "k" }
}
"""
LOGIN = "terraform_data.login"


@dataclass
class NotingOutside(Parts):
    """What is in memory, and where Slurm was asked."""

    asked: list[str] = field(default_factory=list)


class NotingSite(MemorySite):
    """Notes at which address Slurm is asked."""

    _outside: NotingOutside

    def slurm(self) -> MemorySlurm:
        self._outside.asked.append(self.cluster.login.address)
        return super().slurm()


class Lab:
    """A deployed cluster whose login node is a resource that exists in Terraform's state alone."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.clock = MemoryClock()
        self.cloud = MemoryCloud(self.clock, "test")
        self.said: list[str] = []
        self.questions: list[str] = []
        self.answer: Callable[[], bool] = lambda: True
        self.asked: list[str] = []
        """Addresses at which Slurm was asked."""
        (root / "module").mkdir()
        (root / "module" / "main.tf").write_text(MODULE)
        self.login: dict[str, Any] = {"connection": "ssh", "address": "10.0.0.2"}
        self.settings: dict[str, Any] = {"ssh_from": ["192.0.2.0/24"]}
        self.slurm = MemorySlurm(self.clock, self.cluster.nodes(), lambda mode, nodes: None)

    @property
    def cluster(self) -> Cluster:
        """The cluster file as it is now."""
        modules = {"nodes_module": self.root, "base_module": self.root / "module"}
        login = {"name": "login", "image": "default", "flavor": "small"} | self.login
        clouds = {"mem": {"adapter": "none", "settings": self.settings, **modules}}
        return memory_cluster(state_dir=self.root / "state", clouds=clouds, login=login)

    @property
    def site(self) -> "NotingSite":
        """Its outside: Slurm, cloud and Ansible in memory."""
        plays = MemoryPlays(plan=lambda *_: PlayPlan({"login": HostPlan()}))
        outside = NotingOutside(
            slurm=self.slurm,
            clouds={"mem": self.cloud},
            plays=plays,
            login_host=MemoryLoginHost(),
            asked=self.asked,
        )
        return NotingSite(self.cluster, outside)

    @property
    def state(self) -> State:
        """Its base state."""
        return State(self.cluster.layout.base, Command())

    def ask(self, question: str) -> bool:
        """Note a question and answer it."""
        self.questions.append(question)
        return self.answer()

    def deploy(self, replace: str = "", force: bool = False, **options: bool) -> bool:
        """Deploy without the pre-flight."""
        dialog = Dialog(self.said.append, self.said.append, self.ask)
        return deploy.deploy(self.site, dialog, Wish(replace, force), check=False, **options).agreed

    def ids(self) -> dict[str, str]:
        """Address -> id."""
        return {held.address: str(held.attributes["id"]) for held in self.state.held()}

    def terraform(self, *argv: str) -> str:
        """What a person does in the state's directory."""
        done = run(["terraform", *argv], timeout=60, cwd=self.state.directory)
        assert done.rc == 0, done.out + done.err
        return done.out

    def refused(self, **options: Any) -> str:
        """Deploy; it is refused, and nothing was changed: not the state, not what a person's plan says."""
        before, questions = self.ids(), len(self.questions)
        with pytest.raises(RefusedError) as refused:
            self.deploy(**options)
        assert self.ids() == before and len(self.questions) == questions
        assert "No changes" in self.terraform("plan", "-no-color")
        assert not list(self.state.directory.glob("plan-*")), "a plan file holds user data"
        return str(refused.value)


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    made = Lab(tmp_path)

    monkeypatch.setattr(host_trust, "wait", lambda *words, **more: None)
    monkeypatch.setattr(deploy, "make_inventory", lambda cluster, removed: Inventory({}, {}))
    monkeypatch.setattr(
        apply_slurm_conf,
        "play",
        lambda site, playbook, made, verb, wish: site.cluster.layout.slurm_conf_in_use.write_text("{}"),
    )
    assert made.deploy()
    made.questions.clear()
    return made


def test_a_second_deploy_changes_nothing(lab: Lab) -> None:
    before = lab.ids()
    assert lab.deploy() and lab.ids() == before and lab.questions == []


def test_another_login_address_is_refused(lab: Lab) -> None:
    lab.login["address"] = "10.0.0.99"
    text = lab.refused()
    assert f"{LOGIN} ({lab.ids()[LOGIN]}) would be replaced: triggers_replace" in text
    assert '"10.0.0.2"' in text and '"10.0.0.99"' in text
    assert "deploy --replace-login login" in text
    assert lab.refused(dry_run=True) == text
    lab.login["address"] = "10.0.0.2"
    assert lab.deploy() and lab.questions == []


def test_the_network_is_refused_with_all_that_hangs_on_it(lab: Lab) -> None:
    lab.settings["cidr"] = "10.9.0.0/16"
    text = lab.refused()
    assert "terraform_data.network" in text and "(clouds.mem.settings.cidr)" in text
    assert "--replace-login" not in text
    lab.refused(replace="login")


def test_what_the_cluster_file_no_longer_asks_for_is_refused_until_it_was_deleted_by_hand(lab: Lab) -> None:
    lab.settings["ssh_from"] = ["198.51.100.0/24"]
    text = lab.refused()
    assert 'terraform_data.rule["192.0.2.0/24"]' in text
    assert "the cluster file no longer asks for it" in text and "delete it by hand" in text
    lab.terraform("state", "rm", 'terraform_data.rule["192.0.2.0/24"]')
    assert lab.deploy()
    assert 'terraform_data.rule["198.51.100.0/24"]' in lab.ids()


def test_what_is_new_is_created(lab: Lab) -> None:
    before = lab.ids()
    lab.settings["ssh_from"] = ["192.0.2.0/24", "198.51.100.0/24"]
    assert lab.deploy() and lab.questions == ["Apply this plan?"]
    assert lab.ids().items() > before.items()


def test_who_says_no_has_changed_nothing(lab: Lab) -> None:
    lab.settings["ssh_from"] = ["192.0.2.0/24", "198.51.100.0/24"]
    lab.answer = lambda: False
    assert not lab.deploy()
    assert "No changes" in lab.terraform("plan", "-no-color")


def test_moved_forgotten_and_tainted(lab: Lab) -> None:
    text = MODULE.replace('"terraform_data" "network"', '"terraform_data" "net"')
    text = text.replace("terraform_data.network.id", "terraform_data.net.id")
    moved = "moved {\n  from = terraform_data.network\n  to = terraform_data.net\n}\n"
    (lab.root / "module" / "moved.tf").write_text(moved)
    (lab.root / "module" / "main.tf").write_text(text)
    assert "moved here from terraform_data.network" in lab.refused()
    assert not (lab.state.directory / "moved.tf").exists()

    removed = "removed {\n  from = terraform_data.network\n  lifecycle {\n    destroy = false\n  }\n}\n"
    (lab.root / "module" / "moved.tf").write_text(removed)
    assert "would be removed from the state" in lab.refused()

    (lab.root / "module" / "moved.tf").unlink()
    (lab.root / "module" / "main.tf").write_text(MODULE)
    lab.terraform("taint", LOGIN)
    before = lab.ids()
    with pytest.raises(RefusedError, match="terraform untaint"):
        lab.deploy()
    assert lab.ids() == before


def test_a_creation_that_has_failed_is_made_anew_before_the_cluster_was_in_service(lab: Lab) -> None:
    lab.terraform("taint", LOGIN)
    lab.cluster.layout.slurm_conf_in_use.unlink()
    before = lab.ids()
    with pytest.raises(RefusedError, match="tainted"):
        lab.deploy()
    lab.slurm.unreachable = "no route"
    assert lab.deploy()
    assert lab.ids()[LOGIN] != before[LOGIN]


# --replace-login


def test_the_login_node_is_replaced_alone(lab: Lab) -> None:
    before = lab.ids()
    assert lab.deploy(replace="login")
    after = lab.ids()
    old = before.pop(LOGIN)
    assert after.pop(LOGIN) != old and after == before
    assert "replaces the login node login" in lab.questions[0]
    journal = SqliteJournal(lab.cluster.layout.journal)
    found = [(one.act, one.subject, one.row) for one in journal.newest_acts(None, 10)]
    assert found == [("delete", old, "deploy --replace-login")]


def test_slurm_is_asked_where_it_was_before_and_after_the_question(lab: Lab) -> None:
    lab.login["address"] = "10.0.0.99"
    lab.asked.clear()
    assert lab.deploy(replace="login")
    # What is always to be up is asked in between, of the login node that is to be.
    assert lab.asked[-3:] == ["10.0.0.2", "10.0.0.99", "10.0.0.2"]
    assert lab.state.outputs()["login"]["address"] == "10.0.0.99"


@pytest.mark.parametrize("state", ["PENDING", "RUNNING", "COMPLETING"])
def test_not_while_a_job_is_queued_or_running(lab: Lab, state: str) -> None:
    lab.slurm.jobs[7] = SlurmJob(7, state)
    assert "queued or running: 7" in lab.refused(replace="login")
    assert "queued or running: 7" in lab.refused(replace="login", force=True)


def test_not_when_a_job_comes_while_the_person_thinks(lab: Lab) -> None:
    def submits() -> bool:
        lab.slurm.jobs[7] = SlurmJob(7, "PENDING")
        return True

    lab.answer, before = submits, lab.ids()
    with pytest.raises(RefusedError, match="queued or running: 7"):
        lab.deploy(replace="login")
    assert lab.ids() == before


def test_where_slurm_can_not_be_asked_only_by_force_and_what_is_lost_is_named(lab: Lab) -> None:
    lab.slurm.unreachable = "no route to host"
    text = lab.refused(replace="login")
    assert "no route to host" in text and "--force" in text and "job ids" in text
    before = lab.ids()
    assert lab.deploy(replace="login", force=True)
    assert lab.ids()[LOGIN] != before[LOGIN]
    assert any("slurmctld's state: the queue" in line for line in lab.said)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"replace": "Login"}, "the login node is called login"),
        ({"replace": "n1"}, "the login node is called login"),
        ({"force": True}, "only be used with --replace-login"),
    ],
)
def test_the_name_must_be_right(lab: Lab, options: dict[str, Any], says: str) -> None:
    before = lab.ids()
    with pytest.raises(ConfigError, match=says):
        lab.deploy(**options)
    assert lab.ids() == before


def test_with_another_name_in_the_file_the_old_one_is_typed(lab: Lab) -> None:
    """terraform_data has no name; so the state is given one, as a server's has."""
    path = lab.state.directory / "terraform.tfstate"
    state = base_state._known(lab.site, lab.state)
    assert state.login_at == LOGIN and state.login_name == "login"
    content = json.loads(path.read_text())
    login = next(one for one in content["resources"] if one["name"] == "login")
    login["instances"][0]["attributes"]["name"] = "old-login"
    path.write_text(json.dumps(content))
    assert base_state._known(lab.site, lab.state).login_name == "old-login"


def test_a_replacement_that_was_interrupted_goes_on(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """The old login node is gone, a new one was not made: only the same words bring one back."""
    lab.terraform("state", "rm", LOGIN)
    lab.slurm.unreachable = "no route"
    with pytest.raises(RefusedError, match="is gone from the cloud"):
        lab.deploy()
    with pytest.raises(RefusedError, match="--force"):
        lab.deploy(replace="login")
    assert LOGIN not in lab.ids()
    assert lab.deploy(replace="login", force=True)
    assert LOGIN in lab.ids()


def test_after_an_apply_that_failed_the_new_values_stay(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of it may be done, and a person's plan has to say what is left."""
    lab.settings["ssh_from"] = ["192.0.2.0/24", "198.51.100.0/24"]

    def fails(self: State, planned: object, permits: object) -> None:
        raise TerraformError("terraform apply failed")

    monkeypatch.setattr(State, "apply", fails)
    with pytest.raises(TerraformError):
        lab.deploy()
    assert "1 to add" in lab.terraform("plan", "-no-color")
