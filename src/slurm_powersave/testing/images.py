"""A cloud in memory that makes images, and what would be done inside of its servers."""

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from slurm_powersave.model.errors import CloudError, FailureClass, PlaybookError
from slurm_powersave.model.images import CLUSTER, Identity, Image, Look, NewServer
from slurm_powersave.model.nodes import NodeSpec, Server, TerraformNode
from slurm_powersave.model.permit import Act, Permit
from slurm_powersave.testing.cloud import MemoryCloud


@dataclass
class MemoryImageCloud(MemoryCloud):
    """Servers with images that come with a delay, as in OpenStack. Implements ports.ImageCloud."""

    seconds: float = 1.0
    """What a boot, a power-off or a snapshot takes."""
    image_faults: dict[str, str] = field(default_factory=dict)
    """Image -> the status in which its snapshot ends instead of active."""
    disks: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Server -> what is on its disk; an image takes a copy."""
    _images: dict[str, Image] = field(default_factory=lambda: {"default": Image("default")})
    _contents: dict[str, dict[str, Any]] = field(default_factory=dict)
    _later: list[tuple[float, Callable[[], None]]] = field(default_factory=list)

    def servers(self) -> list[Server]:
        """List what exists and is our cluster's."""
        self._go_on()
        return super().servers()

    def server(self, server_id: str) -> Server | None:
        """Read one server; None if it is gone or another cluster's."""
        self._go_on()
        return super().server(server_id)

    def images(self) -> frozenset[str]:
        """Name the images that are there, made here or given."""
        return super().images() | self._images.keys()

    def create_server(self, wanted: NewServer) -> str:
        """Begin a server; it has a host key when it has booted."""
        self._check()
        image, address = wanted.image, wanted.address
        if image not in self._images:
            raise CloudError(f"image {image} could not be found", failure=FailureClass.CONFIG)
        if holder := next((one for one in self.alive() if one.address == address), None):
            raise CloudError(f"address {address} belongs to {holder.name}", failure=FailureClass.CONFIG)
        node = NodeSpec(wanted.name, "", "", image, wanted.flavor, wanted.zone, address)
        marks = frozenset({"slurm-powersave", f"cluster={self.cluster}", *wanted.tags})
        server_id = self.create(TerraformNode(node, ""), marks)
        self.disks[server_id] = dict(self._contents.get(image, {}))
        held = self._servers[server_id]
        if held.server.status == "ACTIVE":
            key = held.server.host_key and f"{held.server.host_key}{server_id}"
            booted = replace(held.server, host_key=key)
            held.server = replace(held.server, status="BUILD", host_key="")
            self._at(lambda: setattr(held, "server", booted))
        return server_id

    def stop_server(self, server_id: str, permit: Permit) -> None:
        """Begin to power a server off."""
        permit.use(Act.STOP, server_id)
        self._mine(server_id)
        self._at(lambda: self.set_status(server_id, "SHUTOFF"))

    def list_images(self) -> list[Image]:
        """List all images."""
        self._check()
        self._go_on()
        return list(self._images.values())

    def create_image_snapshot(self, server_id: str, name: str, properties: Mapping[str, str]) -> None:
        """Begin a snapshot."""
        self._mine(server_id)
        marked = {**properties, CLUSTER: self.cluster}
        made = Image(name, "saving", self.clock.now(), 1000, marked)
        self._images[name], self._contents[name] = made, dict(self.disks.get(server_id, {}))
        self._at(lambda: self._alter(name, status=self.image_faults.get(name, "active")))

    def update_image_properties(self, name: str, properties: Mapping[str, str]) -> None:
        """Change properties of an image of ours."""
        found = self._of_ours(name)
        if found is None:
            raise CloudError(f"image {name} is not there", failure=FailureClass.CONFIG)
        self._alter(name, properties={**(found.properties or {}), **properties})

    def delete_image(self, name: str) -> None:
        """Delete an image of ours; refused while a server uses it."""
        if self._of_ours(name) is None:
            return
        if users := [server.name for server in self.alive() if server.image == name]:
            raise CloudError(f"image {name} is in use by {', '.join(users)}", failure=FailureClass.CONFIG)
        del self._images[name]

    def add_image(self, image: Image) -> None:
        """Put an image there past the port."""
        self._images[image.name] = image

    def _mine(self, server_id: str) -> None:
        if self.server(server_id) is None:
            raise CloudError(f"server {server_id} is not there, or not ours", failure=FailureClass.CONFIG)

    def _of_ours(self, name: str) -> Image | None:
        self._check()
        found = self._images.get(name)
        if found and found.property(CLUSTER) != self.cluster:
            raise CloudError(f"image {name} is not ours", failure=FailureClass.CONFIG)
        return found

    def _alter(self, name: str, **changes: Any) -> None:
        if name in self._images:
            self._images[name] = replace(self._images[name], **changes)

    def _at(self, change: Callable[[], None]) -> None:
        self._later.append((self.clock.now() + self.seconds, change))

    def _go_on(self) -> None:
        due = [change for at, change in self._later if at <= self.clock.now()]
        self._later = [(at, change) for at, change in self._later if at > self.clock.now()]
        for change in due:
            change()


@dataclass
class MemoryImagePlays:
    """Cleans disks in memory. Implements ports.ImagePlays."""

    cloud: MemoryImageCloud
    faults: dict[str, str] = field(default_factory=dict)
    """prepare, prove, or clean (removes nothing) -> what goes wrong."""
    seconds: float = 3.0
    """What a play takes."""
    _boots: "itertools.count[int]" = field(default_factory=itertools.count)

    def reachable(self, server: Server) -> bool:
        """Tell whether it has booted."""
        return bool(server.host_key)

    def look(self, server: Server) -> Look:
        """Read the disk; a boot makes what a clean one lacks."""
        disk = self.cloud.disks[server.id]
        machine = disk.setdefault("machine_id", f"machine-{server.id}")
        identity = Identity(server.host_key, machine, f"boot-{server.id}-{next(self._boots)}")
        return Look(identity, disk.get("provenance", {}))

    def prepare(self, server: Server, provenance: Mapping[str, Any]) -> None:
        """Write the provenance and take the identity away."""
        self.cloud.clock.advance(self.seconds)
        if text := self.faults.get("prepare"):
            raise PlaybookError(text)
        disk = self.cloud.disks[server.id]
        disk["provenance"] = {**provenance, "packages": {"slurm": "22.05.8", "munge": "0.5.15"}}
        if "clean" not in self.faults:
            disk.pop("machine_id", None)

    def prove(self, server: Server) -> None:
        """Look whether it was prepared."""
        self.cloud.clock.advance(self.seconds)
        if text := self.faults.get("prove"):
            raise PlaybookError(text)
