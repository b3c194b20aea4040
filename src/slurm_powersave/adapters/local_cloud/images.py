"""Images of the local cloud, and the servers that they are made with."""

from collections.abc import Mapping, Sequence

from slurm_powersave.adapters.answers import raises_cloud_error
from slurm_powersave.adapters.local_cloud.cloud import CHANGE_TIMEOUT, READ_TIMEOUT, LocalCloud
from slurm_powersave.model.errors import CloudError, FailureClass
from slurm_powersave.model.images import CLUSTER, Image, NewServer
from slurm_powersave.model.nodes import Server
from slurm_powersave.model.permit import Act, Permit


class LocalImageCloud(LocalCloud):
    """Implements ports.ImageCloud. Its calls return when all is done: the cloud is on this machine."""

    @raises_cloud_error
    def create_server(self, wanted: NewServer) -> str:
        """Make a server; its guest is booting."""
        options = {
            "name": wanted.name,
            "image": wanted.image,
            "flavor": wanted.flavor,
            "address": wanted.address,
            "zone": wanted.zone,
            "key-pair": wanted.key_pair,
        }
        words = [f"--{key}={value}" for key, value in options.items()]
        words += [f"--tag={tag}" for tag in sorted({"slurm-powersave", self._tag, *wanted.tags})]
        return str(self._ask(CHANGE_TIMEOUT, "create", *words)["id"])

    @raises_cloud_error
    def stop_server(self, server_id: str, permit: Permit) -> None:
        """Power a server off in good order."""
        permit.use(Act.STOP, server_id)
        self._mine(server_id)
        self._ask(CHANGE_TIMEOUT, "stop", server_id)

    @raises_cloud_error
    def list_images(self) -> Sequence[Image]:
        """List the cluster file's aliases, what is in the image cache, and the snapshots."""
        made = {found["name"]: found for found in self._ask(READ_TIMEOUT, "snapshots")}
        listed = []
        for name in self._ask(READ_TIMEOUT, "images"):
            found = made.get(name)
            listed.append(
                Image(name, "active", found["created"], found["size"], found["properties"])
                if found
                else Image(name)
            )
        return listed

    @raises_cloud_error
    def create_image_snapshot(self, server_id: str, name: str, properties: Mapping[str, str]) -> None:
        """Copy a server's disk; a running one's, too."""
        self._mine(server_id)
        marked = {**properties, CLUSTER: self._tag.removeprefix("cluster=")}
        self._ask(CHANGE_TIMEOUT, "snapshot", server_id, f"--name={name}", "--live", *_words(marked))

    @raises_cloud_error
    def update_image_properties(self, name: str, properties: Mapping[str, str]) -> None:
        """Change properties of an image of ours."""
        if not self._has(name):
            raise CloudError(
                f"image {name} is not there", failure=FailureClass.CONFIG, where="local cloud, image-set"
            )
        self._ask(READ_TIMEOUT, "image-set", name, *_words(properties))

    @raises_cloud_error
    def delete_image(self, name: str) -> None:
        """Delete an image of ours."""
        if self._has(name):
            self._ask(CHANGE_TIMEOUT, "image-delete", name)

    def _mine(self, server_id: str) -> Server:
        found = self.server(server_id)
        if found is None:
            raise CloudError(
                f"server {server_id} is not there, or not ours",
                failure=FailureClass.CONFIG,
                why=f"no server of that id carries the tag {self._tag}",
            )
        return found

    def _has(self, name: str) -> bool:
        """Tell whether there is an image; one that is not our cluster's is never touched."""
        found = next((image for image in self.list_images() if image.name == name), None)
        if found and f"cluster={found.property(CLUSTER)}" != self._tag:
            raise CloudError(
                f"image {name} is not ours",
                failure=FailureClass.CONFIG,
                why=f"`image build` of {self._tag.replace('=', ' ')} did not make it",
            )
        return found is not None


def _words(properties: Mapping[str, str]) -> list[str]:
    return [f"--property={key}={value}" for key, value in sorted(properties.items())]
