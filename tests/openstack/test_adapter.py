"""The OpenStack adapter against the cases of tests/contract, on a real control plane with real guests."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import yaml

from slurm_powersave.adapters.openstack.cloud import OpenStackCloud
from slurm_powersave.adapters.openstack.images import OpenStackImageCloud
from slurm_powersave.decide.node.failure_policy import classify
from slurm_powersave.model.cloud_facts import Asked
from slurm_powersave.model.errors import CloudError, FailureClass
from slurm_powersave.model.images import NewServer
from slurm_powersave.model.nodes import Server
from tests.contract.cloud_cases import CASES as CLOUD_CASES
from tests.contract.cloud_cases import CLUSTER, OURS, until
from tests.contract.image_cases import CASES as IMAGE_CASES
from tests.contract.image_cases import KEY
from tests.openstack.harness import Project
from tests.openstack.harness import until as wait
from tests.openstack.proxy import QUOTA, Proxy
from tests.permits import permit

SHARED = f"slurm-powersave-{CLUSTER}"
TAGS = ["slurm-powersave", f"cluster={CLUSTER}"]
SILENCE = 1.5
"""Seconds of api_timeout where the API is made to hang."""


@dataclass
class Site:
    """A project with what the base module makes, and the names that the cases use."""

    project: Project
    network: str
    flavors: list[str] = field(default_factory=list)
    images: list[str] = field(default_factory=list)

    def settings(self, **more: Any) -> dict[str, Any]:
        """`clouds.NAME.settings`."""
        return {"cloud": "test", **more}


@pytest.fixture(scope="module")
def site(project: Project) -> Iterator[Site]:
    """The project, with flavors `small` and `large`, and the image `default`."""
    admin, cloud = project.admin, project.cloud
    network = cloud.network.create_network(name=SHARED)
    cloud.network.set_tags(network, TAGS)
    cloud.network.create_subnet(name=SHARED, network_id=network.id, ip_version=4, cidr=project.lab.subnet)
    cloud.network.create_security_group(name=SHARED)
    cloud.compute.create_keypair(name=SHARED, public_key=KEY)
    made = Site(project, network.id)
    for name, vcpus, ram in (("small", 1, 512), ("large", 2, 1024)):
        made.flavors.append(admin.compute.create_flavor(name=name, vcpus=vcpus, ram=ram, disk=1).id)
    data = {"disk_format": "raw", "container_format": "bare", "data": b"x", "validate_checksum": False}
    made.images.append(cloud.image.create_image(name="default", **data).id)
    yield made
    for image in made.images:
        cloud.image.delete_image(image)
    for flavor in made.flavors:
        admin.compute.delete_flavor(flavor)


class Real:
    """The project, as the adapter of the cluster `contract` sees it."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.cloud = OpenStackImageCloud(CLUSTER, site.settings())
        self.address = f"{site.project.lab.network}.2.20"
        self._made = 0

    def begin(self, name: str, tags: frozenset[str], flavor: str = "small") -> str:
        """Ask for a server past the adapter."""
        self._made += 1
        project = self.site.project
        address = f"{project.lab.network}.3.{self._made}"
        made = project.cloud.compute.post(
            "/servers",
            json={
                "server": {
                    "name": name,
                    "imageRef": project.image("default"),
                    "flavorRef": project.flavor(flavor),
                    "networks": [{"uuid": self.site.network, "fixed_ip": address}],
                    "key_name": SHARED,
                    "tags": sorted(tags),
                }
            },
            microversion="2.53",
        )
        return str(made.json()["server"]["id"])

    def create(self, name: str, tags: frozenset[str]) -> str:
        server_id = self.begin(name, tags)
        wait(lambda: self.site.project.status(server_id) == "ACTIVE", what="ACTIVE")
        return server_id

    def foreign_image(self, server_id: str, name: str) -> None:
        cloud = self.site.project.cloud
        made = cloud.compute.create_server_image(server_id, name, wait=False)
        self.site.images.append(made.id)
        wait(lambda: cloud.image.get_image(made.id).status == "active", what="active")

    def let_pass(self, seconds: float) -> None:
        time.sleep(seconds)

    def clean(self) -> None:
        """Remove servers and our images."""
        cloud = self.site.project.cloud
        for server in cloud.compute.servers():
            cloud.compute.delete_server(server)
        wait(lambda: not list(cloud.compute.servers()), what="servers to go")
        for image in cloud.image.images(owner=self.site.project.project.id):
            if image.name != "default":
                cloud.image.delete_image(image)
                self.site.images = [one for one in self.site.images if one != image.id]


@pytest.fixture
def real(site: Site, monkeypatch: pytest.MonkeyPatch) -> Iterator[Real]:
    """A project without servers or images of ours, and again so afterwards."""
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(site.project.clouds_yaml))
    subject = Real(site)
    yield subject
    subject.clean()


