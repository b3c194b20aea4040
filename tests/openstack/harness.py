"""The lab, projects in it, and Terraform's directories for tests on OpenStack."""

import contextlib
import functools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import openstack
import yaml

from tests.e2e.guests import CHECKOUT, guest_image
from tests.evidence import Evidence, tail

LAB = CHECKOUT / "tests/openstack/lab"
BEGIN, END = "-----BEGIN SSH HOST KEY KEYS-----", "-----END SSH HOST KEY KEYS-----"


def until(look: Callable[[], Any], seconds: float = 60, what: str = "") -> Any:
    """Return what `look` returns as soon as it is true."""
    end = time.monotonic() + seconds
    while not (seen := look()):
        assert time.monotonic() < end, f"timed out after {seconds:g} s, waiting for this: {what or look}"
        time.sleep(0.2)
    return seen


def clean_environment() -> dict[str, str]:
    """Return our environment without anybody's cloud in it."""
    return {name: of for name, of in os.environ.items() if not name.startswith(("OS_", "TF_", "OSLAB_"))}


class Lab:
    """A real control plane with containers as guests; lanes run beside each other."""

    def __init__(self, directory: Path, lane: int) -> None:
        self.directory, self.state = directory, directory / "state"
        self.network = f"10.{160 + lane}"
        self.environment = clean_environment() | {
            "OSLAB_DIR": str(directory),
            "OSLAB_BRIDGE": f"br-sps-lab{lane}",
            "OSLAB_SUBNET": self.subnet,
            "OSLAB_PORT_OFFSET": str(lane * 100),
            "OSLAB_HOOK": str(LAB / "guests/hook"),
        }

    @property
    def subnet(self) -> str:
        """The guests' subnet; its first address is this machine's."""
        return f"{self.network}.0.0/16"

    def run(self, script: str, *argv: str, **settings: str) -> None:
        """Run one of the lab's scripts, with more settings in its environment."""
        env = self.environment | settings
        done = subprocess.run([LAB / script, *argv], env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{script}: {done.stdout[-2000:]}{done.stderr[-2000:]}"

    def up(self) -> None:
        """Install what is missing, and start."""
        guest_image()
        self.run("install")
        self.run("up")

    def remove(self) -> None:
        """Stop everything and forget it."""
        self.run("down", "--wipe")
        shutil.rmtree(self.directory, ignore_errors=True)

    def errors(self) -> str:
        """Return the newest errors and warnings of each service's log."""
        found = []
        for log in sorted((self.state / "log").glob("*.log")):
            lines = tail(log, 400).splitlines()
            bad = [
                line[:400]
                for line in lines
                if " ERROR " in line or " WARNING " in line or "Traceback" in line
            ]
            found += [f"{log.name}: {line}" for line in bad[-5:]]
        return "\n".join(found) or "none"

    def connect(self, cloud: str = "lab-admin") -> Any:
        """Return a connection as one of the lab's own users."""
        clouds = yaml.safe_load((self.state / "clouds.yaml").read_text())["clouds"]
        return connection(clouds[cloud])

    @contextlib.contextmanager
    def faults(self, *rules: dict[str, Any]) -> Iterator[None]:
        """Have operations fail or take long (plugins/nova_virt/oslab.py) in this block."""
        path = self.state / "faults.json"
        path.with_name("faults.json.fired").unlink(missing_ok=True)
        path.write_text(json.dumps(rules))
        try:
            yield
        finally:
            path.unlink()

    @contextlib.contextmanager
    def soft_delete(self) -> Iterator[None]:
        """Have Nova keep the servers that are deleted in this block, with their addresses."""
        self._start_nova_api_anew(OSLAB_SOFT_DELETE="86400")
        try:
            yield
        finally:
            self._start_nova_api_anew()

    def _start_nova_api_anew(self, **settings: str) -> None:
        pid = int((self.state / "pid/nova-api").read_text().split()[0])
        os.killpg(pid, signal.SIGKILL)
        until(lambda: not _runs(pid), what="nova-api to end")
        self.run("up", **settings)

    @contextlib.contextmanager
    def project(self) -> Iterator["Project"]:
        """Make a project with a user; remove it with all that is in it."""
        made = Project(self)
        try:
            yield made
        finally:
            made.remove()


def _runs(pid: int) -> bool:
    """Tell whether a process runs: one that nobody has waited for yet does not (proc_pid_stat(5))."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except FileNotFoundError:
        return False


def connection(config: dict[str, Any]) -> Any:
    """Connect with an entry of clouds.yaml, and with nothing else."""
    return openstack.connect(load_yaml_config=False, load_envvars=False, **config)


class Project:
    """A project that is ours alone."""

    def __init__(self, lab: Lab) -> None:
        self.lab, self.name = lab, f"t{uuid.uuid4().hex[:8]}"
        self.admin = lab.connect()
        identity = self.admin.identity
        password = uuid.uuid4().hex
        self.project = identity.create_project(name=self.name, domain_id="default")
        self.user = identity.create_user(name=self.name, password=password, domain_id="default")
        identity.assign_project_role_to_user(self.project, self.user, identity.find_role("member"))
        admin = yaml.safe_load((lab.state / "clouds.yaml").read_text())["clouds"]["lab-admin"]
        auth = admin["auth"] | {"username": self.name, "password": password, "project_name": self.name}
        self.password, self.config = password, admin | {"auth": auth}
        self.directory = lab.directory / "projects" / self.name
        self.directory.mkdir(mode=0o700, parents=True)
        self.clouds_yaml = self.directory / "clouds.yaml"
        self.clouds_yaml.write_text(yaml.safe_dump({"clouds": {"test": self.config}}))
        self.clouds_yaml.chmod(0o600)
        self.quota(instances=100, cores=1000, ram=4_000_000)
        self.cloud = connection(self.config)

    def quota(self, **limits: int) -> None:
        """Set limits of Nova, below what is in use, too."""
        self.admin.compute.update_quota_set(self.project, force=True, **limits)

    def evidence(self) -> Evidence:
        """What a test that has failed tells of this project."""
        return {"servers": self.servers, "errors and warnings of the services": self.lab.errors}

    def servers(self) -> str:
        """Return each server's state, and Nova's words about what went wrong with it."""
        lines = []
        for server in self.cloud.compute.servers():
            fault = (getattr(server, "fault", None) or {}).get("message", "")
            lines.append(f"{server.name} {server.id} {server.status} {server.task_state or ''} {fault}")
        return "\n".join(lines) or "none"

    def left(self) -> dict[str, list[str]]:
        """Name all that is in the project, by kind; kinds without anything are left out."""
        cloud, network = self.cloud, self.cloud.network
        of = {"project_id": self.project.id}
        found = {
            "servers": [server.name for server in cloud.compute.servers()],
            "key pairs": [pair.name for pair in cloud.compute.keypairs()],
            "server groups": [group.name for group in cloud.compute.server_groups()],
            "ports": [port.id for port in network.ports(**of)],
            "networks": [net.name for net in network.networks(**of)],
            "subnets": [subnet.name for subnet in network.subnets(**of)],
            "routers": [router.name for router in network.routers(**of)],
            "floating IPs": [ip.floating_ip_address for ip in network.ips(**of)],
            "security groups": [
                group.name for group in network.security_groups(**of) if group.name != "default"
            ],
        }
        return {kind: names for kind, names in found.items() if names}

    def remove(self) -> None:
        """Delete everything, the project too."""
        cloud, network, of = self.cloud, self.cloud.network, {"project_id": self.project.id}
        for server in cloud.compute.servers():
            cloud.compute.delete_server(server, force=True)
        until(lambda: not list(cloud.compute.servers()), what="servers to go")
        for ip in network.ips(**of):
            network.delete_ip(ip)
        for router in network.routers(**of):
            for port in network.ports(device_id=router.id):
                network.remove_interface_from_router(router, port_id=port.id)
            network.delete_router(router)
        for port in network.ports(**of):
            network.delete_port(port)
        for net in network.networks(**of):
            network.delete_network(net)
        for group in network.security_groups(**of):
            if group.name != "default":
                network.delete_security_group(group)
        for pair in cloud.compute.keypairs():
            cloud.compute.delete_keypair(pair)
        for group in cloud.compute.server_groups():
            cloud.compute.delete_server_group(group)
        self.admin.identity.delete_user(self.user)
        self.admin.identity.delete_project(self.project)

    def image(self, name: str) -> str:
        """Return an image's id."""
        return str(self.cloud.image.find_image(name, ignore_missing=False).id)

    def flavor(self, name: str) -> str:
        """Return a flavor's id."""
        return str(self.cloud.compute.find_flavor(name, ignore_missing=False).id)

    def status(self, server_id: str) -> str:
        """Return a server's status; DELETED when it is gone."""
        found = self.cloud.compute.find_server(server_id)
        return str(found.status) if found else "DELETED"

    def host_key(self, server_id: str) -> str:
        """Return the host key that a server showed on its console."""
        console = str(self.cloud.compute.get_server_console_output(server_id)["output"])
        if END not in console:
            return ""
        block = console.rpartition(END)[0].rpartition(BEGIN)[2]
        return next(line.strip() for line in block.splitlines() if line.startswith("ssh-"))


class Ssh:
    """A key, and logins with host keys that came over the console."""

    def __init__(self, directory: Path) -> None:
        self.directory, self.key = directory, directory / "id"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.key], check=True)
        self.public = self.key.with_suffix(".pub").read_text().strip()

    def run(self, address: str, host_key: str, command: str, given: bytes = b"") -> str:
        """Run a command, with something on its standard input; the host must have that very key."""
        known = self.directory / "known_hosts"
        known.write_text(f"{address} {host_key}\n")
        options = ["-i", str(self.key), "-oBatchMode=yes", f"-oUserKnownHostsFile={known}"]
        options += ["-oGlobalKnownHostsFile=/dev/null", "-oStrictHostKeyChecking=yes", "-oConnectTimeout=10"]
        argv = ["ssh", "-F", "/dev/null", *options, f"root@{address}", command]
        done = subprocess.run(argv, input=given, capture_output=True, check=False)
        assert done.returncode == 0, (done.stdout[-2000:], done.stderr[-2000:])
        return done.stdout.decode(errors="replace").strip()


