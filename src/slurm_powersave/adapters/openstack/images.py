"""Images on OpenStack, and the servers that they are made with, through Glance's and Nova's APIs."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from slurm_powersave.adapters.answers import raises_cloud_error
from slurm_powersave.adapters.openstack.cloud import OpenStackCloud
from slurm_powersave.adapters.openstack.names import shown
from slurm_powersave.model.errors import CloudError, FailureClass
from slurm_powersave.model.images import BASE, CLUSTER, NODE, ROLE, Image, NewServer
from slurm_powersave.model.permit import Act, Permit

PREFIX = "slurm_powersave_"
"""Of our properties' names; the others of an image are not ours to show or change."""
_PATCH = {"Content-Type": "application/openstack-images-v2.1-json-patch"}


class OpenStackImageCloud(OpenStackCloud):
    """Implements ports.ImageCloud.

    A builder takes the network, the security group and the key pair that the base module has made: they are
    found by our cluster's tag, or by the name slurm-powersave-CLUSTER where the API knows no tags.
    """

    @raises_cloud_error
    def create_server(self, wanted: NewServer) -> str:
        """Ask for a server; return its id."""
        shared = f"slurm-powersave-{self._cluster}"
        server: dict[str, Any] = {
            "name": wanted.name,
            "imageRef": self.image_id(wanted.image),
            "flavorRef": self.flavor_id(wanted.flavor),
            "networks": [{"uuid": self._network(), "fixed_ip": wanted.address}],
            "security_groups": [{"name": shared}],
            "key_name": self._key_pair(shared, wanted.key_pair),
            "tags": sorted({"slurm-powersave", self._tag, *wanted.tags}),
        }
        if wanted.zone:
            server["availability_zone"] = wanted.zone
        return str(self._api.ask("POST", "compute", "/servers", body={"server": server})["server"]["id"])

    def _network(self) -> str:
        if self._settings.network_id:
            return self._settings.network_id
        found = self._api.listed("network", "/networks", tags=f"slurm-powersave,{self._tag}")
        if len(found) == 1:
            return str(found[0]["id"])
        raise CloudError(
            f"{len(found) or 'no'} networks carry the tag {self._tag}",
            failure=FailureClass.CONFIG,
            where="OpenStack network",
            todo="Run `slurm-powersave deploy`, or set network_id and subnet_id of the cloud.",
        )

    def _key_pair(self, name: str, public_key: str) -> str:
        found = self._api.find("compute", f"/os-keypairs/{name}")
        if found and found["keypair"]["public_key"].split()[:2] == public_key.split()[:2]:
            return name
        raise CloudError(
            f"the key pair {name} {'holds another key' if found else 'is not there'}",
            failure=FailureClass.CONFIG,
            where="OpenStack compute",
            todo="Run `slurm-powersave deploy`: it makes the key pair.",
        )

    @raises_cloud_error
    def stop_server(self, server_id: str, permit: Permit) -> None:
        """Ask it to power off in good order."""
        permit.use(Act.STOP, server_id)
        if self._mine(server_id).get("status") != "SHUTOFF":
            self._act(server_id, {"os-stop": None})

    @raises_cloud_error
    def list_images(self) -> Sequence[Image]:
        """List all images, in any status, whoever's."""
        found = self._names.images()
        names = shown(found)
        return [_image(one, names[str(one["id"])]) for one in found]

    @raises_cloud_error
    def create_image_snapshot(self, server_id: str, name: str, properties: Mapping[str, str]) -> None:
        """Make an image of a server's disk; Nova gives it the properties of the server's own image, too."""
        self._mine(server_id)
        ours = {ROLE: "", BASE: "", NODE: "", **properties, CLUSTER: self._cluster}
        self._act(server_id, {"createImage": {"name": name, "metadata": ours}})
        self._names.forget()

    @raises_cloud_error
    def update_image_properties(self, name: str, properties: Mapping[str, str]) -> None:
        """Add or replace properties of an image of ours."""
        found = self._of_ours(name)
        if found is None:
            raise CloudError(
                f"image {name} is not there", failure=FailureClass.CONFIG, where="OpenStack image"
            )
        changes = [
            {"op": "replace" if key in found else "add", "path": f"/{key}", "value": value}
            for key, value in sorted(properties.items())
        ]
        self._api.ask("PATCH", "image", f"/images/{found['id']}", body=changes, headers=_PATCH)

    @raises_cloud_error
    def delete_image(self, name: str) -> None:
        """Delete an image of ours."""
        found = self._of_ours(name)
        if found is None:
            return
        try:
            self._api.ask("DELETE", "image", f"/images/{found['id']}")
        except CloudError as error:
            if error.status != 404:
                raise
        self._names.forget()

    def _of_ours(self, name: str) -> Mapping[str, Any] | None:
        """Find an image, in any status; one that is not our cluster's is never touched."""
        listed = self._names.images()
        names = shown(listed)
        found = next((one for one in listed if names[str(one["id"])] == name), None)
        if found and found.get(CLUSTER) != self._cluster:
            raise CloudError(
                f"image {name} is not ours",
                failure=FailureClass.CONFIG,
                where="OpenStack image",
                why=f"`image build` of cluster {self._cluster} did not make it",
            )
        return found


def _image(found: Mapping[str, Any], name: str) -> Image:
    created = found.get("created_at")
    properties = {
        key: value
        for key, value in found.items()
        if key.startswith(PREFIX) and isinstance(value, str) and value
    }
    return Image(
        name,
        str(found.get("status") or ""),
        _seconds(str(created)) if created else None,
        found.get("size"),
        properties,
    )


def _seconds(time: str) -> float:
    """Seconds since the epoch of Glance's 2026-11-21T08:00:00Z."""
    return datetime.fromisoformat(time.replace("Z", "+00:00")).replace(tzinfo=UTC).timestamp()
