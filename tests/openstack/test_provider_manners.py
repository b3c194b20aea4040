"""The provider for tests does what the real one does, the unpleasant things too, on a real control plane.

What the real one does was read in its source (resource_openstack_compute_instance_v2.go, 3.4).
"""

import hashlib
import json
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from tests.openstack.harness import CHECKOUT, Lab, Project, Terraform, until

NODE = "openstack_compute_instance_v2.node"
PROBE = """
resource "openstack_compute_instance_v2" "node" {
  for_each    = { probe = var.nodes.probe }
  name        = each.key
  image_id    = each.value.image_id
  flavor_id   = each.value.flavor_id
  key_pair    = var.base.key_pair
  user_data   = "#cloud-config\\n# secret-word\\n"
  config_drive = true
  network {
    uuid        = var.base.network_id
    fixed_ip_v4 = each.value.address
  }
}
"""
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIWzY0nOYMmIJ0jA7vHhUPJm6UxFyhVQWmCDR7nLKVXJ"

# The tests' own tools are tested before a release: `make test-all`.
pytestmark = pytest.mark.slow


class World:
    """A network in a project, and the nodes' module."""

    def __init__(self, project: Project) -> None:
        self.project, self.count = project, 0
        network = project.cloud.network
        net = network.create_network(name="manners")
        network.create_subnet(name="manners", network_id=net.id, ip_version=4, cidr=project.lab.subnet)
        project.cloud.compute.create_keypair(name="key", public_key=KEY)
        project.cloud.compute.create_keypair(name="other", public_key=KEY)
        self.base = {"network_id": net.id, "key_pair": "key", "security_groups": ["default"]}
        self.last = 0

    def node(self, **values: str) -> dict[str, str]:
        """Return an entry of `nodes`; each has an address of its own."""
        self.last += 1
        tiny, image = self.project.flavor("lab.tiny"), self.project.image("lab-base")
        entry = {"pool": "p", "image": "lab-base", "image_id": image, "flavor": "lab.tiny", "flavor_id": tiny}
        address = f"{self.project.lab.network}.1.{self.last}"
        return entry | {"zone": "", "address": address, "operation": "o", "shard": "s"} | values

    def nodes(self, *names: str, **values: str) -> Terraform:
        """Lay the nodes' module out with some nodes."""
        self.count += 1
        return Terraform(
            self.project,
            CHECKOUT / "terraform_ohpc/nodes",
            f"state{self.count}",
            {
                "cluster": "c",
                "cloud": {"cloud": "test"},
                "base": self.base,
                "nodes": {name: self.node(**values) for name in names},
            },
        )


@pytest.fixture(scope="module")
def world(project: Project) -> World:
    """The network and keys that all tests share."""
    return World(project)


@pytest.fixture(scope="module")
def steady(world: World) -> Terraform:
    """A state with the node n1, up; each test leaves it up, and as the variables say."""
    made = world.nodes("n1")
    made.apply()
    return made


@pytest.fixture
def doomed(world: World) -> Iterator[Terraform]:
    """A state with the node d1, up, for tests that break it."""
    made = world.nodes("d1")
    made.apply()
    yield made
    compute = world.project.cloud.compute  # not with Terraform: some tests leave it unable to
    for server in compute.servers(name="^d1$"):
        compute.delete_server(server)
    until(lambda: not list(compute.servers(name="^d1$")))


def server_of(state: Terraform, name: str = "n1") -> str:
    """Return the server's id as the state has it."""
    return str(state.instances()[name]["attributes"]["id"])


def errors(state: Terraform, *argv: str) -> list[dict[str, Any]]:
    """Apply, and return the error diagnostics of Terraform's JSON."""
    out = state.run("apply", "-auto-approve", "-input=false", "-json", *argv, rc=1)
    lines = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
    return [line["diagnostic"] for line in lines if line.get("diagnostic", {}).get("severity") == "error"]


def test_nothing_to_do_after_an_apply(steady: Terraform) -> None:
    """And the state has what the cloud says."""
    assert steady.changes() == {}
    attributes = steady.instances()["n1"]["attributes"]
    assert attributes["image_name"] == "lab-base" and attributes["flavor_name"] == "lab.tiny"
    assert attributes["access_ip_v4"] == attributes["network"][0]["fixed_ip_v4"]
    assert sorted(attributes["all_tags"]) == sorted(attributes["tags"])


