"""The adapter of OpenStack's servers: the contract's cases over HTTP, and Nova's words in the port's."""

import time
from collections.abc import Callable
from typing import Any

import pytest

from slurm_powersave.adapters.openstack import resize
from slurm_powersave.adapters.openstack.cloud import OpenStackCloud
from slurm_powersave.adapters.openstack.images import OpenStackImageCloud
from slurm_powersave.model.errors import CloudError, FailureClass
from slurm_powersave.model.images import NewServer
from slurm_powersave.model.nodes import Limit
from tests.contract.cloud_cases import CASES as CLOUD_CASES
from tests.contract.cloud_cases import CLUSTER, OURS
from tests.contract.image_cases import CASES as IMAGE_CASES
from tests.contract.image_cases import KEY
from tests.openstack.http_cloud import public_key
from tests.permits import permit
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


@pytest.fixture
def subject(openstack: World) -> Subject:
    return Subject(openstack)


@pytest.mark.parametrize("case", (*CLOUD_CASES, *IMAGE_CASES), ids=lambda case: case.__name__)
def test_contract(subject: Subject, case: Callable[[Subject], None]) -> None:
    case(subject)


@pytest.mark.parametrize(
    ("nova", "ours", "fault"),
    [
        ("ACTIVE", "ACTIVE", ""),
        ("HARD_REBOOT", "REBOOT", ""),
        ("REBUILD", "REBUILD", ""),
        ("VERIFY_RESIZE", "RESIZE", "Nova says VERIFY_RESIZE"),
        ("REVERT_RESIZE", "RESIZE", ""),
        ("PASSWORD", "ACTIVE", ""),
        ("SHUTOFF", "SHUTOFF", ""),
        ("SUSPENDED", "SUSPENDED", ""),
        ("SHELVED_OFFLOADED", "SHELVED_OFFLOADED", ""),
        ("RESCUE", "RESCUE", ""),
        ("MIGRATING", "MIGRATING", ""),
        ("SOFT_DELETED", "SOFT_DELETED", ""),
        ("UNKNOWN", "UNKNOWN", ""),
    ],
)
def test_statuses(subject: Subject, nova: str, ours: str, fault: str) -> None:
    server_id = subject.world.cloud.add_server("n1", OURS, nova)
    found = subject.cloud.server(server_id)
    assert found and (found.status, found.fault) == (ours, fault)


def test_a_server_that_nova_is_about_to_forget_is_gone(subject: Subject) -> None:
    server_id = subject.world.cloud.add_server("n1", OURS, "DELETED")
    assert subject.cloud.server(server_id) is None and not subject.cloud.servers()


def test_a_fault_is_told_in_novas_words(subject: Subject) -> None:
    subject.world.cloud.add_server(
        "n1", OURS, "ERROR", fault={"code": 500, "message": "No valid host was found. "}
    )
    (found,) = subject.cloud.servers()
    assert (found.status, found.fault) == ("ERROR", "No valid host was found. ")


def test_a_fault_that_a_listing_leaves_out_is_read_by_id_and_once(subject: Subject) -> None:
    subject.world.cloud.cell0 = True
    subject.create("n2", OURS)
    server_id = subject.world.cloud.add_server(
        "n1", OURS, "ERROR", fault={"message": "No valid host was found."}
    )
    for _ in range(3):
        assert {one.name: one.fault for one in subject.cloud.servers()} == {
            "n1": "No valid host was found.",
            "n2": "",
        }
    assert len(subject.world.asked("GET", f"/servers/{server_id}")) == 1


