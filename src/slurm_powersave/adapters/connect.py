"""From the cluster file to the adapters that it names."""

import hashlib
from dataclasses import replace
from functools import partial
from pathlib import Path

from slurm_powersave.adapters.ansible import playbooks as playbooks_adapter
from slurm_powersave.adapters.ansible import project
from slurm_powersave.adapters.ansible.image_plays import AnsibleImagePlays
from slurm_powersave.adapters.ansible.playbooks import SSH_PORT, AnsiblePlaybooks, Hooks, Site
from slurm_powersave.adapters.local_cloud.cloud import LocalCloud
from slurm_powersave.adapters.local_cloud.images import LocalImageCloud
from slurm_powersave.adapters.openstack import credentials
from slurm_powersave.adapters.openstack.cloud import OpenStackCloud
from slurm_powersave.adapters.openstack.images import OpenStackImageCloud
from slurm_powersave.adapters.processes.process import run
from slurm_powersave.adapters.requests.stream import StreamIntake
from slurm_powersave.adapters.slurm.commands import (
    ScontrolSlurm,
    forgiving,
    largest_answer,
    local_shell,
    ssh_shell,
)
from slurm_powersave.adapters.ssh import sockets
from slurm_powersave.adapters.state_dir import own_files
from slurm_powersave.adapters.terraform.base import State
from slurm_powersave.adapters.terraform.command import Command
from slurm_powersave.adapters.terraform.shards import Module, ShardedTerraform
from slurm_powersave.adapters.terraform.state_file import outputs
from slurm_powersave.config.fields import split_jump
from slurm_powersave.config.layout import HOOKS
from slurm_powersave.config.settings import Cluster
from slurm_powersave.decide.slurm_files import ssh_options
from slurm_powersave.model.errors import ConfigError
from slurm_powersave.ports.cloud import Cloud
from slurm_powersave.ports.images import ImageCloud
from slurm_powersave.ports.terraform import ModuleVersions

_JUMP_SECONDS = 10.0


def _ssh(cluster: Cluster) -> list[str]:
    """Return ssh to the slurmctld host, without user and address: known keys only, no question ever asked."""
    layout = cluster.layout
    ssh = ssh_options.argv(layout.known_hosts, layout.private_key)
    return [*ssh, *ssh_options.through(cluster.login.jump, layout)]


def _target(cluster: Cluster) -> str:
    return f"{cluster.login.user}@{cluster.login.address}"


def _become(cluster: Cluster) -> list[str]:
    return [] if cluster.login.user == "root" else ["sudo", "-n"]


def _sockets(cluster: Cluster) -> Path:
    return sockets.directory(cluster.layout.root, cluster.layout.sockets)


def login_argv(cluster: Cluster) -> list[str]:
    """Return what goes before a command that is to run as root on the slurmctld host, once."""
    if cluster.login.connection == "local":
        return []
    return [*_ssh(cluster), "-oControlPath=none", _target(cluster), *_become(cluster)]


def answers(cluster: Cluster, address: str) -> bool:
    """Tell whether an sshd answers there with its banner; the login node's through the jump host, if any."""
    login = cluster.login
    if not login.jump or address != login.address:
        return playbooks_adapter.answers(address)
    argv = ssh_options.to_jump(login.jump, cluster.layout, f"{address}:{SSH_PORT}")
    return run(argv, timeout=_JUMP_SECONDS).out.startswith("SSH-")


def jump_is_known(cluster: Cluster) -> bool:
    """Tell whether the jump host's key is in its file; also if there is no jump host."""
    if not cluster.login.jump:
        return True
    _, host, port = split_jump(cluster.login.jump)
    name = host if port == 22 else f"[{host}]:{port}"  # as ssh writes it (sshd(8))
    argv = ["ssh-keygen", "-F", name, "-f", str(cluster.layout.jump_known_hosts)]
    return run(argv, timeout=_JUMP_SECONDS).rc == 0


def slurm(cluster: Cluster) -> ScontrolSlurm:
    """Speak with slurmctld: here, or through one multiplexed connection (20 ms a command, not 200)."""
    names = cluster.nodes()
    bounded = partial(run, limit=largest_answer(len(names)))
    if cluster.login.connection == "local":
        return ScontrolSlurm(forgiving(local_shell(bounded)), known=names)
    digest = hashlib.sha256(str(cluster.state_dir).encode()).hexdigest()[:12]
    control = ["-oControlMaster=auto", "-oControlPersist=60", f"-oControlPath={_sockets(cluster)}/{digest}"]
    ssh = [*_ssh(cluster), *control, _target(cluster)]
    shell = ssh_shell(bounded, ssh, become=" ".join(_become(cluster)))
    return ScontrolSlurm(forgiving(shell), known=names)


