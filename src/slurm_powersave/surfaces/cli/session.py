"""What one call of the command carries from its options to its subcommand."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from slurm_powersave.config.layout import Layout
    from slurm_powersave.config.settings import Cluster
    from slurm_powersave.ports.archive import Archive
    from slurm_powersave.ports.journal import Journal
    from slurm_powersave.ports.lease import Lease
    from slurm_powersave.ports.site import Site


@dataclass
class Session:
    """The global options, and what is read from the cluster file when a subcommand needs it.

    Imports stand inside of the methods: pydantic and YAML take longer to load than most commands run.
    """

    cluster_file: Path | None = None
    json: bool = False
    no_color: bool = False
    debug: bool = False
    _cluster: Cluster | None = field(default=None, repr=False)
    _site: Site | None = field(default=None, repr=False)

    def path(self) -> Path:
        """Name the cluster file by the search order.

        Raises:
            ConfigError: there is none.
        """
        from slurm_powersave.config import settings

        return settings.find(self.cluster_file, os.environ)

    def cluster(self) -> Cluster:
        """Read the cluster file, once.

        Raises:
            ConfigError: it is wrong; all mistakes are in its text.
        """
        from slurm_powersave.config import settings

        if self._cluster is None:
            self._cluster = settings.load(self.path())
        return self._cluster

    def site(self) -> Site:
        """Return the cluster with its outside systems: one for each call of the command.

        Raises:
            ConfigError: the cluster file is wrong; all mistakes are in its text.
        """
        if self._site is None:
            self._site = self.site_of(self.cluster())
        return self._site

    def site_of(self, cluster: Cluster) -> Site:
        """Make the site of another cluster file: of the one before, or of a backup's."""
        from slurm_powersave import wiring

        return wiring.site(cluster)

    def command_lease(self, layout: Layout) -> Lease:
        """Return which command may change a cluster; it needs no cluster file."""
        from slurm_powersave import wiring

        return wiring.command_lease(layout)

    def archive(self) -> Archive:
        """Return what reads backups; it needs no cluster file."""
        from slurm_powersave import wiring

        return wiring.archive()

    def journal(self) -> Journal:
        """Open the cluster's journal.

        Raises:
            ConfigError: there is none yet, or it is not a journal.
        """
        from slurm_powersave.model.errors import ConfigError

        found = self.site().existing_journal()
        if found is None:
            raise ConfigError(
                "this cluster has no journal yet",
                where=str(self.cluster().layout.journal),
                todo="Create the cluster first: slurm-powersave deploy",
            )
        return found


def session(ctx: typer.Context) -> Session:
    """Return the session of a command."""
    found = ctx.find_root().obj
    assert isinstance(found, Session)
    return found


def _wants_json(ctx: typer.Context, value: bool) -> bool:
    # Noted at once, so that an error in a later argument is told as JSON, too.
    if value:
        session(ctx).json = True
    return value


Json = Annotated[
    bool,
    typer.Option("--json", help="Print JSON instead of text.", callback=_wants_json, is_eager=True),
]
Nodes = Annotated[str, typer.Argument(metavar="NODES", help="A hostlist expression, such as demo-[1-4].")]
