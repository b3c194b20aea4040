"""The lab's guests do what servers do: what the other tests on OpenStack rest on."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from slurm_powersave.adapters.ansible.playbooks import answers
from tests.e2e.guests import MAIN_SLURM
from tests.openstack.harness import Project, Ssh, until

# The tests' own tools are tested before a release: `make test-all`.
pytestmark = pytest.mark.slow


@dataclass
class Guest:
    """A server with SSH."""

    project: Project
    ssh: Ssh
    network: str
    id: str
    address: str

    def run(self, command: str) -> str:
        """Run a command, with the host key that the console shows now."""
        key = until(lambda: self.project.host_key(self.id), what="host key")
        until(lambda: answers(self.address), what="sshd")  # its keys are on the console before it listens
        return self.ssh.run(self.address, key, command)

    def wait(self, status: str = "ACTIVE") -> None:
        """Wait for a status with nothing under way."""

        def settled() -> bool:
            found: Any = self.project.cloud.compute.get_server(self.id)
            return bool(found.status == status and not found.task_state)

        until(settled, what=status)


@pytest.fixture(scope="module")
def guest(project: Project, ssh: Ssh) -> Iterator[Guest]:
    """One server."""
    cloud, subnet = project.cloud, project.lab.subnet
    network = cloud.network.create_network(name="lab")
    cloud.network.create_subnet(name="lab", network_id=network.id, ip_version=4, cidr=subnet)
    cloud.compute.create_keypair(name="key", public_key=ssh.public)
    yield boot(project, ssh, network.id, 1, project.image("lab-base"))


def boot(project: Project, ssh: Ssh, network: str, number: int, image: str) -> Guest:
    """Make a server."""
    address = f"{project.lab.network}.1.{number}"
    made = project.cloud.compute.create_server(
        name=f"g{number}",
        image_id=image,
        flavor_id=project.flavor("lab.tiny"),
        key_name="key",
        networks=[{"uuid": network, "fixed_ip": address}],
    )
    guest = Guest(project, ssh, network, made.id, address)
    guest.wait()
    return guest


def test_guest_is_the_server(guest: Guest) -> None:
    """Name, address, image and Slurm."""
    assert guest.run("hostname") == "g1"
    assert guest.address in guest.run("ip -4 address show host0")
    assert guest.run("cat /etc/openstack-image") == guest.project.image("lab-base")
    assert guest.run("slurmd -V").startswith(f"slurm-wlm {MAIN_SLURM}")


def test_reboot_keeps_the_disk_and_is_a_boot(guest: Guest) -> None:
    """Slurm believes a node only if it booted after it was asked to."""
    guest.run("touch /kept")
    before = int(guest.run("date +%s"))
    guest.project.cloud.compute.reboot_server(guest.id, "HARD")
    guest.wait()
    booted = until(lambda: guest.run("awk '/^btime/ {print $2}' /proc/stat"))
    assert int(booted) >= before
    assert guest.run("ls /kept") == "/kept"


def test_snapshot_holds_the_disk(guest: Guest) -> None:
    """A server from it has what was there."""
    guest.run("echo prepared > /etc/prepared")
    compute = guest.project.cloud.compute
    image = compute.create_server_image(guest.id, f"snap-{guest.project.name}", wait=True, timeout=60)
    other = boot(guest.project, guest.ssh, guest.network, 2, image.id)
    assert other.run("cat /etc/prepared") == "prepared"
    assert other.run("cat /etc/openstack-image") == image.id
    compute.delete_server(other.id)
    until(lambda: guest.project.status(other.id) == "DELETED")
    guest.project.cloud.image.delete_image(image.id)


def test_failed_boot_is_the_servers_fault(guest: Guest) -> None:
    """A fault that was ordered ends as ERROR with Nova's words."""
    with guest.project.lab.faults({"op": "spawn", "name": "^g3$", "error": "abort"}):
        made = guest.project.cloud.compute.create_server(
            name="g3",
            image_id=guest.project.image("lab-base"),
            flavor_id=guest.project.flavor("lab.tiny"),
            networks=[{"uuid": guest.network}],
        )
        until(lambda: guest.project.status(made.id) == "ERROR")
    fault = guest.project.cloud.compute.get_server(made.id).fault["message"]
    assert "asked for by a rule" in fault
    guest.project.cloud.compute.delete_server(made.id)