def test_an_image_is_shown_by_its_name_as_long_as_that_leads_to_it(subject: Subject) -> None:
    cloud = subject.world.cloud
    server_id = subject.create("n1", OURS)
    image = cloud.servers[server_id]["image"]["id"]

    def shown() -> str:
        subject.cloud._names.forget()
        (found,) = subject.cloud.servers()
        return found.image

    assert shown() == "default" and subject.cloud.image_id("default") == image
    twin = cloud.add_image("default", "queued")
    assert shown() == "default", "one that is not active yet does not count"
    cloud.images[twin]["status"] = "active"
    assert shown() == image
    with pytest.raises(CloudError, match="2 images are named default") as caught:
        subject.cloud.image_id("default")
    assert caught.value.failure is FailureClass.CONFIG
    cloud.images[image]["name"] = None
    assert shown() == image and subject.cloud.image_id("default") == twin
    del cloud.images[image]
    assert shown() == image


def test_an_image_that_is_gone_is_not_asked_for_with_each_listing(subject: Subject) -> None:
    server_id = subject.create("n1", OURS)
    subject.world.cloud.servers[server_id]["image"] = {"id": "gone"}
    for _ in range(5):
        subject.cloud.servers()
    assert len(subject.world.asked("GET", "/images")) == 1
    assert len(subject.world.asked("GET", "/servers/detail")) == 5


def test_an_image_that_is_not_active_is_no_image(subject: Subject) -> None:
    subject.world.cloud.add_image("new", "saving")
    with pytest.raises(CloudError, match="it is saving"):
        subject.cloud.image_id("new")
    assert "new" not in subject.cloud.images()


def test_a_server_from_a_volume_has_no_image(subject: Subject) -> None:
    subject.world.cloud.add_server("n1", OURS, image="")
    (found,) = subject.cloud.servers()
    assert found.image == ""


def test_the_address_is_the_fixed_one(subject: Subject) -> None:
    entries = [("203.0.113.9", 4, "floating"), ("fd00::1", 6, "fixed"), ("10.0.1.7", 4, "fixed")]
    told = [{"addr": addr, "version": version, "OS-EXT-IPS:type": kind} for addr, version, kind in entries]
    subject.world.cloud.add_server("n1", OURS, addresses={"net": told})
    (found,) = subject.cloud.servers()
    assert found.address == "10.0.1.7"


def test_minus_one_is_unlimited(subject: Subject) -> None:
    quota = subject.cloud.quota()
    assert quota["ram"] == Limit(None, 0) and quota["instances"] == Limit(10, 0)


def test_the_places_in_the_nodes_server_group_are_counted(openstack: World) -> None:
    openstack.cloud.server_groups = [
        {"id": "g-1", "name": f"slurm-powersave-{CLUSTER}", "members": ["s-1", "s-2"]},
        {"id": "g-2", "name": "slurm-powersave-other", "members": ["s-3", "s-4", "s-5"]},
    ]
    assert "server_group" not in Subject(openstack).cloud.quota(), "the nodes are in no group"
    subject = Subject(openstack, server_group="soft-anti-affinity")
    assert subject.cloud.quota()["server_group"] == Limit(10, 2)
    openstack.cloud.limits["server_group_members"] = -1
    assert subject.cloud.quota()["server_group"] == Limit(None, 2)
    openstack.cloud.server_groups = []
    assert "server_group" not in subject.cloud.quota()


@pytest.mark.parametrize(
    "change",
    [
        lambda cloud, server: cloud.delete(server, permit("delete", server)),
        lambda cloud, server: cloud.reboot(server, permit("reboot", server)),
        lambda cloud, server: cloud.rebuild(server, "default", permit("rebuild", server)),
        lambda cloud, server: cloud.resize(server, "large", permit("resize", server)),
        lambda cloud, server: cloud.stop_server(server, permit("stop", server)),
        lambda cloud, server: cloud.create_image_snapshot(server, "x", {}),
    ],
)
@pytest.mark.parametrize(
    ("fields", "said"),
    [({"locked": True}, "is locked"), ({"tags": ["cluster=other"]}, "not ours"), ({"gone": 1}, "")],
)
def test_what_is_locked_foreign_or_gone_is_not_changed(
    subject: Subject, change: Callable[[OpenStackCloud, str], None], fields: dict[str, Any], said: str
) -> None:
    server_id = subject.create("n1", OURS) if "gone" not in fields else "no-such-id"
    subject.world.cloud.servers.get(server_id, {}).update(fields)
    try:
        change(subject.cloud, server_id)
    except CloudError as error:
        assert error.failure is FailureClass.CONFIG and (said or "not there") in error.what
    else:
        assert not said, "it was changed"
    assert not subject.world.asked("DELETE") and not subject.world.asked("POST")