@pytest.mark.parametrize("case", (*CLOUD_CASES, *IMAGE_CASES), ids=lambda case: case.__name__)
def test_contract(real: Real, case: Callable[[Real], None]) -> None:
    case(real)


def fault(real: Real, server_id: str) -> str:
    """Why a server has ended in ERROR; Nova writes that a moment after the status."""
    until(real, lambda: seen(real, server_id).status == "ERROR" and bool(seen(real, server_id).fault))
    return seen(real, server_id).fault


def seen(real: Real, server_id: str) -> Server:
    """The server as a listing tells it."""
    return next(server for server in real.cloud.servers() if server.id == server_id)


def host_key(real: Real, server_id: str) -> str:
    """The server's host key, as soon as the console shows it."""
    found: list[Server] = []

    def told() -> bool:
        server = real.cloud.server(server_id)
        found[:] = [server] if server and server.host_key else []
        return bool(found)

    until(real, told)
    return found[0].host_key


def settled(real: Real, server_id: str, *on_the_way: str) -> Server:
    """Wait until it is ACTIVE; nothing else but these is seen before."""
    states: set[str] = set()

    def active() -> bool:
        states.add(seen(real, server_id).status)
        return "ACTIVE" in states

    until(real, active)
    assert states <= {"ACTIVE", *on_the_way}
    return seen(real, server_id)


def test_reboot_rebuild_and_resize_show_until_they_are_done(real: Real) -> None:
    server_id = real.create("c-1", OURS)
    before = host_key(real, server_id)
    real.cloud.reboot(server_id, permit("reboot", server_id))
    assert seen(real, server_id).status == "REBOOT"
    settled(real, server_id, "REBOOT")
    assert host_key(real, server_id) == before
    real.cloud.rebuild(server_id, real.site.project.image("default"), permit("rebuild", server_id))
    assert seen(real, server_id).status == "REBUILD"
    settled(real, server_id, "REBUILD")
    until(real, lambda: host_key(real, server_id) != before)
    real.cloud.resize(server_id, "large", permit("resize", server_id))
    assert seen(real, server_id).status == "RESIZE"
    assert settled(real, server_id, "RESIZE").flavor == "large"


def test_a_resize_of_somebody_else_is_left_to_wait(real: Real) -> None:
    server_id = real.create("c-1", OURS)
    compute = real.site.project.cloud.compute
    compute.resize_server(server_id, real.site.project.flavor("large"))
    wait(lambda: real.site.project.status(server_id) == "VERIFY_RESIZE", what="VERIFY_RESIZE")
    assert [seen(real, server_id).status for _ in range(3)] == ["RESIZE"] * 3
    assert real.site.project.status(server_id) == "VERIFY_RESIZE"
    compute.confirm_server_resize(server_id)
    settled(real, server_id, "RESIZE")


def test_a_locked_server_is_left_alone_and_a_forced_delete_respects_it(real: Real) -> None:
    server_id = real.create("c-1", OURS)
    compute = real.site.project.cloud.compute
    compute.lock_server(server_id)
    for cloud in (real.cloud, OpenStackCloud(CLUSTER, real.site.settings(force_delete=True))):
        with pytest.raises(CloudError, match="locked"):
            cloud.delete(server_id, permit("delete", server_id))
    compute.unlock_server(server_id)
    OpenStackCloud(CLUSTER, real.site.settings(force_delete=True)).delete(
        server_id, permit("delete", server_id)
    )
    until(real, lambda: real.cloud.server(server_id) is None)


@pytest.mark.parametrize(
    ("error", "failure"),
    [("abort", FailureClass.NODE_LOCAL), ("reschedule", FailureClass.CAPACITY)],
)
def test_novas_faults_have_a_class(real: Real, error: str, failure: FailureClass) -> None:
    with real.site.project.lab.faults({"op": "spawn", "name": "^c-1$", "error": error}):
        server_id = real.begin("c-1", OURS)
        told = fault(real, server_id)
    assert classify(told) is failure, told


def test_a_port_that_can_not_be_bound_is_the_nodes_own_trouble(real: Real) -> None:
    refusals = real.site.project.lab.state / "nobind"
    refusals.write_text("c-1|fake-.*")
    try:
        server_id = real.begin("c-1", OURS)
        told = fault(real, server_id)
    finally:
        refusals.unlink()
    assert classify(told) is FailureClass.NODE_LOCAL, told


def test_a_flavor_that_fits_nowhere_is_no_capacity(real: Real) -> None:
    admin = real.site.project.admin
    real.site.flavors.append(admin.compute.create_flavor(name="huge", vcpus=900, ram=512, disk=1).id)
    server_id = real.begin("c-1", OURS, "huge")
    told = fault(real, server_id)
    assert classify(told) is FailureClass.CAPACITY, told


