"""What the OpenStack of one file says of itself: tokens with the catalog, and its services' versions."""

from typing import Any

PROJECT = "0123456789abcdef0123456789abcdef"


def token(address: str) -> Any:
    """A token of Keystone's, with the addresses of all services."""
    catalog = [
        {
            "type": kind,
            "name": kind,
            "id": kind,
            "endpoints": [
                {
                    "interface": "public",
                    "region": "RegionOne",
                    "region_id": "RegionOne",
                    "id": kind,
                    "url": f"{address}/{kind}{version}",
                }
            ],
        }
        for kind, version in (
            ("identity", "/v3"),
            ("compute", "/v2.1"),
            ("image", ""),
            ("network", ""),
            ("block-storage", "/v3"),
        )
    ]
    return {
        "token": {
            "methods": ["password"],
            "user": {"id": "u", "name": "demo", "domain": {"id": "default", "name": "Default"}},
            "project": {"id": PROJECT, "name": "demo", "domain": {"id": "default", "name": "Default"}},
            "roles": [{"id": "r", "name": "member"}],
            "expires_at": "2099-01-01T00:00:00.000000Z",
            "issued_at": "2026-11-21T08:00:00.000000Z",
            "audit_ids": ["a"],
            "catalog": catalog,
        }
    }


def version(address: str, service: str) -> Any:
    """What a service says of its versions at its root."""
    version = {
        "identity": "v3",
        "compute": "v2.1",
        "image": "v2",
        "network": "v2.0",
        "block-storage": "v3",
    }[service]
    told = {
        "id": "v3.14" if service == "identity" else version,
        "status": "stable" if service == "identity" else "CURRENT",
        "version": "2.96" if service == "compute" else "",
        "min_version": "2.1" if service == "compute" else "",
        "links": [{"rel": "self", "href": f"{address}/{service}/{version}/"}],
    }
    return {"version": told} if service in ("identity", "compute") else {"versions": [told]}