def test_a_lock_is_told(subject: Subject) -> None:
    locked, free = subject.create("n1", OURS), subject.create("n2", OURS)
    subject.world.cloud.servers[locked]["locked"] = True
    assert {one.id: one.locked for one in subject.cloud.servers()} == {locked: True, free: False}
    found = subject.cloud.server(locked)
    assert found and found.locked
    with pytest.raises(CloudError) as refused:
        subject.cloud.delete(locked, permit("delete", locked))
    assert refused.value.todo == f"openstack server unlock {locked}"


@pytest.mark.parametrize(
    ("settings", "status", "how"),
    [
        ({}, "ACTIVE", "DELETE"),
        ({"force_delete": True}, "ACTIVE", "POST"),
        ({}, "SOFT_DELETED", "POST"),
    ],
)
def test_a_soft_delete_is_not_the_end(
    openstack: World, settings: dict[str, Any], status: str, how: str
) -> None:
    subject = Subject(openstack, **settings)
    server_id = openstack.cloud.add_server("n1", OURS, status)
    subject.cloud.delete(server_id, permit("delete", server_id))
    assert len(openstack.asked(how, f"/servers/{server_id}")) == 1
    assert len(openstack.asked("POST")) + len(openstack.asked("DELETE")) == 1


def status(subject: Subject, server_id: str) -> str:
    """What a listing says now, a moment after the last one."""
    subject.let_pass(1)
    return next(one.status for one in subject.cloud.servers() if one.id == server_id)


def test_a_resize_of_ours_is_confirmed_when_it_is_seen(subject: Subject) -> None:
    server_id = subject.create("n1", OURS)
    subject.cloud.resize(server_id, "large", permit("resize", server_id))
    assert status(subject, server_id) == "RESIZE"
    assert status(subject, server_id) == "ACTIVE"
    found = subject.cloud.server(server_id)
    assert found and found.flavor == "large"
    # The next one is somebody else's.
    subject.world.cloud.servers[server_id]["status"] = "VERIFY_RESIZE"
    assert [status(subject, server_id) for _ in range(3)] == ["RESIZE"] * 3


