"""What Nova tells of a server, in the port's words."""

from collections.abc import Mapping, Sequence
from typing import Any

from slurm_powersave.model.errors import CloudError
from slurm_powersave.model.nodes import Server
from slurm_powersave.model.outside_text import SERVER_ID, STATUS, address, chosen_name, matching

_LONGEST_FAULT = 4000
"""Characters of a fault; Nova's own limit for a message is 255, but it may carry a traceback."""
_STATUSES = {
    "HARD_REBOOT": "REBOOT",
    "PASSWORD": "ACTIVE",
    "REVERT_RESIZE": "RESIZE",
    "VERIFY_RESIZE": "RESIZE",
}
"""Nova's other words stay as they are; what they mean for a node stands in model/server_status.py.
MIGRATING: it runs, and can't be changed until that is over.

SOFT_DELETED is not DELETED: the cloud still counts it and its port holds the address. Only a reading by id
shows one (Nova leaves them out of listings); deleting it again purges it.
https://docs.openstack.org/api-guide/compute/server_concepts.html#server-status
"""


def to_server(found: Mapping[str, Any], images: Mapping[str, str]) -> Server:
    """Make a server of Nova's JSON. `images` are the names to show, by id.

    Raises:
        CloudError: the server has no id that could be one.
    """
    server_id = matching(SERVER_ID, found.get("id"))
    if not server_id:
        raise CloudError(
            "the cloud's answer has a server without an id",
            where="OpenStack compute",
            why=repr(found.get("id"))[:80],
        )
    status = matching(STATUS, found.get("status")) or "UNKNOWN"
    fault = str((found.get("fault") or {}).get("message") or "")[:_LONGEST_FAULT]
    if not fault and status == "VERIFY_RESIZE":
        fault = f"Nova says {status}"
    image = matching(SERVER_ID, (found.get("image") or {}).get("id"))  # none if it was booted from a volume
    flavor = found.get("flavor") or {}
    return Server(
        id=server_id,
        name=chosen_name(found.get("name")),
        status=_STATUSES.get(status, status),
        address=next(iter(addresses(found, "fixed")), ""),
        image=chosen_name(images.get(image, image)),
        image_id=image,
        flavor=chosen_name(flavor.get("original_name")) or matching(SERVER_ID, flavor.get("id")),
        tags=frozenset(tag for tag in found.get("tags") or () if isinstance(tag, str)),
        fault=fault,
        locked=found.get("locked") is True,
    )


def addresses(found: Mapping[str, Any], kind: str) -> list[str]:
    """Name the IPv4 addresses of a server, fixed or floating."""
    return [
        place
        for entries in (found.get("addresses") or {}).values()
        for entry in entries
        if entry.get("version") == 4 and entry.get("OS-EXT-IPS:type", "fixed") == kind
        if (place := address(entry.get("addr")))
    ]


def image_ids(found: Sequence[Mapping[str, Any]]) -> frozenset[str]:
    """Name the images that servers were made from."""
    return frozenset(one["image"]["id"] for one in found if one.get("image"))
