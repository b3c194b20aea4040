"""Servers as Nova and the local cloud tell them."""

from typing import Any

ID = "5f3ff3a6-6f4a-4a3c-8f0e-5b3a3f1f2d11"
LOCAL = {
    "id": ID,
    "name": "n1",
    "status": "ACTIVE",
    "address": "10.0.0.1",
    "image": "i",
    "flavor": "f",
    "tags": ["a"],
    "host_key": "",
    "fault": "",
}


def nova(**said: Any) -> dict[str, Any]:
    """Make a server as Nova tells it."""
    return {
        "id": ID,
        "name": "n1",
        "status": "ACTIVE",
        "image": {"id": "i1"},
        "flavor": {"original_name": "small"},
        "tags": ["cluster=demo"],
        "addresses": {"net": [{"version": 4, "addr": "10.0.0.1"}]},
        **said,
    }