def test_terraforms_resize_is_left_to_terraform_for_a_minute(
    subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    server_id = subject.world.cloud.add_server("n1", OURS, "VERIFY_RESIZE")
    assert [status(subject, server_id) for _ in range(3)] == ["RESIZE"] * 3
    monkeypatch.setattr(resize, "GRACE", 0.1)
    assert status(subject, server_id) == "RESIZE"
    assert status(subject, server_id) == "ACTIVE"


def test_a_resize_that_was_refused_leaves_no_mark(subject: Subject) -> None:
    server_id = subject.create("n1", OURS)
    subject.world.proxy.order(method="POST", path="/action", status=409, times=1)
    with pytest.raises(CloudError):
        subject.cloud.resize(server_id, "large", permit("resize", server_id))
    subject.world.cloud.servers[server_id]["status"] = "VERIFY_RESIZE"
    assert [status(subject, server_id) for _ in range(2)] == ["RESIZE"] * 2


def test_a_confirmation_that_fails_does_not_hide_the_servers(subject: Subject) -> None:
    server_id = subject.create("n1", OURS)
    subject.cloud.resize(server_id, "large", permit("resize", server_id))
    subject.let_pass(1)
    subject.world.proxy.order(method="POST", path="/action", status=503, times=1)
    assert status(subject, server_id) == "RESIZE"
    assert status(subject, server_id) == "RESIZE" and status(subject, server_id) == "ACTIVE"


def test_a_host_key_is_read_only_from_a_server_that_runs(subject: Subject) -> None:
    for kind in ("BUILD", "ERROR", "SHUTOFF", "REBUILD"):
        server_id = subject.world.cloud.add_server("n1", OURS, kind)
        found = subject.cloud.server(server_id)
        assert found and not found.host_key
    assert not subject.world.asked("POST")


def test_a_listing_has_no_host_keys_and_costs_one_call(subject: Subject) -> None:
    for number in range(20):
        subject.create(f"n{number}", OURS)
    subject.cloud.servers()
    before = len(subject.world.asked())
    assert {server.host_key for server in subject.cloud.servers()} == {""}
    assert len(subject.world.asked()) == before + 1


@pytest.mark.parametrize(("setting", "used"), [("console", False), ("first-use", True)])
def test_without_a_console_a_key_is_believed_only_if_that_is_set(
    openstack: World, monkeypatch: pytest.MonkeyPatch, setting: str, used: bool
) -> None:
    key, scanned = public_key(), list[list[str]]()

    def scan(addresses: list[str]) -> str:
        scanned.append(addresses)
        return key

    monkeypatch.setattr("slurm_powersave.adapters.openstack.console.scan", scan)
    openstack.cloud.console = False
    subject = Subject(openstack, host_keys=setting)
    server_id = subject.create("n1", OURS)
    found = subject.cloud.server(server_id)
    assert found and found.host_key == (key if used else "") and bool(scanned) is used
    # Where there is a console, it counts.
    openstack.cloud.console = True
    found = subject.cloud.server(server_id)
    assert found and found.host_key.startswith("ssh-ed25519 ") and found.host_key != key


def test_a_console_that_the_role_may_not_see_is_said(subject: Subject) -> None:
    server_id = subject.create("n1", OURS)
    subject.world.proxy.order(method="POST", path="/action", status=403)
    found = subject.cloud.server(server_id)
    assert found and not found.host_key and "console" in found.fault and "Policy" in found.fault


def test_a_builder_needs_what_the_base_module_makes(subject: Subject) -> None:
    def create() -> None:
        subject.cloud.create_server(
            NewServer("b", "default", "small", "10.0.0.20", zone="", key_pair=KEY, tags=frozenset())
        )

    networks, pairs = subject.world.cloud.network["networks"], subject.world.cloud.key_pairs
    networks.append({"id": "other", "tags": networks[0]["tags"]})
    with pytest.raises(CloudError, match="2 networks"):
        create()
    del networks[:]
    with pytest.raises(CloudError, match="no networks"):
        create()
    networks.append({"id": "net", "tags": ["slurm-powersave", f"cluster={CLUSTER}"]})
    pairs[f"slurm-powersave-{CLUSTER}"] = public_key()
    with pytest.raises(CloudError, match="holds another key"):
        create()
    pairs.clear()
    with pytest.raises(CloudError, match="is not there"):
        create()
    assert not subject.world.cloud.servers


def test_a_snapshot_does_not_inherit_what_we_say_of_its_base(subject: Subject) -> None:
    cloud = subject.world.cloud
    server_id = subject.create("n1", OURS)
    base = cloud.servers[server_id]["image"]["id"]
    cloud.images[base] |= {"slurm_powersave_node": "n9", "slurm_powersave_base": "older"}
    subject.cloud.create_image_snapshot(server_id, "made", {"slurm_powersave_role": "builder"})
    made = next(one for one in subject.cloud.list_images() if one.name == "made")
    assert made.properties == {"slurm_powersave_cluster": CLUSTER, "slurm_powersave_role": "builder"}


def test_many_threads_share_a_session(subject: Subject) -> None:
    from concurrent.futures import ThreadPoolExecutor

    subject.create("n1", OURS)
    with ThreadPoolExecutor(4) as pool:
        found = [one.result() for one in [pool.submit(subject.cloud.servers) for _ in range(12)]]
    assert {len(servers) for servers in found} == {1}
    assert len([1 for _, _, path in subject.world.proxy.requests if path.endswith("/auth/tokens")]) == 1