class Terraform:
    """A root module in a directory, with its variables in a file, as the engine has them."""

    def __init__(self, project: Project, module: Path, name: str, variables: dict[str, Any]) -> None:
        self.project, self.directory = project, project.directory / name
        self.directory.mkdir()
        for source in module.glob("*.tf"):
            (self.directory / source.name).write_text(source.read_text())
        self.variables = variables
        rc = mirror(project.lab.directory / "mirror")
        self.environment = clean_environment() | {
            "TF_CLI_CONFIG_FILE": str(rc),
            "TF_IN_AUTOMATION": "1",
            "OS_CLIENT_CONFIG_FILE": str(project.clouds_yaml),
        }
        self.write()
        self.run("init", "-input=false")

    def write(self, **changes: Any) -> None:
        """Change variables."""
        self.variables |= changes
        (self.directory / "test.auto.tfvars.json").write_text(json.dumps(self.variables))

    def start(self, *argv: str) -> "subprocess.Popen[str]":
        """Start Terraform."""
        return subprocess.Popen(
            ["terraform", *argv, "-no-color"],
            cwd=self.directory,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, *argv: str, rc: int = 0) -> str:
        """Run Terraform to its end."""
        process = self.start(*argv)
        out, _ = process.communicate(timeout=600)
        assert process.returncode == rc, f"terraform {' '.join(argv)}: {process.returncode}\n{out}"
        return out

    def apply(self, *argv: str, rc: int = 0) -> str:
        """Apply."""
        return self.run("apply", "-auto-approve", "-input=false", "-parallelism=64", *argv, rc=rc)

    def changes(self) -> dict[str, dict[str, Any]]:
        """Plan; return what would change, by address."""
        self.run("plan", "-input=false", "-out=plan")
        plan = json.loads(self.run("show", "-json", "plan"))
        return {
            change["address"]: change["change"]
            for change in plan.get("resource_changes", [])
            if change["change"]["actions"] not in (["no-op"], ["read"])
        }

    def output(self, name: str) -> Any:
        """Return an output."""
        return json.loads(self.run("output", "-json", name))

    def instances(self, kind: str = "openstack_compute_instance_v2") -> dict[str, dict[str, Any]]:
        """Return the state's entries of a type by key, as they stand in the file: status, attributes."""
        state = json.loads((self.directory / "terraform.tfstate").read_text())
        return {
            str(entry.get("index_key", resource["name"])): entry
            for resource in state["resources"]
            if resource["type"] == kind and resource["mode"] == "managed"
            for entry in resource["instances"]
        }


@functools.cache
def mirror(directory: Path) -> Path:
    """Write the providers' mirror; return Terraform's CLI configuration."""
    argv = [sys.executable, CHECKOUT / "tests/openstack/provider/mirror", directory]
    return Path(subprocess.run(argv, check=True, capture_output=True, text=True).stdout.strip())
