"""Faults on demand: what the next matching servers are to suffer."""

import re
import time
from typing import Any

from local_cloud.errors import CloudFault
from local_cloud.store import Store, read_json, write_json

CREATE, SLOW_CREATE, SLOW_BOOT, BOOT, VANISH, DELETE, CHANGE, BROKEN_CHANGE = (
    "create-fails",
    "slow-create",
    "slow-boot",
    "boot-fails",
    "vanish",
    "delete-fails",
    "change-refused",
    "change-fails",
)
"""A change is a reboot, rebuild or resize: refused before the server is touched, or failing half way."""
KINDS = (CREATE, SLOW_CREATE, SLOW_BOOT, BOOT, VANISH, DELETE, CHANGE, BROKEN_CHANGE)
TEXTS = {
    "capacity": "No valid host was found. There are not enough hosts available.",
    "quota": "Quota exceeded for cores: Requested 2, but already used 20 of 20 cores",
    "auth": "The request you have made requires authentication. (HTTP 401)",
    "config": "Invalid value for the network: it could not be found. (HTTP 400)",
    "node-local": "Build of instance aborted: Failed to allocate the network(s), not rescheduling.",
}
"""Nova's and Neutron's own words for each class of failure."""


def add(
    store: Store, kind: str, match: str, times: int, seconds: float, failure: str, text: str
) -> dict[str, Any]:
    """Arm a fault for the next `times` servers whose name matches (0: until it is cleared)."""
    if kind not in KINDS:
        raise CloudFault("config", f"there is no fault {kind}; there are: {', '.join(KINDS)}")
    if failure not in TEXTS:
        raise CloudFault("config", f"there is no class {failure}; there are: {', '.join(TEXTS)}")
    try:
        re.compile(match)
    except re.error as error:
        raise CloudFault("config", f"match {match}: {error}") from None
    fault = {
        "id": f"{time.time_ns():x}",
        "kind": kind,
        "match": match,
        "left": times or -1,
        "seconds": seconds,
        "class": failure,
        "text": text or TEXTS[failure],
    }
    with store.lock("faults"):
        write_json(store.root / "faults.json", [*listed(store), fault])
    return fault


def clear(store: Store, match: str = "") -> None:
    """Disarm all faults, or those with exactly this match."""
    with store.lock("faults"):
        kept = [fault for fault in listed(store) if match and fault["match"] != match]
        write_json(store.root / "faults.json", kept)


def listed(store: Store) -> list[dict[str, Any]]:
    """Return the armed faults, oldest first."""
    return list(read_json(store.root / "faults.json", []))


def take(store: Store, kind: str, name: str) -> dict[str, Any] | None:
    """Return the first armed fault of a kind that matches a server's name, and count it."""
    if not listed(store):
        return None
    with store.lock("faults"):
        armed = listed(store)
        for fault in armed:
            if fault["kind"] == kind and re.fullmatch(fault["match"], name):
                if fault["left"] > 0:
                    fault["left"] -= 1
                write_json(store.root / "faults.json", [entry for entry in armed if entry["left"] != 0])
                return fault
    return None