def test_import_leaves_out_what_the_cloud_does_not_tell(steady: Terraform) -> None:
    """An imported node is no replacement; what has a default of false is an update."""
    server = server_of(steady)
    steady.run("state", "rm", f'{NODE}["n1"]')
    steady.run("import", f'{NODE}["n1"]', server)
    attributes = steady.instances()["n1"]["attributes"]
    for name in ("user_data", "config_drive", "force_delete", "stop_before_destroy"):
        assert attributes[name] is None, name
    assert not attributes["tags"] and "cluster=c" in attributes["all_tags"]
    ((_, change),) = steady.changes().items()
    assert change["actions"] == ["update"]
    differ = {key for key in change["after"] if change["before"][key] != change["after"][key]}
    assert differ == {"force_delete", "stop_before_destroy", "timeouts"}
    steady.apply()
    assert steady.changes() == {} and server_of(steady) == server


def test_import_with_user_data_plans_a_replacement(world: World) -> None:
    """user_data and config_drive are not read back; user_data is stored as a hash."""
    state = world.nodes("probe")
    main = (state.directory / "main.tf").read_text()
    (state.directory / "main.tf").write_text(main[: main.index('resource "')] + PROBE)
    state.apply()
    assert state.changes() == {}
    text = (state.directory / "terraform.tfstate").read_text()
    assert hashlib.sha1(b"#cloud-config\n# secret-word\n").hexdigest() in text
    assert "secret-word" not in text and world.project.password not in text
    server = server_of(state, "probe")
    state.run("state", "rm", f'{NODE}["probe"]')
    state.run("import", f'{NODE}["probe"]', server)
    ((_, change),) = state.changes().items()
    assert change["actions"] == ["delete", "create"]
    assert sorted(map(str, change["replace_paths"])) == ["['config_drive']", "['user_data']"]
    state.run("destroy", "-auto-approve")


@pytest.mark.parametrize("what", ["address", "key"])
def test_network_and_key_force_a_replacement(world: World, steady: Terraform, what: str) -> None:
    """An address or a key pair can't be changed in place."""
    before = dict(steady.variables)
    if what == "address":
        steady.write(nodes={"n1": world.node()})
    else:
        steady.write(base=world.base | {"key_pair": "other"})
    ((_, change),) = steady.changes().items()
    steady.write(**before)
    assert change["actions"] == ["delete", "create"]
    assert change["replace_paths"] == [["network", 0, "fixed_ip_v4"] if what == "address" else ["key_pair"]]


def test_rebuild_and_resize_in_place(world: World, steady: Terraform) -> None:
    """The server keeps its id; only the one attribute is planned to change."""
    server, project = server_of(steady), world.project
    entry = dict(steady.variables["nodes"]["n1"])
    for name, value in (
        ("image_id", project.image("lab-base-2")),
        ("flavor_id", project.flavor("lab.small")),
    ):
        entry[name] = value
        steady.write(nodes={"n1": entry})
        ((_, change),) = steady.changes().items()
        assert change["actions"] == ["update"]
        assert {key for key in change["after"] if change["before"][key] != change["after"][key]} == {name}
        steady.apply()
        assert steady.changes() == {}
        assert server_of(steady) == server and project.status(server) == "ACTIVE"
    attributes = steady.instances()["n1"]["attributes"]
    assert (attributes["image_name"], attributes["flavor_name"]) == ("lab-base-2", "lab.small")


@pytest.mark.parametrize("status", ["REBOOT", "REBUILD", "SUSPENDED", "VERIFY_RESIZE"])
def test_refresh_fails_in_some_states(lab: Lab, world: World, steady: Terraform, status: str) -> None:
    """So one such server stops the plan of its whole state."""
    server, compute, project = server_of(steady), world.project.cloud.compute, world.project
    slow = {"name": "n1", "delay": 12}
    entry = dict(steady.variables["nodes"]["n1"])
    other = project.flavor("lab.medium")
    with lab.faults({"op": "reboot", **slow}, {"op": "spawn", **slow}):
        if status == "REBOOT":
            compute.reboot_server(server, "SOFT")
        elif status == "REBUILD":
            compute.rebuild_server(server, image=entry["image_id"])
        elif status == "SUSPENDED":
            compute.suspend_server(server)
        else:
            compute.resize_server(server, other)
        until(lambda: project.status(server) == status, what=status)
        out = steady.run("plan", "-input=false", rc=1)
        assert f"Invalid power_state for instance {server}: {status}" in " ".join(out.split())
    if status == "SUSPENDED":
        compute.resume_server(server)
    elif status == "VERIFY_RESIZE":
        compute.confirm_server_resize(server)
        steady.write(nodes={"n1": entry | {"flavor_id": other}})
    until(lambda: project.status(server) == "ACTIVE")
    assert steady.changes() == {}