def intake(cluster: Cluster) -> StreamIntake:
    """Stream the requests from the slurmctld host, over a connection of its own if it is another one.

    On the same host it is the same reader without ssh: it also keeps fast start's files.
    """
    if cluster.login.connection == "local":
        return StreamIntake([f"{HOOKS}/reader"])
    return StreamIntake([*login_argv(cluster), f"{HOOKS}/reader"])


def command(cluster: Cluster, cloud: str = "") -> Command:
    """How Terraform is called for this cluster, in the states of a cloud."""
    found = Command(cluster.terraform.binary, cluster.terraform.cli_config)
    if cloud in cluster.clouds and cluster.clouds[cloud].adapter == "openstack":
        return replace(found, credentials=credentials.terraform(cluster.clouds[cloud].settings))
    return found


def state(cluster: Cluster, directory: Path) -> State:
    """Work in a Terraform directory of the cluster: that of the network and the login node, or a shard."""
    base = directory == cluster.layout.base
    cloud = cluster.cloud_of(cluster.login) if base else directory.parent.name
    return State(directory, command(cluster, cloud), shard=not base)


def terraform(cluster: Cluster) -> ShardedTerraform:
    """The nodes' states."""
    key_pair = own_files.public_key(cluster)
    home = cluster.cloud_of(cluster.login)
    base = outputs(cluster.layout.base).get("shared") or {}
    modules = {
        name: Module(
            cloud.nodes_module,
            cluster.cluster_name,
            cloud.settings,
            key_pair,
            base if name == home else {},
            command(cluster, name).credentials,
        )
        for name, cloud in cluster.clouds.items()
    }
    return ShardedTerraform(cluster.state_dir, modules, command(cluster))


def module_versions(cluster: Cluster) -> ModuleVersions:
    """The nodes' states, to be asked for the versions of their root modules only: no key is needed."""
    modules = {
        name: Module(cloud.nodes_module, cluster.cluster_name, cloud.settings, "")
        for name, cloud in cluster.clouds.items()
    }
    return ShardedTerraform(cluster.state_dir, modules, command(cluster))


def site(cluster: Cluster) -> Site:
    """Where the plays are, and what they are run with."""
    layout = cluster.layout
    playbooks = project.home() / "playbooks"
    return Site(
        playbooks, layout.inventory, layout.known_hosts, layout.private_key, sockets=_sockets(cluster)
    )


def playbooks(cluster: Cluster) -> AnsiblePlaybooks:
    """The plays for nodes, with each pool's own before and after."""
    hooks = {
        pool.name: Hooks(pool.before_configure, pool.after_configure, pool.image_user)
        for pool in cluster.node_pools
    }
    return AnsiblePlaybooks(
        cluster.state_dir, site(cluster), hooks, timeout=cluster.failure.configure_timeout
    )


def image_cloud(cluster: Cluster, name: str) -> ImageCloud:
    """The adapter of a cloud in which node images can be made.

    Raises:
        ConfigError: the cloud has no adapter, so nobody could start a server outside of Terraform.
    """
    cloud = cluster.clouds[name]
    if cloud.adapter == "local":
        return LocalImageCloud(cluster.cluster_name, cloud.settings)
    if cloud.adapter == "openstack":
        return OpenStackImageCloud(cluster.cluster_name, cloud.settings)
    raise ConfigError(
        f"no images can be made in the cloud {name}",
        where=f"{cluster.file}: clouds.{name}.adapter",
        why=f"its adapter is {cloud.adapter or 'none'}",
    )


def image_plays(cluster: Cluster, pool: str) -> AnsibleImagePlays:
    """The plays that make a server of a pool's kind into an image; a context manager."""
    found = cluster.pool(pool)
    return AnsibleImagePlays(
        site(cluster),
        cluster.layout.image,
        _sockets(cluster),
        pool=pool,
        user=found.image_user,
        before=found.before_configure,
    )


def clouds(cluster: Cluster) -> dict[str, Cloud]:
    """The adapters of the clouds that have one.

    Raises:
        ConfigError: an adapter that this version does not have.
    """
    found: dict[str, Cloud] = {}
    for name, cloud in cluster.clouds.items():
        if cloud.adapter == "local":
            found[name] = LocalCloud(cluster.cluster_name, cloud.settings)
        elif cloud.adapter == "openstack":
            found[name] = OpenStackCloud(cluster.cluster_name, cloud.settings)
        elif cloud.adapter not in (None, "none"):
            raise ConfigError(
                f"no adapter called {cloud.adapter!r} in this version",
                where=f"{cluster.file}: clouds.{name}.adapter",
                todo="Use openstack, local or none.",
            )
    return found
