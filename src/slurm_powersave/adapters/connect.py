"""From the cluster file to the adapters that it names."""

import hashlib
import os
import tempfile
from functools import partial
from pathlib import Path

from slurm_powersave.adapters import project
from slurm_powersave.adapters.image_plays import AnsibleImagePlays
from slurm_powersave.adapters.local import LocalCloud
from slurm_powersave.adapters.local_images import LocalImageCloud
from slurm_powersave.adapters.openstack.cloud import OpenStackCloud
from slurm_powersave.adapters.openstack.images import OpenStackImageCloud
from slurm_powersave.adapters.playbooks import AnsiblePlaybooks, Hooks, Site
from slurm_powersave.adapters.process import run
from slurm_powersave.adapters.slurm import ScontrolSlurm, largest_answer, local_shell, ssh_shell
from slurm_powersave.adapters.stream import StreamIntake
from slurm_powersave.adapters.terraform import Module, ShardedTerraform, outputs
from slurm_powersave.adapters.terraform_command import Command
from slurm_powersave.decide.layout import HOOKS
from slurm_powersave.decide.settings import Cluster
from slurm_powersave.model.errors import ConfigError
from slurm_powersave.ports import Cloud, FactsCloud, ImageCloud


def ssh_options(cluster: Cluster) -> list[str]:
    """Return ssh's options for the slurmctld host: known keys only, no question ever asked."""
    layout = cluster.layout
    options = {
        "BatchMode": "yes",
        "ConnectTimeout": "5",
        "ServerAliveInterval": "5",
        "ServerAliveCountMax": "3",
        "StrictHostKeyChecking": "yes",
        "UserKnownHostsFile": str(layout.known_hosts),
        "GlobalKnownHostsFile": "/dev/null",
        "IdentitiesOnly": "yes",
        "LogLevel": "ERROR",
    }
    return [f"-o{key}={value}" for key, value in options.items()] + ["-i", str(layout.private_key)]


def _target(cluster: Cluster) -> str:
    return f"{cluster.login.user}@{cluster.login.address}"


def _become(cluster: Cluster) -> list[str]:
    return [] if cluster.login.user == "root" else ["sudo", "-n"]


def _sockets() -> Path:
    """Where ssh's control sockets are: their paths may have 108 bytes, a state directory is often deeper."""
    sockets = Path(tempfile.gettempdir()) / f"slurm-powersave-{os.getuid()}"
    sockets.mkdir(mode=0o700, exist_ok=True)
    if sockets.stat().st_uid != os.getuid() or sockets.stat().st_mode & 0o077:
        raise ConfigError("not ours alone", where=str(sockets), todo="Remove it.")
    return sockets


def login_argv(cluster: Cluster) -> list[str]:
    """Return what goes before a command that is to run as root on the slurmctld host, once."""
    if cluster.login.connection == "local":
        return []
    return ["ssh", "-T", *ssh_options(cluster), "-oControlPath=none", _target(cluster), *_become(cluster)]


def slurm(cluster: Cluster) -> ScontrolSlurm:
    """Speak with slurmctld: here, or through one multiplexed connection (20 ms a command, not 200)."""
    names = cluster.nodes()
    bounded = partial(run, limit=largest_answer(len(names)))
    if cluster.login.connection == "local":
        return ScontrolSlurm(local_shell(bounded), known=names)
    digest = hashlib.sha256(str(cluster.state_dir).encode()).hexdigest()[:12]
    control = ["-oControlMaster=auto", "-oControlPersist=60", f"-oControlPath={_sockets()}/{digest}"]
    ssh = ["ssh", "-T", *ssh_options(cluster), *control, _target(cluster)]
    return ScontrolSlurm(ssh_shell(bounded, ssh, become=" ".join(_become(cluster))), known=names)


def intake(cluster: Cluster) -> StreamIntake:
    """Stream the requests from the slurmctld host, over a connection of its own if it is another one.

    On the same host it is the same reader without ssh: it also keeps fast start's files.
    """
    if cluster.login.connection == "local":
        return StreamIntake([f"{HOOKS}/reader"])
    ssh = ["ssh", "-T", *ssh_options(cluster), "-oControlPath=none", _target(cluster)]
    return StreamIntake([*ssh, *_become(cluster), f"{HOOKS}/reader"])


def command(cluster: Cluster) -> Command:
    """How Terraform is called for this cluster."""
    return Command(cluster.terraform.binary, cluster.terraform.cli_config)


def terraform(cluster: Cluster) -> ShardedTerraform:
    """The nodes' states."""
    key_pair = cluster.layout.public_key.read_text().strip()
    home = cluster.cloud_of(cluster.login)
    base = outputs(cluster.layout.base).get("shared") or {}
    modules = {
        name: Module(
            cloud.nodes_module,
            cluster.cluster_name,
            cloud.settings,
            key_pair,
            base if name == home else {},
        )
        for name, cloud in cluster.clouds.items()
    }
    return ShardedTerraform(cluster.state_dir, modules, command(cluster))


def site(cluster: Cluster) -> Site:
    """Where the plays are, and what they are run with."""
    layout = cluster.layout
    playbooks = project.home() / "playbooks"
    return Site(playbooks, layout.inventory, layout.known_hosts, layout.private_key)


def playbooks(cluster: Cluster) -> AnsiblePlaybooks:
    """The plays for nodes, with each pool's own before and after."""
    hooks = {pool.name: Hooks(pool.before_configure, pool.after_configure) for pool in cluster.node_pools}
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


def facts_clouds(cluster: Cluster) -> dict[str, FactsCloud]:
    """The clouds that can be asked before anything is made in them."""
    return {
        name: OpenStackCloud(cluster.cluster_name, cloud.settings)
        for name, cloud in cluster.clouds.items()
        if cloud.adapter == "openstack"
    }


def image_plays(cluster: Cluster, pool: str) -> AnsibleImagePlays:
    """The plays that make a server of a pool's kind into an image; a context manager."""
    found = cluster.pool(pool)
    return AnsibleImagePlays(
        site(cluster),
        cluster.layout.image,
        _sockets(),
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
