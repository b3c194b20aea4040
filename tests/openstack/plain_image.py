"""An image as clouds have it: no munge, no Slurm, and package lists that are empty."""

from slurm_powersave.adapters.ansible.playbooks import answers
from tests.e2e.guest_packages import GUEST, SOURCE, archive, packages, unpack
from tests.e2e.guests import guest_image
from tests.openstack.harness import Project, Ssh, until

_SLURM = ["munge", "slurm-client", "slurmctld", "slurmd"]
_CLEAN = (
    "rm -rf /var/lib/apt/lists/* /etc/apt/sources.list.d/* /etc/ssh/ssh_host_* /root/.ssh/authorized_keys"
    " && : >/etc/machine-id && sync"
)


def make(project: Project, ssh: Ssh, name: str) -> None:
    """Make the image of a server that has lost them.

    Its apt is told where they are, and has not looked yet. Debian's cloud images have apt's Python library
    (unattended-upgrades needs it), and so has this one.
    """
    cloud, address = project.cloud, f"{project.lab.network}.0.30"
    network = cloud.network.create_network(name=name)
    cloud.network.create_subnet(name=name, network_id=network.id, ip_version=4, cidr=project.lab.subnet)
    cloud.compute.create_keypair(name=name, public_key=ssh.public)
    server = cloud.compute.create_server(
        name=name,
        image_id=project.image("lab-base"),
        flavor_id=project.flavor("lab.tiny"),
        key_name=name,
        networks=[{"uuid": network.id, "fixed_ip": address}],
    )
    until(lambda: project.status(server.id) == "ACTIVE")  # its guest answers before that
    key = until(lambda: project.host_key(server.id), what="host key")
    until(lambda: answers(address), what="sshd")
    given = archive(packages(guest_image(), [*_SLURM, "python3-apt"]))
    ssh.run(address, key, f"{unpack(GUEST)} && {SOURCE} && rm -rf /etc/apt/sources.list.d/*", given)
    ssh.run(address, key, "apt-get -qq update && apt-get -qq install --yes python3-apt")
    ssh.run(address, key, f"dpkg --purge {' '.join(_SLURM)} && {_CLEAN}")
    cloud.compute.create_server_image(server.id, name, wait=True, timeout=60)
    cloud.compute.delete_server(server)
    until(lambda: project.status(server.id) == "DELETED")
    cloud.compute.delete_keypair(name)
    cloud.network.delete_network(network)
