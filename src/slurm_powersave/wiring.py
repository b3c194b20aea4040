"""The one place that knows ports and adapters: from the cluster file to the adapters that it names.

Adapters are imported where they are made: all of them take longer to load than most commands run.
"""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

from slurm_powersave.config.layout import HOOKS
from slurm_powersave.model.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import TracebackType

    from slurm_powersave.adapters.ansible.image_plays import AnsibleImagePlays
    from slurm_powersave.adapters.ansible.playbooks import AnsiblePlaybooks
    from slurm_powersave.adapters.ansible.playbooks import Site as PlaySite
    from slurm_powersave.adapters.ansible.plays import AnsiblePlays
    from slurm_powersave.adapters.journal.sqlite import SqliteJournal
    from slurm_powersave.adapters.processes.left import LeftProcesses
    from slurm_powersave.adapters.requests.stream import StreamIntake
    from slurm_powersave.adapters.slurm.commands import ScontrolSlurm
    from slurm_powersave.adapters.ssh.known_hosts import KnownHosts
    from slurm_powersave.adapters.ssh.login_host import SshLoginHost
    from slurm_powersave.adapters.state_dir.own_files import ClusterFiles
    from slurm_powersave.adapters.state_dir.store import StateDirectory
    from slurm_powersave.adapters.terraform.base import State
    from slurm_powersave.adapters.terraform.command import Command
    from slurm_powersave.adapters.terraform.program import Program
    from slurm_powersave.adapters.terraform.shards import ShardedTerraform
    from slurm_powersave.config.layout import Layout
    from slurm_powersave.config.settings import Cluster
    from slurm_powersave.ports.archive import Archive
    from slurm_powersave.ports.clock import Clock
    from slurm_powersave.ports.cloud import Cloud
    from slurm_powersave.ports.images import ImageCloud
    from slurm_powersave.ports.lease import Lease
    from slurm_powersave.ports.site import Site
    from slurm_powersave.ports.terraform import ModuleVersions

T = TypeVar("T")


def site(cluster: Cluster) -> Site:
    """Make the site of a cluster: one for each process."""
    return LiveSite(cluster)


def archive() -> Archive:
    """Return what writes and reads backups; a restore needs it before there is a cluster file."""
    from slurm_powersave.adapters.state_dir.backups import Backups

    return Backups()


def command_lease(layout: Layout) -> Lease:
    """Return which command may change a cluster; a restore needs it before there is a cluster file."""
    from slurm_powersave.adapters.state_dir.lock import command_lease

    return command_lease(layout)