def test_server_that_is_off_is_a_difference(world: World, steady: Terraform) -> None:
    """It is started in place."""
    server, project = server_of(steady), world.project
    project.cloud.compute.stop_server(server)
    until(lambda: project.status(server) == "SHUTOFF")
    ((_, change),) = steady.changes().items()
    assert change["actions"] == ["update"] and change["before"]["power_state"] == "shutoff"
    steady.apply()
    assert project.status(server) == "ACTIVE" and steady.changes() == {}


def test_a_flavor_that_was_deleted_would_replace_its_servers(world: World) -> None:
    """The cloud can't say what it was, and Nova can't resize such a server."""
    admin, project = world.project.admin.compute, world.project
    flavor = admin.create_flavor(name="manners.gone", ram=512, vcpus=1, disk=1)
    state = world.nodes("f1", flavor="manners.gone", flavor_id=flavor.id)
    try:
        state.apply()
        assert state.changes() == {}
    finally:
        admin.delete_flavor(flavor)
    ((_, change),) = state.changes().items()
    assert change["actions"] == ["delete", "create"]
    assert (change["before"]["flavor_id"], change["after"]["flavor_id"]) == ("", flavor.id)
    assert project.status(server_of(state, "f1")) == "ACTIVE"
    state.run("destroy", "-auto-approve")


def test_server_deleted_behind_our_back_is_to_be_created(world: World, doomed: Terraform) -> None:
    """A refresh forgets it."""
    project, server = world.project, server_of(doomed, "d1")
    project.cloud.compute.delete_server(server)
    until(lambda: project.status(server) == "DELETED")
    ((_, change),) = doomed.changes().items()
    assert change["actions"] == ["create"]


def test_delete_of_a_server_in_error_reports_an_error(lab: Lab, world: World, doomed: Terraform) -> None:
    """Nova has accepted it, and the server goes."""
    server, project = server_of(doomed, "d1"), world.project
    project.admin.compute.reset_server_state(server, "error")
    doomed.write(nodes={})
    with lab.faults({"op": "destroy", "name": "d1", "delay": 6}):
        (error,) = errors(doomed)
    assert "unexpected state 'ERROR', wanted target 'DELETED, SOFT_DELETED'" in error["summary"]
    assert server in error["summary"] and "address" not in error  # Terraform: it is in no configuration
    assert server_of(doomed, "d1") == server
    until(lambda: project.status(server) == "DELETED")
    doomed.run("refresh")
    assert doomed.instances() == {}


def test_locked_server_is_left_alone(world: World, steady: Terraform) -> None:
    """Whoever locked it has a reason; the cloud refuses, and nothing is lost from the state."""
    server, project = server_of(steady), world.project
    project.cloud.compute.lock_server(server)
    before = steady.variables["nodes"]
    steady.write(nodes={})
    (error,) = errors(steady)
    assert "got 409 instead" in error["summary"] and "locked" in error["summary"]
    assert server_of(steady) == server and project.status(server) == "ACTIVE"
    project.cloud.compute.unlock_server(server)
    steady.write(nodes=before)


def test_failed_rebuild_leaves_the_new_image_in_the_state(lab: Lab, world: World, doomed: Terraform) -> None:
    """The state tells what was wanted, until it is refreshed from a server that tells the same."""
    newer = world.project.image("lab-base-2")
    doomed.write(nodes={"d1": doomed.variables["nodes"]["d1"] | {"image_id": newer}})
    with lab.faults({"op": "spawn", "name": "d1", "error": "abort"}):
        (error,) = errors(doomed)
    assert "to rebuild: unexpected state 'ERROR', wanted target 'ACTIVE, SHUTOFF'" in error["summary"]
    assert doomed.instances()["d1"]["attributes"]["image_id"] == newer
    assert world.project.status(server_of(doomed, "d1")) == "ERROR"


