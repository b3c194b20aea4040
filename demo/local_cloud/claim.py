"""Who owns a name and an address: a node name has at most one server."""

import time
import uuid
from typing import Any

from local_cloud import faults
from local_cloud.errors import CloudFault
from local_cloud.store import Store, write_json

IDENTITY = ("name", "address", "image", "flavor", "key_pair")
"""What must agree for a live server to be adopted; besides the tag `cluster=`."""
STAYS_BEHIND = ("capacity", "node-local")
"""Failures after Nova accepted a request: the server stays, in status ERROR."""


def claim(store: Store, wanted: dict[str, Any]) -> tuple[dict[str, Any], bool]:
    """Return the record of a new server, or of the live one that is exactly the wanted one.

    The second value tells whether it is new. A server is adopted when its creator was killed before
    anybody recorded its id. The caller holds the lock on names. Raises CloudFault: conflict, or what
    an armed fault says.
    """
    for server_id in store.server_ids():
        other = store.read(server_id)
        if other is None:
            continue
        clash = next((field for field in ("name", "address") if other[field] == wanted[field]), None)
        if clash is None:
            continue
        if _is_the_one(other, wanted):
            other["tags"] = wanted["tags"]
            store.write(other)
            return other, False
        owner = f"server {server_id} ({other['status']})"
        raise CloudFault("conflict", f"{clash} {wanted[clash]} belongs to {owner}: delete it first")
    return _new(store, wanted), True


def _is_the_one(other: dict[str, Any], wanted: dict[str, Any]) -> bool:
    same = all(other[field] == wanted[field] for field in IDENTITY)
    return same and other["status"] in ("BUILD", "ACTIVE") and _deployment(other) == _deployment(wanted)


def _deployment(record: dict[str, Any]) -> set[str]:
    return {tag for tag in record["tags"] if tag.startswith("cluster=")}


def _new(store: Store, wanted: dict[str, Any]) -> dict[str, Any]:
    broken = faults.take(store, faults.CREATE, wanted["name"])
    if broken and broken["class"] not in STAYS_BEHIND:
        raise CloudFault(broken["class"], broken["text"])
    record = {**wanted, "id": str(uuid.uuid4()), "status": "BUILD", "fault": "", "created": time.time()}
    if broken:
        record.update(status="ERROR", fault=f"{broken['class']}: {broken['text']}")
    new = store.servers / f".new-{record['id']}"
    new.mkdir()
    write_json(new / "server.json", record)
    new.rename(store.servers / record["id"])
    if broken:
        raise CloudFault(broken["class"], broken["text"], record["id"])
    return record
