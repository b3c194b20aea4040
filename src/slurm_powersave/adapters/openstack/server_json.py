"""What Nova tells of a server, in the port's words."""

from collections.abc import Mapping, Sequence
from typing import Any

from slurm_powersave.model.nodes import Server

_STATUSES = {
    "HARD_REBOOT": "REBOOT",
    "PASSWORD": "ACTIVE",
    "REVERT_RESIZE": "RESIZE",
    "VERIFY_RESIZE": "RESIZE",
    # Not there for Slurm, and back only by somebody's hand.
    "PAUSED": "SHUTOFF",
    "RESCUE": "SHUTOFF",
    "SHELVED": "SHUTOFF",
    "SHELVED_OFFLOADED": "SHUTOFF",
    "SUSPENDED": "SHUTOFF",
}
"""Nova's other words stay as they are. MIGRATING: it runs, and can't be changed until that is over.

SOFT_DELETED is not DELETED: the cloud still counts it and its port holds the address. Only a reading by id
shows one (Nova leaves them out of listings); deleting it again purges it.
https://docs.openstack.org/api-guide/compute/server_concepts.html#server-status
"""


def told(found: Mapping[str, Any], images: Mapping[str, str]) -> Server:
    """Make a server of Nova's JSON. `images` are the names to show, by id."""
    status = str(found.get("status") or "UNKNOWN")
    ours = _STATUSES.get(status, status)
    fault = str((found.get("fault") or {}).get("message") or "")
    if not fault and ours == "SHUTOFF" and status != ours:
        fault = f"Nova says {status}"
    image = (found.get("image") or {}).get("id", "")  # "" for a server that was booted from a volume
    flavor = found.get("flavor") or {}
    return Server(
        id=str(found["id"]),
        name=str(found.get("name") or ""),
        status=ours,
        address=next(iter(addresses(found, "fixed")), ""),
        image=images.get(image, image),
        flavor=str(flavor.get("original_name") or flavor.get("id") or ""),
        tags=frozenset(found.get("tags") or ()),
        fault=fault,
    )


def addresses(found: Mapping[str, Any], kind: str) -> list[str]:
    """Name the IPv4 addresses of a server, fixed or floating."""
    return [
        str(entry["addr"])
        for entries in (found.get("addresses") or {}).values()
        for entry in entries
        if entry.get("version") == 4 and entry.get("OS-EXT-IPS:type", "fixed") == kind
    ]


def image_ids(found: Sequence[Mapping[str, Any]]) -> frozenset[str]:
    """Name the images that servers were made from."""
    return frozenset(one["image"]["id"] for one in found if one.get("image"))