def test_interrupted_creation_is_tainted_and_never_forgotten(lab: Lab, world: World) -> None:
    """SIGINT: Terraform ends soon, and the server that goes on booting is in the state."""
    state = world.nodes("int1")
    with lab.faults({"op": "spawn", "name": "int1", "delay": 15}):
        process = state.start("apply", "-auto-approve", "-input=false")
        (server,) = until(lambda: list(world.project.cloud.compute.servers(name="^int1$")))
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=12)
    assert process.returncode == 1 and "context canceled" in out
    entry = state.instances()["int1"]
    assert entry["status"] == "tainted" and entry["attributes"]["id"] == server.id
    until(lambda: world.project.status(server.id) == "ACTIVE")
    ((_, change),) = state.changes().items()
    assert change["actions"] == ["delete", "create"]
    state.run("destroy", "-auto-approve")


def test_more_than_ten_creations_at_once(lab: Lab, world: World) -> None:
    """One worker for each: the last is asked for before the first is up."""
    names = [f"many{number}" for number in range(12)]
    state = world.nodes(*names)
    with lab.faults({"op": "spawn", "name": "^many", "delay": 15}):
        process = state.start("apply", "-auto-approve", "-input=false", "-parallelism=64")
        compute = world.project.cloud.compute
        until(lambda: [server.status for server in compute.servers(name="^many")] == ["BUILD"] * 12)
        out, _ = process.communicate(timeout=500)
    assert process.returncode == 0, out
    assert state.changes() == {}
    state.write(nodes={})
    state.apply()


def test_errors_are_the_clouds_words(world: World) -> None:
    """A refusal says why and is nowhere in the state; a server that Nova could not place is tainted."""
    state, project = world.nodes("q1"), world.project
    project.quota(instances=0)
    (error,) = errors(state)
    project.quota(instances=100)
    assert "Error creating OpenStack server: Expected HTTP response code" in error["summary"]
    assert "got 403 instead" in error["summary"] and "Quota exceeded for instances" in error["summary"]
    assert error["address"] == f'{NODE}["q1"]'
    assert state.instances() == {}

    huge = project.admin.compute.create_flavor(name=f"huge-{project.name}", vcpus=900, ram=512, disk=1)
    state.write(nodes={"q1": world.node(flavor_id=huge.id)})
    (error,) = errors(state)
    project.admin.compute.delete_flavor(huge)
    assert "to become ready: unexpected state 'ERROR', wanted target 'ACTIVE'" in error["summary"]
    assert state.instances()["q1"]["status"] == "tainted"
    fault = project.cloud.compute.get_server(server_of(state, "q1")).fault["message"]
    assert "No valid host was found" in fault
    state.write(nodes={})
    state.apply()


def test_application_credential_and_rc_variables(world: World) -> None:
    """Credentials come from the environment; none is in the module, the state or an argument."""
    project, state = world.project, world.nodes("cred1")
    identity, user = project.cloud.identity, project.cloud.current_user_id
    secret = identity.create_application_credential(user=user, name="engine", roles=[{"name": "member"}])
    state.write(cloud={})
    del state.environment["OS_CLIENT_CONFIG_FILE"]
    state.environment |= {
        "OS_AUTH_TYPE": "v3applicationcredential",
        "OS_AUTH_URL": project.config["auth"]["auth_url"],
        "OS_APPLICATION_CREDENTIAL_ID": secret.id,
        "OS_APPLICATION_CREDENTIAL_SECRET": secret.secret,
        "OS_REGION_NAME": "RegionOne",
    }
    state.apply()
    auth = project.config["auth"]
    for name in list(state.environment):
        if name.startswith("OS_"):
            del state.environment[name]
    state.environment |= {
        "OS_AUTH_URL": auth["auth_url"],
        "OS_USERNAME": auth["username"],
        "OS_PASSWORD": auth["password"],
        "OS_PROJECT_NAME": auth["project_name"],
        "OS_USER_DOMAIN_NAME": "Default",
        "OS_PROJECT_DOMAIN_NAME": "Default",
        "OS_REGION_NAME": "RegionOne",
        "OS_IDENTITY_API_VERSION": "3",
    }
    assert state.changes() == {}
    for file in state.directory.rglob("*"):
        if file.is_file() and ".terraform" not in file.parts:
            text = file.read_bytes()
            assert secret.secret.encode() not in text and project.password.encode() not in text, file
    state.run("destroy", "-auto-approve")
    identity.delete_application_credential(user, secret)
