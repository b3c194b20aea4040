"""A cloud in which node images are made, and what is done inside of their servers."""

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Protocol, Self

from slurm_powersave.model.images import Image, Look, NewServer
from slurm_powersave.model.nodes import Server
from slurm_powersave.model.permit import Permit
from slurm_powersave.ports.cloud import Cloud


class ImageCloud(Cloud, Protocol):
    """A cloud in which node images can be made: servers that Terraform does not know, and their snapshots.

    Words and manners are those of openstacksdk. Each call returns when the cloud has accepted; a status
    tells when it is done, or ERROR. Servers and images without our cluster's mark are refused. CloudError.
    """

    def create_server(self, wanted: NewServer) -> str:
        """Ask for a server with our cluster's tag and these; return its id. BUILD, then ACTIVE."""

    def stop_server(self, server_id: str, permit: Permit) -> None:
        """Ask it to power off in good order: SHUTOFF."""

    def list_images(self) -> Sequence[Image]:
        """List all images that servers can be made from, in any status, whoever's."""

    def create_image_snapshot(self, server_id: str, name: str, properties: Mapping[str, str]) -> None:
        """Make an image of a server's disk, with our cluster's mark and these properties; then it is active.

        Of a server that runs it is as after a power failure.
        """

    def update_image_properties(self, name: str, properties: Mapping[str, str]) -> None:
        """Add properties to an image of ours, or replace them."""

    def delete_image(self, name: str) -> None:
        """Delete an image of ours; one that is gone already is no error. A cloud may refuse it while a
        server uses the image.
        """


class ImagePlays(Protocol):
    """What is done inside of a server that becomes an image, and inside of the one that proves it.

    Methods raise PlaybookError or UnreachableError.
    """

    def reachable(self, server: Server) -> bool:
        """Tell whether its sshd answers (bounded to a fraction of a second)."""

    def look(self, server: Server) -> Look:
        """Read what the server says of itself."""

    def prepare(self, server: Server, provenance: Mapping[str, Any]) -> None:
        """Install what is missing, write the provenance file, remove what identifies the server.

        Nobody can log in afterwards.
        """

    def prove(self, server: Server) -> None:
        """Check what a server has that was booted from the image."""


class ImageWork(ImagePlays, Protocol):
    """The same, between enter and exit: its files are there only meanwhile."""

    def __enter__(self) -> Self:
        """Lay out what the plays need."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...
