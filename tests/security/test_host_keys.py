"""A server's SSH host key is the one that it printed first; who is root in it later can't change that."""

import stat
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurm_powersave.adapters.ansible.playbooks import AnsiblePlaybooks, Site
from slurm_powersave.adapters.openstack.console import BEGIN, END, keys, shown
from slurm_powersave.adapters.ssh import known_hosts
from slurm_powersave.commands import host_trust
from slurm_powersave.decide.node.host_keys import Pin, believed, offered
from slurm_powersave.model.errors import UnreachableError
from slurm_powersave.model.modes import Mode
from slurm_powersave.model.nodes import NodeSpec, Server
from slurm_powersave.testing.site import MemoryLoginHost, MemorySite, Parts
from slurm_powersave.testing.world import MemoryWorld, cluster
from tests.contract.cloud_cases import OURS
from tests.openstack.http_cloud import public_key
from tests.unit.adapters.conftest import openstack, site
from tests.unit.adapters.openstack.lab import World
from tests.unit.adapters.openstack.subject import Subject
from tests.unit.adapters.playbook_starts import started
from tests.unit.engine.checks import servers
from tests.unit.engine.reboot_stories import ask, ready
from tests.unit.engine.stories import up

__all__ = ["openstack", "site"]

OLD, NEW, FORGED = (public_key(secret=letter * 32) for letter in (b"1", b"2", b"3"))
RSA = public_key("ssh-rsa", b"4" * 32)


def block(*lines: str) -> str:
    """A block as cloud-init prints it, and as everybody can who may write to the console."""
    return "\r\n".join((BEGIN, *lines, END, ""))


LATER: dict[str, str] = {
    "a block": block(FORGED),
    "many blocks": block(FORGED) * 50,
    "the first key and another": block(OLD, FORGED),
    "a block after a boot that is invented": "\r\n[    0.000000] Linux version 6.1\r\n" + block(FORGED),
    "a block that begins before the end of another": f"{BEGIN}\r\n" + block(FORGED),
    "an end alone": f"{FORGED}\r\n{END}\r\n",
    "a block in a line": f"login: {BEGIN}{FORGED}{END}",
    "much, then a block": "x" * 150_000 + "\r\n" + block(FORGED),
}
"""What somebody who is root in a server prints after it has booted."""


# The console of OpenStack


@pytest.mark.parametrize("later", LATER.values(), ids=LATER.keys())
def test_what_is_printed_later_is_not_the_key(later: str) -> None:
    console = "[    0.000000] Linux version 6.1\r\n" + block(f"{OLD} root@n1", RSA) + later
    assert keys(console) == f"{OLD}\n{RSA}"


@pytest.mark.parametrize("later", LATER.values(), ids=LATER.keys())
def test_a_first_block_that_is_cut_off_is_said_and_nothing_is_taken_for_it(later: str) -> None:
    rest_of_it = f"{RSA} root@n1\r\n{END}\r\n"
    found = shown(rest_of_it + later)
    assert found.lost and found.blocks == ()


@given(st.lists(st.sampled_from([*"ab \r\n", BEGIN, END, OLD, FORGED]), max_size=60).map("".join))
def test_nothing_changes_the_first_block(later: str) -> None:
    assert shown(block(OLD) + later).blocks[0] == OLD


def test_a_reboot_prints_the_same_keys_again() -> None:
    assert shown(block(OLD, RSA) + "reboot\r\n" + block(RSA, OLD)).blocks == (f"{OLD}\n{RSA}",)


@pytest.fixture
def subject(openstack: World) -> Subject:
    return Subject(openstack)


def test_the_adapter_tells_the_first_and_the_later_ones_apart(subject: Subject) -> None:
    server_id = subject.create("n1", OURS)
    found = subject.cloud.server(server_id)
    assert found and found.host_key and found.later_keys == ()
    subject.world.cloud.consoles[server_id] += block(FORGED)
    again = subject.cloud.server(server_id)
    assert again and again.host_key == found.host_key and again.later_keys == (FORGED,)


def test_the_adapter_says_that_the_console_has_lost_its_beginning(subject: Subject) -> None:
    server_id = subject.create("n1", OURS)
    subject.world.cloud.consoles[server_id] = f"{OLD}\r\n{END}\r\n" + block(FORGED)
    found = subject.cloud.server(server_id)
    assert found and not found.host_key and "lost its beginning" in found.fault


