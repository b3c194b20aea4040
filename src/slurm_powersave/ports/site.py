"""Everything outside that a command may need for one cluster, each made when it is first asked for."""

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from slurm_powersave.config.layout import Layout
from slurm_powersave.config.settings import Cluster
from slurm_powersave.ports.archive import Archive
from slurm_powersave.ports.clock import Clock
from slurm_powersave.ports.cloud import Cloud
from slurm_powersave.ports.host_keys import HostKeys
from slurm_powersave.ports.images import ImageCloud, ImageWork
from slurm_powersave.ports.intake import OpenIntake
from slurm_powersave.ports.journal import Journal
from slurm_powersave.ports.lease import Lease
from slurm_powersave.ports.login_host import LoginHost
from slurm_powersave.ports.own_files import OwnFiles
from slurm_powersave.ports.playbooks import Playbooks
from slurm_powersave.ports.plays import Plays
from slurm_powersave.ports.processes import Processes
from slurm_powersave.ports.slurm import Slurm
from slurm_powersave.ports.state_store import StateStore
from slurm_powersave.ports.terraform import ModuleVersions, Terraform
from slurm_powersave.ports.terraform_directory import TerraformDirectory, TerraformProgram


class Site(Protocol):
    """One cluster with its outside systems. May be used by several threads.

    Nothing is opened, and nobody is asked, before a method is called. What a method returned once it returns
    again: one login to each cloud, one open journal.
    """

    @property
    def cluster(self) -> Cluster:
        """The cluster file's content."""

    @property
    def clock(self) -> Clock:
        """The host's clocks."""

    def wait(self, seconds: float) -> None:
        """Do nothing for a while."""

    def of(self, cluster: Cluster) -> "Site":
        """Return a site with another cluster value: another state directory, or another login node.

        It uses the same cloud adapters where the settings of the cloud are the same.
        """

    def anew(self, cluster: Cluster) -> "Site":
        """Return a site that shares nothing with this one: after an error, or for another cluster file."""

    def close(self) -> None:
        """Close the journal, if it is open; it is opened again when it is asked for."""

    def __enter__(self) -> Self:
        """Return the site; at the end of the block its journal is closed."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...

    def journal(self) -> Journal:
        """Open the journal, or make it.

        Raises:
            ConfigError: the file is not a journal, or one of a later version.
            JournalError: it can't be opened now.
        """

    def existing_journal(self) -> Journal | None:
        """Open the journal if there is one already."""

    def slurm(self) -> Slurm:
        """Return Slurm, as the login node's slurmctld tells it."""

    def clouds(self) -> Mapping[str, Cloud]:
        """Return the adapters of the clouds that have one.

        Raises:
            ConfigError: an adapter that this version does not have, or settings that are wrong.
        """

    def cloud(self, name: str) -> Cloud | None:
        """Return one of them; None if the cloud has no adapter. Another cloud's mistakes don't matter."""

    def image_cloud(self, name: str) -> ImageCloud:
        """Return the adapter of a cloud in which node images can be made.

        Raises:
            ConfigError: the cloud has no adapter, so nobody could start a server outside of Terraform.
        """

    def image_work(self, pool: str) -> ImageWork:
        """Return the plays that make a server of a pool's kind into an image; to be entered."""

    def terraform(self) -> Terraform:
        """Return the nodes' states."""

    def module_versions(self) -> ModuleVersions:
        """Return the nodes' states, to be asked for the versions of their root modules: no key is needed."""

    def terraform_program(self) -> TerraformProgram:
        """Return the program `terraform`, and which providers were chosen."""

    def directory(self, path: Path) -> TerraformDirectory:
        """Return a Terraform directory: that of the network and the login node, or a shard."""

    def playbooks(self) -> Playbooks:
        """Return what configures nodes."""

    def plays(self) -> Plays:
        """Return the plays that a person waits for."""

    def intake(self) -> OpenIntake:
        """Make a stream of requests from the slurmctld host; to be entered. A new one at each call."""

    def login_host(self) -> LoginHost:
        """Return the host of slurmctld."""

    def host_keys(self) -> HostKeys:
        """Return the SSH host keys that the cluster trusts."""

    def engine_lease(self) -> Lease:
        """Return who may serve the cluster as its engine."""

    def command_lease(self) -> Lease:
        """Return which command may change the cluster."""

    def store(self, layout: Layout | None = None) -> StateStore:
        """Return the state directory, or another one."""

    def own_files(self) -> OwnFiles:
        """Return keys and other files of the state directory."""

    def processes(self) -> Processes:
        """Return the processes that an engine has left."""

    def archive(self) -> Archive:
        """Return what writes and reads backups."""