def test_a_quota_that_is_used_up(real: Real) -> None:
    real.site.project.quota(instances=0)
    try:
        with pytest.raises(CloudError, match="403") as caught:
            real.cloud.create_server(NewServer("b", "default", "small", real.address, "", KEY, frozenset()))
    finally:
        real.site.project.quota(instances=100)
    assert caught.value.failure is FailureClass.QUOTA and "instances" in caught.value.why
    assert not real.cloud.servers()


def test_facts(real: Real) -> None:
    server_id = real.create("c-1", OURS)
    facts = real.cloud.facts()
    assert facts.troubles == ()
    assert facts.roles == {"member", "reader"} or facts.roles == {"member"}
    assert facts.key_pair and facts.key_pair.split()[:2] == KEY.split()
    assert facts.flavors and facts.flavors["small"].id and facts.zones == {"nova"}
    assert facts.images and "default" in {image.name for image in facts.images}
    assert facts.servers and [(one.id, one.image) for one in facts.servers] == [(server_id, "default")]
    (network,) = [one for one in facts.networks or () if one.name == SHARED]
    assert network.tags == set(TAGS) and not network.external
    assert [one.name for one in facts.networks or () if one.external] == ["public"]
    (subnet,) = [one for one in facts.subnets or () if one.network_id == network.id]
    assert subnet.cidr == real.site.project.lab.subnet and subnet.pools and subnet.gateway
    assert "server c-1" in {use.by for use in subnet.in_use}
    limits = facts.limits
    assert (limits["instances"].limit, limits["instances"].used) == (100, 1)
    assert limits["ports"].used >= 1 and limits["floating_ips"].used == 0
    assert SHARED in {group.name for group in facts.security_groups or ()}
    assert facts.clock_skew is not None and abs(facts.clock_skew) < 5


@pytest.fixture
def proxy(real: Real) -> Iterator[Proxy]:
    """A proxy before the lab, and clouds.yaml through it."""
    project = real.site.project
    upstreams = {}
    for service in ("identity", "compute", "image", "network"):
        scheme, _, rest = str(project.cloud.endpoint_for(service)).partition("://")
        upstreams[service] = f"{scheme}://{rest.partition('/')[0]}"
    with Proxy(upstreams) as made:
        config = {
            **project.config,
            "auth": {**project.config["auth"], "auth_url": f"{made.url('identity')}/v3"},
        }
        project.clouds_yaml.write_text(yaml.safe_dump({"clouds": {"test": config}}))
        yield made
        project.clouds_yaml.write_text(yaml.safe_dump({"clouds": {"test": project.config}}))


@pytest.mark.parametrize(
    ("order", "failure", "said"),
    [
        ({"status": 401}, FailureClass.AUTH, "authentication"),
        ({"status": 403}, FailureClass.AUTH, "Policy"),
        ({"status": 403, "body": QUOTA}, FailureClass.QUOTA, "Quota"),
        ({"status": 409}, FailureClass.NODE_LOCAL, "task_state"),
        ({"status": 413, "retry_after": "1"}, FailureClass.UNKNOWN, "rate-limited"),
        ({"status": 429, "retry_after": "1"}, FailureClass.UNKNOWN, "Too Many"),
        ({"status": 500}, FailureClass.UNKNOWN, "Unexpected"),
        ({"status": 503}, FailureClass.UNKNOWN, "Service Unavailable"),
        ({"hang": True}, FailureClass.UNKNOWN, "timed out"),
    ],
)
def test_an_api_that_misbehaves_and_then_behaves_again(
    real: Real, proxy: Proxy, order: dict[str, Any], failure: FailureClass, said: str
) -> None:
    cloud = OpenStackCloud(CLUSTER, real.site.settings(api_timeout=SILENCE))
    assert not cloud.servers()
    proxy.order(service="compute", **order)
    before = time.monotonic()
    with pytest.raises(CloudError, match=said) as caught:
        cloud.servers()
    assert caught.value.failure is failure and time.monotonic() - before < 2 * SILENCE
    proxy.calm()

    def well_again() -> bool:
        try:
            return not cloud.servers()
        except CloudError:
            return False

    until(real, well_again)


def test_a_service_that_is_down(real: Real, proxy: Proxy) -> None:
    cloud = OpenStackCloud(CLUSTER, real.site.settings(api_timeout=SILENCE))
    assert not cloud.servers()
    with proxy.refused("compute", "network"):
        with pytest.raises(CloudError, match="could not be reached"):
            cloud.servers()
        facts = cloud.facts()
    assert [trouble.asked for trouble in facts.troubles] == [Asked.REACH, Asked.REACH]
    assert facts.servers is None and facts.networks is None and facts.images
    assert not cloud.servers()
