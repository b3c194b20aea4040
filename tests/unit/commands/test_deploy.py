"""A deploy beside what another one has left: gone on with, or refused, but never a second cluster."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from slurm_powersave.adapters.journal.sqlite import SqliteJournal
from slurm_powersave.adapters.terraform.base import State
from slurm_powersave.adapters.terraform.command import Command
from slurm_powersave.commands import base_state, deploy, unrecorded
from slurm_powersave.commands.act_records import Acts
from slurm_powersave.commands.change_plan import Files
from slurm_powersave.commands.messages import Dialog
from slurm_powersave.config.settings import Cluster
from slurm_powersave.decide.slurm_files.inventory import Inventory
from slurm_powersave.model.errors import CloudError, ConfigError, RefusedError
from slurm_powersave.model.leftovers import INTERFACE, RULE, Leftover
from slurm_powersave.model.nodes import NodeSpec, TerraformNode
from slurm_powersave.model.permit import Act, Permit
from slurm_powersave.testing.cloud import MemoryClock, MemoryCloud
from slurm_powersave.testing.site import MemoryProgram, MemorySite, Parts
from slurm_powersave.testing.slurm import MemorySlurm
from slurm_powersave.testing.world import cluster as memory_cluster

STATE = '{"resources": [{"mode": "managed", "instances": [{"attributes": {"id": "%s"}}]}]}'


class Lab:
    """A cluster file, a cloud in memory, and a base state."""

    def __init__(self, root: Path) -> None:
        self.cluster: Cluster = memory_cluster(state_dir=root / "state")
        self.clock = MemoryClock()
        self.cloud = MemoryCloud(self.clock, "test")
        self.slurm = MemorySlurm(self.clock, self.cluster.nodes(), lambda mode, nodes: None)
        self.slurm.unreachable = "no route"
        self.base = State(self.cluster.layout.base, Command())
        self.said: list[str] = []
        self.dialog = Dialog(self.said.append, self.said.append, lambda question: True)
        self.outside = Parts(
            slurm=self.slurm,
            clouds={"mem": self.cloud},
            terraform_program=MemoryProgram(),
            clock=self.clock,
            wait=self.clock.advance,
        )
        self.site = MemorySite(self.cluster, self.outside)
        self.files = Files(self.site, self.dialog, base_state.NO_WISH, lambda: Inventory({}, {}))

    def create(self, name: str, *tags: str) -> str:
        node = NodeSpec(name, "c", "mem", "default", "small", "", "10.0.1.1")
        carried = frozenset({"slurm-powersave", "cluster=test", *tags})
        return self.cloud.create(TerraformNode(node, "1a2b"), carried)

    def know(self, server_id: str) -> None:
        """Put a server into the base state."""
        self.base.directory.mkdir(parents=True, exist_ok=True)
        (self.base.directory / "terraform.tfstate").write_text(STATE % server_id)

    def orphans(self) -> list[str]:
        return [server.name for _, server in unrecorded.find(self.site, self.base)]


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


def test_a_lost_state_directory_does_not_become_a_second_cluster(lab: Lab) -> None:
    lab.create("login", "role=login")
    with pytest.raises(RefusedError, match=r"login \(id-1\)(.|\n)*restore(.|\n)*teardown"):
        deploy.deploy(lab.site, lab.dialog)
    assert not lab.cluster.layout.root.exists(), "not even keys were made"
    with pytest.raises(RefusedError):
        deploy.deploy(lab.site, lab.dialog, dry_run=True)


def test_what_a_killed_apply_has_left_is_found_and_deleted(lab: Lab) -> None:
    lab.know(lab.create("storage"))
    lab.create("login", "role=login")
    lab.create("sps-builder", "role=builder")
    assert lab.orphans() == ["login"]
    journal = SqliteJournal(":memory:")
    unrecorded.delete(lab.site, unrecorded.find(lab.site, lab.base), Acts(journal, "deploy"))
    assert lab.orphans() == []
    (done,) = journal.newest_acts(None, 10)
    assert (done.node, done.act, done.row) == ("login", "delete", "interrupted deploy")
    assert "; deploy by " in done.evidence
    assert len(lab.cloud.servers()) == 2


def node_of_the_cluster(lab: Lab) -> None:
    lab.create("n1", "node=n1")


def server_in_the_journal(lab: Lab) -> None:
    deploy.prepare(lab.site)
    journal = SqliteJournal(lab.cluster.layout.journal)
    journal.save_node(replace(journal.node_records()["n1"], server_id="id-9"))
    journal.close()


def slurm_that_answers(lab: Lab) -> None:
    lab.slurm.unreachable = ""


@pytest.mark.parametrize("sign", [node_of_the_cluster, server_in_the_journal, slurm_that_answers])
def test_an_unknown_login_node_of_a_cluster_in_service_is_not_deleted(
    lab: Lab, sign: Callable[[Lab], None]
) -> None:
    """As after half of the state directory was lost: one sign of life is enough."""
    lab.create("login", "role=login")
    sign(lab)
    with pytest.raises(RefusedError, match="not in the state directory: login"):
        lab.orphans()


def test_a_base_state_that_was_left_empty_is_replaced_by_the_copy(lab: Lab) -> None:
    """Once the cloud can be read: before that nothing is known of what the copy does not have."""
    login = lab.create("login", "role=login")
    lab.know(login)
    path = lab.base.directory / "terraform.tfstate"
    path.rename(path.with_name("terraform.tfstate.before-apply"))
    path.touch()
    lab.cloud.unreachable = "503 Service Unavailable"
    with pytest.raises(CloudError):
        base_state.deploy(lab.site, lab.dialog, base_state.NO_WISH, lab.files, dry_run=False)
    assert path.read_text() == "" and not lab.said
    lab.cloud.unreachable = ""
    with pytest.raises(ConfigError):  # this cluster's files have no root module
        base_state.deploy(lab.site, lab.dialog, base_state.NO_WISH, lab.files, dry_run=False)
    assert lab.base.ids() == {login}
    assert "before-apply is in its place" in lab.said[0] and str(lab.base.directory) in lab.said[0]
    assert lab.orphans() == []


def test_once_slurm_was_configured_an_unknown_login_node_is_in_service(lab: Lab) -> None:
    login = lab.create("login", "role=login")
    lab.know(login)
    lab.cluster.layout.slurm_conf_in_use.write_text("{}")
    assert lab.orphans() == []
    lab.know("another")
    with pytest.raises(RefusedError, match="not in the state directory: login"):
        lab.orphans()


def test_what_else_is_in_no_state_is_named(lab: Lab) -> None:
    lab.know("net-1")
    lab.cloud.others = [
        Leftover(kind, name, name)
        for kind, name in (("network", "net-1"), ("network", "net-2"), ("port", "p"), ("image", "gold"))
    ]
    lab.create("n1", "node=n1")
    unrecorded.tell(lab.site, lab.base, lab.dialog)
    assert lab.said == [
        "network net-2 belongs to the cluster and is in no Terraform state: delete it by hand"
    ]


class Removing(MemoryCloud):
    """A cloud that removes what is not a server, too."""

    def parts(self) -> list[Leftover]:
        """A rule of a group that a state knows, and an interface of the router that none does."""
        return [Leftover(RULE, "rule-1", "", "net-2"), Leftover(INTERFACE, "port-1", "", "r-1")]

    def remove(self, left: Leftover, permit: Permit) -> None:
        permit.use(Act.DELETE, left.id)
        if left in self.others:
            self.others.remove(left)


NETWORK, ROUTER = Leftover("network", "net-1", "slurm-powersave-test"), Leftover("router", "r-1", "")


def test_what_else_a_killed_apply_has_left_is_found_and_removed_in_order(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.cloud = Removing(lab.clock, "test")
    lab.outside.clouds = {"mem": lab.cloud}
    lab.know("net-2")
    known, image, key = Leftover("network", "net-2"), Leftover("image", "i"), Leftover("key pair", "k", "k")
    lab.cloud.others = [key, NETWORK, known, ROUTER, image]
    found = unrecorded.beside(lab.site, lab.base)
    kinds = [left.kind for _, left in found]
    assert kinds == ["router", "network", RULE, "key pair"], "what Terraform knows is its own"
    names = unrecorded.Orphans((), found).names
    assert names == ["router r-1", "network slurm-powersave-test (net-1)", f"{RULE} rule-1", str(key)]
    unrecorded.remove(found, Acts(None, "deploy"))
    assert lab.cloud.others == [known, image]


@pytest.mark.parametrize("sign", [node_of_the_cluster, server_in_the_journal, slurm_that_answers])
def test_nothing_is_removed_beside_a_cluster_in_service(lab: Lab, sign: Callable[[Lab], None]) -> None:
    lab.cloud = Removing(lab.clock, "test")
    lab.outside.clouds = {"mem": lab.cloud}
    lab.cloud.others = [NETWORK]
    sign(lab)
    assert unrecorded.beside(lab.site, lab.base) == []


def test_a_cloud_that_can_not_remove_is_left_alone(lab: Lab) -> None:
    lab.cloud.others = [NETWORK]
    assert unrecorded.beside(lab.site, lab.base) == []