# The console of the local cloud


@pytest.mark.parametrize("later", LATER.values(), ids=LATER.keys())
def test_a_guest_s_first_key_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, later: str) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[2] / "demo"))
    from local_cloud.guest import Guest
    from local_cloud.store import Store

    guest = Guest(Store(tmp_path), "id")
    guest.home.mkdir(parents=True)
    (guest.home / "console.log").write_text("Welcome\n" + block(OLD) + later)
    assert guest.host_key() == OLD


# What is decided


@pytest.mark.parametrize(
    ("pin", "kept", "right"),
    [
        (None, True, False),
        (Pin(frozenset({OLD}), "s1/1"), False, True),
        (Pin(frozenset({OLD}), "s1/2"), True, False),
        (Pin(frozenset({OLD}), "s2/1"), True, False),
        (Pin(frozenset({OLD})), True, True),
        (Pin(frozenset({OLD})), False, False),
    ],
)
def test_what_is_recorded_is_believed_for_its_own_disk_only(pin: Pin | None, kept: bool, right: bool) -> None:
    assert believed(pin, "s1/1", kept=kept) is right


@pytest.mark.parametrize(
    ("blocks", "renewed", "left"),
    [
        ((), False, ()),
        ((NEW, FORGED), False, (NEW,)),
        ((NEW,), True, (NEW,)),
        ((OLD,), True, ()),
        ((OLD, NEW), True, (NEW,)),
        ((f"{OLD}\n{RSA}", NEW), True, (NEW,)),
        ((OLD, FORGED, NEW), True, (FORGED, NEW)),
        ((FORGED, OLD, NEW), True, (NEW,)),
    ],
)
def test_what_a_console_offers(blocks: Sequence[str], renewed: bool, left: Sequence[str]) -> None:
    assert tuple(offered(Pin(frozenset({OLD}), "s1/1"), blocks, renewed=renewed)) == left


# known_hosts


HOST = ("n1", "10.0.1.1")


@pytest.mark.parametrize(
    "disk", ["id-1/1", "a b/1", "x\nn2,10.0.1.2 " + FORGED, "Rocky 9 \u2013 prod {{x}}", "#", "%"]
)
def test_whose_key_it_is_stands_where_ssh_has_a_comment(tmp_path: Path, disk: str) -> None:
    path = tmp_path / "known_hosts"
    known_hosts.record(path, {HOST: known_hosts.key_lines(HOST, f"{OLD} root@n1\n{RSA}\n", disk)})
    assert len(path.read_text().splitlines()) == 2
    assert known_hosts.pins(path) == {HOST: Pin(frozenset({OLD, RSA}), disk)}
    assert known_hosts.known(path) == set(HOST)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_what_an_earlier_version_wrote_is_read(tmp_path: Path) -> None:
    path = tmp_path / "known_hosts"
    path.write_text(f"n1,10.0.1.1 {OLD}\nn2,10.0.1.2 {NEW} root@n2\n\n# by hand\n")
    found = known_hosts.pins(path)
    assert found[HOST] == Pin(frozenset({OLD})) and found["n2", "10.0.1.2"] == Pin(frozenset({NEW}))


def node(name: str = "n1", address: str = "127.0.0.1") -> NodeSpec:
    return NodeSpec(name, "cpu", "c", "i", "f", "", address)


