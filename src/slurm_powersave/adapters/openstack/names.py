"""Names and ids of images and flavors. A person writes names; Nova wants ids, and tells ids of images."""

import threading
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from slurm_powersave.adapters.openstack.api import Api
from slurm_powersave.model.errors import CloudError, FailureClass
from slurm_powersave.model.nodes import Flavor
from slurm_powersave.model.outside_text import SERVER_ID, chosen_name, is_chosen_name, matching

IMAGES_AGE = 60.0
"""Seconds for which the list of images is believed when a server's image is to be named."""


class Names:
    """Looks names up at one cloud. May be used by several threads."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._lock = threading.Lock()
        self._shown: dict[str, str] = {}
        self._read_at = -IMAGES_AGE

    def image_id(self, name: str) -> str:
        """Return the id of an active image.

        Raises:
            CloudError: there is none, or several have this name (class CONFIG).
        """
        # Glance reads a name that begins with "in:" as a list of names.
        listed = self._api.listed("image", "/images", name=name)
        found = [image for image in listed if image.get("name") == name]
        if not found and _is_id(name) and (one := self._api.find("image", f"/images/{name}")):
            found = [one]
        active = [str(image["id"]) for image in found if image.get("status") == "active"]
        if len(active) == 1:
            return active[0]
        if active:
            raise _config(f"{len(active)} images are named {name}", ", ".join(sorted(active)), "image")
        status = (
            f"it is {found[0].get('status')}" if found else "no image that we may use has this name or id"
        )
        raise _config(f"there is no active image {name}", status, "image")

    def flavor_id(self, name: str) -> str:
        """Return the id of a flavor.

        Raises:
            CloudError: there is none (class CONFIG).
        """
        flavors = self.flavors()
        if name in flavors:
            return flavors[name].id
        if any(flavor.id == name for flavor in flavors.values()):
            return name
        raise _config(
            f"there is no flavor {name}", f"it has {', '.join(sorted(flavors)) or 'none'}", "flavor"
        )

    def flavors(self) -> Mapping[str, Flavor]:
        """Read the flavors by name: the public ones, and those that our project may use."""
        found = self._api.listed("compute", "/flavors/detail")
        return {
            str(one["name"]): Flavor(
                str(one["name"]), int(one["vcpus"]), int(one["ram"]), int(one["disk"]), str(one["id"])
            )
            for one in found
            if is_chosen_name(one["name"]) and matching(SERVER_ID, str(one["id"]))
        }

    def images(self) -> list[dict[str, Any]]:
        """Read all images, in any status."""
        listed = self._api.listed("image", "/images")
        found = [one for one in listed if matching(SERVER_ID, one.get("id"))]
        with self._lock:
            self._shown, self._read_at = shown(found), time.monotonic()
        return found

    def unlisted(self, wanted: Iterable[str], listed: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Read by their ids images that no list has: community and hidden ones can be used, too."""
        known = {one["id"] for one in listed}
        ids = sorted({one for one in wanted if _is_id(one) and one not in known})
        return [found for one in ids if (found := self._api.find("image", f"/images/{one}"))]

    def image_names(self, ids: frozenset[str]) -> Mapping[str, str]:
        """Return what to call images, by id; the list is read again if it is old or lacks one of them."""
        known, age = self._shown, time.monotonic() - self._read_at
        # An image that is gone stays unknown: not every listing of servers has to ask for it again.
        if ids and (age > IMAGES_AGE or not ids <= known.keys()):
            self.images()
            with self._lock:
                self._shown |= {one: one for one in ids - self._shown.keys()}
        return self._shown

    def forget(self) -> None:
        """An image was made, or deleted: read the list when it is needed next."""
        with self._lock:
            self._read_at = -IMAGES_AGE


def shown(images: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Say what to call each image: its name if that leads to it, else its id.

    A name that several have belongs to the only active one of them.
    """
    holders: dict[str, list[Mapping[str, Any]]] = {}
    for image in images:
        holders.setdefault(chosen_name(image.get("name")), []).append(image)
    found = {}
    for name, same in holders.items():
        active = [image for image in same if image.get("status") == "active"]
        owners = active or same
        for image in same:
            owns = name and len(owners) == 1 and image is owners[0]
            found[str(image["id"])] = name if owns else str(image["id"])
    return found


def _is_id(text: str) -> bool:
    try:
        uuid.UUID(text)
    except ValueError:
        return False
    return True


def _config(what: str, why: str, kind: str) -> CloudError:
    return CloudError(
        what,
        failure=FailureClass.CONFIG,
        where="OpenStack",
        why=why,
        todo=f"Write the {kind}'s id, or another name, in the cluster file.",
    )
