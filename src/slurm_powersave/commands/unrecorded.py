"""The cluster's servers and networks that no state knows, after a killed deploy or a lost state.

Only here does `deploy` delete servers by their id: those of an interrupted first deploy, as long as the
cluster was never in service.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from slurm_powersave.commands.act_records import Acts
from slurm_powersave.commands.messages import Dialog
from slurm_powersave.config.settings import Cluster
from slurm_powersave.decide.node import guard
from slurm_powersave.model.errors import RefusedError, SlurmError, UnreachableError
from slurm_powersave.model.leftovers import IMAGE, INTERFACE, RULE, SERVER, Leftover
from slurm_powersave.model.nodes import NodeRecord, Server
from slurm_powersave.model.permit import Row
from slurm_powersave.ports.cloud import Cloud, RemovesLeftovers, TellsLeftovers
from slurm_powersave.ports.site import Site
from slurm_powersave.ports.terraform_directory import TerraformDirectory

_GONE_SECONDS = 120.0
"""Seconds within which a server that an interrupted deploy left must be gone after its deletion."""

Servers = Sequence[tuple[Cloud, Server]]
Things = Sequence[tuple[RemovesLeftovers, Leftover]]
_ORDER = (
    *("floating IP", INTERFACE, "router", "port", "subnet", "network", RULE, "security group"),
    *("server group", "key pair"),
)
"""The kinds of what a deploy makes beside servers, in the order in which they can be deleted."""


@dataclass(frozen=True)
class Orphans:
    """What an interrupted deploy has left."""

    servers: Servers
    things: Things

    @property
    def any(self) -> bool:
        """Whether there is something."""
        return bool(self.servers or self.things)

    @property
    def names(self) -> list[str]:
        """Name all of it."""
        found = [f"{server.name} ({server.id})" for _, server in self.servers]
        return found + [str(left) for _, left in self.things]


def servers(site: Site) -> Servers:
    """List all servers that carry the cluster's tag, with the cloud that each is in."""
    return [(cloud, server) for cloud in site.clouds().values() for server in cloud.servers()]


def refuse_unknown(cluster: Cluster, found: Servers) -> None:
    """Refuse to make a second cluster of the same name: the state directory of the first may be lost.

    Raises:
        RefusedError: there are such servers; it names them.
    """
    if found:
        names = ", ".join(f"{server.name} ({server.id})" for _, server in found[:10])
        raise RefusedError(
            f"deployed from elsewhere: servers of this cluster are not in the state directory: {names}",
            where=str(cluster.state_dir),
            todo="Use the state_dir with which they were deployed, put a backup of it back (slurm-powersave "
            "restore), or delete them (slurm-powersave teardown). "
            "If an interrupted `deploy --replace-login` left them, delete them by hand in the cloud.",
        )


def find(site: Site, state: TerraformDirectory) -> Servers:
    """Find servers that a killed apply made and that no state knows; they are deleted before the next apply.

    Raises:
        RefusedError: there is such a server, and the cluster is, or may be, in service.
    """
    known = state.ids()
    found = [
        (cloud, server)
        for cloud, server in servers(site)
        if server.id not in known and not _is_node(server) and "role=builder" not in server.tags
    ]
    if any(in_service(site, server.address) for _, server in found):
        refuse_unknown(site.cluster, found)
    return found


def beside(site: Site, state: TerraformDirectory) -> Things:
    """Find what else a killed apply has made and no state knows: network, router, addresses and the like.

    Nothing where the cluster is, or may be, in service: then it is only named (`tell`).
    """
    known = state.ids()
    found = [
        (cloud, left)
        for cloud in site.clouds().values()
        if isinstance(cloud, RemovesLeftovers)
        for left in _single([*cloud.leftovers(), *cloud.parts()], known)
    ]
    if not found or in_service(site, site.cluster.login.address):
        return []
    return sorted(found, key=lambda one: _ORDER.index(one[1].kind))


def _single(found: Sequence[Leftover], known: Collection[str]) -> list[Leftover]:
    """Leave out what is known, and parts that go with what is not."""
    unknown = [left for left in found if left.kind in _ORDER and left.id not in known]
    ids = {left.id for left in unknown}
    return [left for left in unknown if left.part_of not in ids]


def in_service(site: Site, address: str) -> bool:
    """Tell whether the cluster is, or may be, in service.

    Slurm was once configured, a node has or had a server, or slurmctld answers at the login node's `address`.
    Any one of these signs is enough, because each of the others may be lost.
    """
    known = records(site).values()
    if site.cluster.layout.slurm_conf_in_use.exists() or any(record.server_id for record in known):
        return True
    if any(_is_node(server) for _, server in servers(site)):
        return True
    try:
        at(site, address).slurm().running_version()
    except SlurmError:
        return False
    return True


def at(site: Site, address: str) -> Site:
    """Return the site with the login node at an address: the file may say another one already."""
    if address in ("", site.cluster.login.address):
        return site
    login = site.cluster.login.model_copy(update={"address": address})
    return site.of(site.cluster.model_copy(update={"login": login}))


def records(site: Site) -> Mapping[str, NodeRecord]:
    """Read what is recorded of the nodes; nothing where there is no journal yet."""
    journal = site.existing_journal()
    return journal.node_records() if journal else {}


def delete(site: Site, found: Servers, acts: Acts) -> None:
    """Delete servers by their id, and wait until they are gone.

    Raises:
        UnreachableError: one is not gone in time.
    """
    for cloud, server in found:
        permit = guard.granted(guard.orphan(server))
        acts.record([permit])
        cloud.delete(server.id, permit)
    deadline = site.clock.monotonic() + _GONE_SECONDS
    while left := [server for cloud, server in found if cloud.server(server.id)]:
        if site.clock.monotonic() > deadline:
            raise UnreachableError(
                f"{left[0].name} ({left[0].id}) is not gone",
                why=f"waited {_GONE_SECONDS:.0f} s for its deletion",
            )
        site.wait(0.2)


def remove(found: Things, acts: Acts) -> None:
    """Delete what `beside` has found and the person has seen, each after what hangs on it."""
    evidence = "of an interrupted deploy, in no state, and named to the person who has confirmed"
    for cloud, left in found:
        permits = guard.agreed([left.id], Row.ORPHAN, evidence)
        acts.record(permits)
        cloud.remove(left, permits[0])


def tell(site: Site, state: TerraformDirectory, dialog: Dialog) -> None:
    """Name other resources that no state knows, such as the network that a killed apply has left."""
    known = state.ids()
    for cloud in site.clouds().values():
        for left in cloud.leftovers() if isinstance(cloud, TellsLeftovers) else ():
            if left.kind not in (SERVER, IMAGE, "port") and left.id not in known:
                dialog.say(f"{left} belongs to the cluster and is in no Terraform state: delete it by hand")


def _is_node(server: Server) -> bool:
    return any(tag.startswith("node=") for tag in server.tags)