def test_no_key_takes_the_place_of_one_of_the_same_disk(
    tmp_path: Path, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    started(monkeypatch)
    made = AnsiblePlaybooks(tmp_path, site)
    for given_key, disk, recorded in (
        (OLD, "s1/1", OLD),
        (FORGED, "s1/1", OLD),
        ("", "s1/1", OLD),
        (NEW, "s1/2", NEW),
        (FORGED, "s1/2", NEW),
        (OLD, "s2/3", OLD),
    ):
        made.configure([node()], {"n1": given_key}, {}, {"n1": disk})
        assert made.pin(node()) == Pin(frozenset({recorded}), disk)
    assert made.pin(node("n1", "127.0.0.2")) is None


# The engine


def key_of(world: MemoryWorld, name: str) -> str:
    """What the sshd of a node really has."""
    return world.cloud.host_key(name)


def recorded(world: MemoryWorld, name: str) -> frozenset[str]:
    return world.playbooks.pins[name].keys


@pytest.mark.parametrize("listed", [True, False], ids=["listing", "server"])
@pytest.mark.parametrize("words", ["reboot", "resize flavor=large"])
def test_a_disk_that_stays_keeps_its_key(listed: bool, words: str) -> None:
    world = ready(2, flavors=["small", "large"], real_memory=500, cpus=1)
    world.cloud.lists_keys = listed
    before = recorded(world, "n1")
    for _ in range(3):
        world.cloud.forge(servers(world)["n1"][0])
    assert ask(world, "n1", words).outcome == "done"
    assert recorded(world, "n1") == before == {key_of(world, "n1")}


@pytest.mark.parametrize("listed", [True, False], ids=["listing", "server"])
@pytest.mark.parametrize("keeps", [True, False], ids=["console stays", "console begins anew"])
@pytest.mark.parametrize("words", ["reimage", "reimage image=other", "reimage replace"])
def test_a_new_disk_has_a_new_key(listed: bool, keeps: bool, words: str) -> None:
    world = ready(2)
    world.cloud.lists_keys, world.cloud.keeps_consoles = listed, keeps
    seen = [recorded(world, "n1")]
    # The same words twice would be the same request.
    for again in (words, words.upper().replace("OTHER", "default").replace("IMAGE=", "image=")):
        assert ask(world, "n1", again).outcome == "done"
        seen.append(recorded(world, "n1"))
        assert seen[-1] == {key_of(world, "n1")}
    assert len(frozenset.union(*seen)) == 3


def test_what_was_printed_before_a_reimage_is_not_taken_for_the_new_disk_s() -> None:
    """Whoever was root in the old disk has left a key of his own on a console that is kept."""
    world = ready(2)
    world.cloud.keeps_consoles = True
    world.cloud.forge(servers(world)["n1"][0])
    ((forged,),) = (server.later_keys for server in world.cloud.alive() if server.name == "n1")
    op = ask(world, "n1", "reimage image=other")
    assert op.outcome == "failed" and "2 different SSH host keys" in op.text
    assert forged not in recorded(world, "n1")


def test_a_console_that_begins_anew_forgets_what_was_printed_before() -> None:
    world = ready(2)
    world.cloud.forge(servers(world)["n1"][0])
    assert ask(world, "n1", "reimage image=other").outcome == "done"
    assert recorded(world, "n1") == {key_of(world, "n1")}


def test_a_restarted_engine_goes_by_what_is_recorded() -> None:
    world = ready(2)
    before = recorded(world, "n1")
    world.crash()
    world.cloud.forge(servers(world)["n1"][0])
    assert ask(world, "n1", "reboot").outcome == "done"
    assert recorded(world, "n1") == before


def test_what_an_earlier_version_recorded_holds_until_the_disk_is_made_anew() -> None:
    world = ready(2)
    world.playbooks.pins["n1"] = replace(world.playbooks.pins["n1"], disk="")
    world.cloud.forge(servers(world)["n1"][0])
    assert ask(world, "n1", "reboot").outcome == "done"
    assert recorded(world, "n1") == {key_of(world, "n1")}
    assert ask(world, "n1", "reimage image=other").outcome == "done"
    assert recorded(world, "n1") == {key_of(world, "n1")}


def test_a_key_that_can_not_be_had_any_more_fails_the_node_with_that_reason() -> None:
    world = MemoryWorld.of(2)
    world.cloud.never_boots.add("n1")
    real = world.cloud.server

    def server(server_id: str) -> Server | None:
        found = real(server_id)
        return replace(found, fault="its console has lost its beginning") if found else None

    world.cloud.server = server  # type: ignore[method-assign]
    world.slurm.submit("n1")
    world.run(30)
    (op,) = (op for op in world.journal.history("n1") if op.mode is Mode.RESUME)
    assert op.failure and "lost its beginning" in op.text


def test_nodes_that_come_and_go_have_a_key_each_time() -> None:
    world = MemoryWorld.of(2)
    for _ in range(3):
        job = up(world, "n1")
        assert recorded(world, "n1") == {key_of(world, "n1")}
        world.slurm.end(job)
        world.slurm.suspend("n1")
        world.settle(60)


# deploy


@dataclass
class OneServer:
    """A cloud with one server, whose console the test writes."""

    id: str = "s1"
    image: str = "debian"
    console: str = ""
    asked: int = field(default=0)

    def server(self, server_id: str) -> Server | None:
        self.asked += 1
        found = shown(self.console)
        key, *later = found.blocks or ("",)
        fault = "its console has lost its beginning" if found.lost else ""
        return Server(
            self.id, "login", "ACTIVE", "10.0.0.2", self.image, "", frozenset(), key, fault, tuple(later)
        )


@pytest.fixture
def one(monkeypatch: pytest.MonkeyPatch) -> OneServer:
    made = OneServer(console=block(OLD, RSA))
    monkeypatch.setattr(host_trust, "_BOOT_SECONDS", 0.3)
    return made


LOGIN = ("login", "10.0.0.2")


def deploy(tmp_path: Path, one: OneServer, *, kept: bool = True) -> frozenset[str]:
    """What of `deploy` concerns the login node's key."""
    made = cluster(state_dir=tmp_path)
    outside = Parts(clouds={"mem": one}, login_host=MemoryLoginHost())
    host_trust.wait(MemorySite(made, outside), LOGIN, {"id": one.id}, lambda text: None, kept=kept)
    return known_hosts.pins(made.layout.known_hosts)[LOGIN].keys


@pytest.mark.parametrize("kept", [True, False], ids=["nothing changed", "something changed"])
@pytest.mark.parametrize("later", [*LATER.values(), ""], ids=[*LATER.keys(), "nothing"])
def test_a_second_deploy_keeps_the_login_node_s_key(
    tmp_path: Path, one: OneServer, later: str, kept: bool
) -> None:
    assert deploy(tmp_path, one, kept=False) == {OLD, RSA}
    one.console += later
    assert deploy(tmp_path, one, kept=kept) == {OLD, RSA}
    one.console = f"{END}\r\n" + later  # all of the beginning is gone
    assert deploy(tmp_path, one, kept=kept) == {OLD, RSA}
    one.console = block(FORGED)
    assert deploy(tmp_path, one, kept=kept) == {OLD, RSA}


def test_a_login_node_that_was_made_anew_has_a_new_key(tmp_path: Path, one: OneServer) -> None:
    deploy(tmp_path, one, kept=False)
    one.id, one.console = "s2", block(NEW) + block(FORGED)
    assert deploy(tmp_path, one, kept=False) == {NEW}


def test_a_login_node_that_was_rebuilt_has_a_new_key(tmp_path: Path, one: OneServer) -> None:
    deploy(tmp_path, one, kept=False)
    one.image, one.console = "debian-13", block(NEW)
    assert deploy(tmp_path, one, kept=False) == {NEW}


def test_an_image_that_was_renamed_changes_nothing(tmp_path: Path, one: OneServer) -> None:
    deploy(tmp_path, one, kept=False)
    one.image = "debian-old"
    assert deploy(tmp_path, one) == {OLD, RSA}


def test_two_keys_since_a_rebuild_are_not_guessed_between(tmp_path: Path, one: OneServer) -> None:
    deploy(tmp_path, one, kept=False)
    one.image, one.console = "debian-13", one.console + block(FORGED) + block(NEW)
    with pytest.raises(UnreachableError, match="2 different SSH host keys"):
        deploy(tmp_path, one, kept=False)


@pytest.mark.parametrize("kept", [True, False])
def test_the_first_deploy_of_this_version_believes_what_the_last_one_recorded(
    tmp_path: Path, one: OneServer, kept: bool
) -> None:
    (tmp_path / "known_hosts").write_text(f"login,10.0.0.2 {OLD}\n")
    one.console += block(FORGED)
    assert deploy(tmp_path, one, kept=kept) == ({OLD} if kept else {OLD, RSA})
    assert known_hosts.pins(tmp_path / "known_hosts")[LOGIN].disk == "s1/debian"


def test_a_first_key_that_is_gone_is_said(tmp_path: Path, one: OneServer) -> None:
    one.console = f"{END}\r\n" + block(FORGED)
    with pytest.raises(UnreachableError, match="lost its beginning"):
        deploy(tmp_path, one, kept=False)
    assert known_hosts.pins(tmp_path / "known_hosts") == {}
