"""What Terraform can't tell of a cloud."""

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol, runtime_checkable

from slurm_powersave.model.cloud_facts import CloudFacts
from slurm_powersave.model.leftovers import Leftover
from slurm_powersave.model.nodes import Flavor, Limit, Server
from slurm_powersave.model.permit import Permit


class Cloud(Protocol):
    """What Terraform can't tell of a cloud. Methods raise CloudError.

    Those that destroy take a permit of decide/node/guard.py for this act on this server, and raise
    RefusedError before anything is done if it is not one.
    """

    def servers(self) -> Sequence[Server]:
        """List the servers that carry our cluster's tag, in any state but DELETED: such a one is gone."""

    def server(self, server_id: str) -> Server | None:
        """Read one server, with its SSH host key as soon as the cloud hands it out; None when it is gone.

        The key is the first that the server printed. Where it is known that this one can't be had any more,
        `fault` says so. A listing may leave the key empty: on OpenStack it costs a call of its own.
        """

    def delete(self, server_id: str, permit: Permit) -> None:
        """Ask for a deletion by id; one that is gone already is no error."""

    def flavors(self) -> Mapping[str, Flavor]:
        """Read the flavors by name."""

    def images(self) -> frozenset[str]:
        """Read the images' names."""

    def image_id(self, name: str) -> str:
        """Return the id of an image; an id is returned as it is. Class CONFIG if unknown or ambiguous."""

    def flavor_id(self, name: str) -> str:
        """Return the id of a flavor, likewise."""

    def quota(self) -> Mapping[str, Limit]:
        """Read what may be used and what is in use, by all: instances, cores, ram (MiB), and maybe more.

        What is missing has no limit.
        """

    # Each of these returns when the cloud has accepted; until it is done, or has failed (ERROR), the
    # server's status is REBOOT, REBUILD or RESIZE. Refused for a server without our cluster's tag.

    def reboot(self, server_id: str, permit: Permit) -> None:
        """Boot a server again."""

    def rebuild(self, server_id: str, image: str, permit: Permit) -> None:
        """Give a server a fresh disk: same id, name and address."""

    def resize(self, server_id: str, flavor: str, permit: Permit) -> None:
        """Give a server another flavor: same id, name, address and disk."""


@runtime_checkable
class FactsCloud(Protocol):
    """A cloud that can be asked before anything is made in it."""

    def facts(self, images: Collection[str] = ()) -> CloudFacts:
        """Read all that the pre-flight needs, once. Raises nothing; no answer is a trouble, too.

        `images` are names or ids of those that are wanted: an id may lead to one that is in no list.
        Bounded in time: a service that does not answer costs one time limit, and no more of it is asked.
        """


@runtime_checkable
class TellsLeftovers(Protocol):
    """A cloud adapter that can name all that is ours, not the servers alone. Raises CloudError."""

    def leftovers(self) -> Sequence[Leftover]:
        """List everything that carries our cluster's tag or name, asked of the cloud anew."""


@runtime_checkable
class RemovesLeftovers(TellsLeftovers, Protocol):
    """A cloud adapter that can also remove what is neither a server nor an image. Raises CloudError."""

    def parts(self) -> Sequence[Leftover]:
        """List what `leftovers` has not, because it goes with what it is a part of: interfaces, rules."""

    def remove(self, left: Leftover, permit: Permit) -> None:
        """Delete it, if it is still among our cluster's leftovers."""