class LiveSite:
    """Implements ports.Site."""

    def __init__(self, cluster: Cluster, clouds: dict[str, ImageCloud] | None = None) -> None:
        """`clouds`: adapters that are there already, by what they are made from."""
        self.cluster = cluster
        self._lock = threading.RLock()
        self._made: dict[str, Any] = {}
        self._clouds = {} if clouds is None else clouds
        self._journal: SqliteJournal | None = None

    def _once(self, name: str, make: Callable[[], T]) -> T:
        with self._lock:
            if name not in self._made:
                self._made[name] = make()
            return cast(T, self._made[name])

    @property
    def clock(self) -> Clock:
        """The host's clocks."""
        from slurm_powersave.adapters.host_clock import WallClock

        return WallClock()

    def wait(self, seconds: float) -> None:
        """Do nothing for a while."""
        time.sleep(seconds)

    def of(self, cluster: Cluster) -> Site:
        """Return a site with another cluster value and the same cloud adapters."""
        return LiveSite(cluster, self._clouds)

    def anew(self, cluster: Cluster) -> Site:
        """Return a site that shares nothing with this one."""
        return LiveSite(cluster)

    # The journal

    def close(self) -> None:
        """Close the journal, if it is open."""
        with self._lock:
            journal, self._journal = self._journal, None
        if journal:
            journal.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self.close()

    def journal(self) -> SqliteJournal:
        """Open the journal, or make it."""
        from slurm_powersave.adapters.journal.sqlite import SqliteJournal

        with self._lock:
            if self._journal is None:
                self._journal = SqliteJournal(self.cluster.layout.journal)
            return self._journal

    def existing_journal(self) -> SqliteJournal | None:
        """Open the journal if there is one already."""
        return self.journal() if self.cluster.layout.journal.exists() else None

    # Slurm and its host

    def login_host(self) -> SshLoginHost:
        """Return the host of slurmctld."""
        from slurm_powersave.adapters.ssh.login_host import SshLoginHost

        return SshLoginHost(self.cluster)

    def slurm(self) -> ScontrolSlurm:
        """Speak with slurmctld: here, or through one multiplexed connection."""
        return self._once("slurm", self._slurm)

    def _slurm(self) -> ScontrolSlurm:
        from slurm_powersave.adapters.processes.process import run
        from slurm_powersave.adapters.slurm.commands import (
            ScontrolSlurm,
            forgiving,
            largest_answer,
            local_shell,
            ssh_shell,
        )

        names = self.cluster.nodes()
        bounded = partial(run, limit=largest_answer(len(names)))
        if self.cluster.login.connection == "local":
            return ScontrolSlurm(forgiving(local_shell(bounded)), known=names)
        host = self.login_host()
        shell = ssh_shell(bounded, host.shared_argv(), become=" ".join(host.become))
        return ScontrolSlurm(forgiving(shell), known=names)

    def intake(self) -> StreamIntake:
        """Stream the requests from the slurmctld host, over a connection of its own if it is another one.

        On the same host it is the same reader without ssh: it also keeps fast start's files.
        """
        from slurm_powersave.adapters.requests.stream import StreamIntake

        return StreamIntake([*self.login_host().argv(), f"{HOOKS}/reader"])

    def host_keys(self) -> KnownHosts:
        """Return the SSH host keys that the cluster trusts."""
        from slurm_powersave.adapters.ssh.known_hosts import KnownHosts

        return KnownHosts(self.cluster.layout.known_hosts)

    # Clouds

    def clouds(self) -> dict[str, Cloud]:
        """Return the adapters of the clouds that have one."""
        found = {name: self.cloud(name) for name in self.cluster.clouds}
        return {name: cloud for name, cloud in found.items() if cloud}

    def cloud(self, name: str) -> ImageCloud | None:
        """Return the adapter of a cloud; None if it has none."""
        cloud = self.cluster.clouds[name]
        with self._lock:
            key = f"{self.cluster.cluster_name} {name} {cloud.adapter} {cloud.settings!r}"
            if key not in self._clouds:
                made = self._cloud(name)
                if made is None:
                    return None
                self._clouds[key] = made
            return self._clouds[key]

    def _cloud(self, name: str) -> ImageCloud | None:
        cloud = self.cluster.clouds[name]
        if cloud.adapter == "local":
            from slurm_powersave.adapters.local_cloud.images import LocalImageCloud

            return LocalImageCloud(self.cluster.cluster_name, cloud.settings)
        if cloud.adapter == "openstack":
            from slurm_powersave.adapters.openstack.images import OpenStackImageCloud

            return OpenStackImageCloud(self.cluster.cluster_name, cloud.settings)
        if cloud.adapter in (None, "none"):
            return None
        raise ConfigError(
            f"no adapter called {cloud.adapter!r} in this version",
            where=f"{self.cluster.file}: clouds.{name}.adapter",
            todo="Use openstack, local or none.",
        )

    def image_cloud(self, name: str) -> ImageCloud:
        """Return the adapter of a cloud in which node images can be made."""
        if found := self.cloud(name):
            return found
        raise ConfigError(
            f"no images can be made in the cloud {name}",
            where=f"{self.cluster.file}: clouds.{name}.adapter",
            why=f"its adapter is {self.cluster.clouds[name].adapter or 'none'}",
        )

    # Terraform

    def terraform_command(self, cloud: str = "") -> Command:
        """Return how Terraform is called for this cluster, in the states of a cloud."""
        from slurm_powersave.adapters.terraform.command import Command

        found = Command(self.cluster.terraform.binary, self.cluster.terraform.cli_config)
        if cloud in self.cluster.clouds and self.cluster.clouds[cloud].adapter == "openstack":
            from slurm_powersave.adapters.openstack import credentials

            return replace(found, credentials=credentials.terraform(self.cluster.clouds[cloud].settings))
        return found

    def terraform_program(self) -> Program:
        """Return the program, and which providers were chosen."""
        from slurm_powersave.adapters.terraform.program import Program

        return Program(self.terraform_command(), self.cluster.layout.terraform)

    def directory(self, path: Path) -> State:
        """Return a Terraform directory: that of the network and the login node, or a shard."""
        from slurm_powersave.adapters.terraform.base import State

        base = path == self.cluster.layout.base
        cloud = self.cluster.cloud_of(self.cluster.login) if base else path.parent.name
        return State(path, self.terraform_command(cloud), shard=not base)

    def terraform(self) -> ShardedTerraform:
        """Return the nodes' states."""
        return self._once("terraform", self._terraform)

    def _terraform(self) -> ShardedTerraform:
        from slurm_powersave.adapters.terraform.shards import Module, ShardedTerraform

        key_pair, home = self.own_files().public_key(), self.cluster.cloud_of(self.cluster.login)
        base = self.directory(self.cluster.layout.base).outputs().get("shared") or {}
        modules = {
            name: Module(
                cloud.nodes_module,
                self.cluster.cluster_name,
                cloud.settings,
                key_pair,
                base if name == home else {},
                self.terraform_command(name).credentials,
            )
            for name, cloud in self.cluster.clouds.items()
        }
        return ShardedTerraform(self.cluster.state_dir, modules, self.terraform_command())

    def module_versions(self) -> ModuleVersions:
        """Return the nodes' states, to be asked for the versions of their root modules: no key is needed."""
        from slurm_powersave.adapters.terraform.shards import Module, ShardedTerraform

        modules = {
            name: Module(cloud.nodes_module, self.cluster.cluster_name, cloud.settings, "")
            for name, cloud in self.cluster.clouds.items()
        }
        return ShardedTerraform(self.cluster.state_dir, modules, self.terraform_command())

    # Ansible

    def play_site(self) -> PlaySite:
        """Return where the plays are, and what they are run with."""
        from slurm_powersave.adapters.ansible import project
        from slurm_powersave.adapters.ansible.playbooks import Site as PlaySite

        layout, sockets = self.cluster.layout, self.login_host().sockets()
        playbooks = project.home() / "playbooks"
        return PlaySite(playbooks, layout.inventory, layout.known_hosts, layout.private_key, sockets=sockets)

    def playbooks(self) -> AnsiblePlaybooks:
        """Return the plays for nodes, with each pool's own before and after."""
        return self._once("playbooks", self._playbooks)

    def _playbooks(self) -> AnsiblePlaybooks:
        from slurm_powersave.adapters.ansible.playbooks import AnsiblePlaybooks, Hooks

        hooks = {
            pool.name: Hooks(pool.before_configure, pool.after_configure, pool.image_user)
            for pool in self.cluster.node_pools
        }
        seconds = self.cluster.failure.configure_timeout
        return AnsiblePlaybooks(self.cluster.state_dir, self.play_site(), hooks, timeout=seconds)

    def plays(self) -> AnsiblePlays:
        """Return the plays that a person waits for."""
        from slurm_powersave.adapters.ansible.plays import AnsiblePlays

        return AnsiblePlays(self.play_site())

    def image_work(self, pool: str) -> AnsibleImagePlays:
        """Return the plays that make a server of a pool's kind into an image."""
        from slurm_powersave.adapters.ansible.image_plays import AnsibleImagePlays

        found, layout = self.cluster.pool(pool), self.cluster.layout
        return AnsibleImagePlays(
            self.play_site(),
            layout.image,
            self.login_host().sockets(),
            pool=pool,
            user=found.image_user,
            before=found.before_configure,
        )

    # The state directory

    def engine_lease(self) -> Lease:
        """Return who may serve the cluster as its engine."""
        from slurm_powersave.adapters.state_dir.lock import engine_lease

        return engine_lease(self.cluster.layout)

    def command_lease(self) -> Lease:
        """Return which command may change the cluster."""
        return command_lease(self.cluster.layout)

    def store(self, layout: Layout | None = None) -> StateDirectory:
        """Return the state directory, or another one."""
        from slurm_powersave.adapters.state_dir.store import StateDirectory

        return StateDirectory(layout or self.cluster.layout)

    def own_files(self) -> ClusterFiles:
        """Return keys and other files of the state directory."""
        from slurm_powersave.adapters.state_dir.own_files import ClusterFiles

        return ClusterFiles(self.cluster)

    def processes(self) -> LeftProcesses:
        """Return the processes that an engine has left."""
        from slurm_powersave.adapters.processes.left import LeftProcesses

        return LeftProcesses()

    def archive(self) -> Archive:
        """Return what writes and reads backups."""
        return archive()
