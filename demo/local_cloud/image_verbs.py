"""The verbs of the cloud's command that are about images."""

import argparse
from typing import Any

from local_cloud import images
from local_cloud.errors import CloudFault
from local_cloud.store import Store, default_images, read_json

VERBS = ("images", "snapshots", "snapshot", "image-set", "image-delete")


def describe(verbs: Any) -> None:
    """Add the verbs to the command's parser."""
    verbs.add_parser(
        "images", help="names and directories: aliases, snapshots, and what is in the image cache"
    )
    verbs.add_parser("snapshots", help="what is known of the images that snapshots made")
    make = verbs.add_parser("snapshot", help="make an image of a server's disk")
    make.add_argument("id")
    make.add_argument("--name", required=True)
    make.add_argument("--live", action="store_true", help="of a running server: as after a power failure")
    change = verbs.add_parser("image-set", help="change properties of an image that a snapshot made")
    change.add_argument("name")
    for parser in (make, change):
        parser.add_argument("--property", action="append", default=[], metavar="KEY=VALUE")
    gone = verbs.add_parser("image-delete", help="delete one; refused while a server uses it")
    gone.add_argument("name")


def run(store: Store, args: argparse.Namespace) -> Any:
    """Do what was asked; the result is printed as JSON."""
    match args.verb:
        case "images":
            return _named(store)
        case "snapshots":
            return images.listed(store)
        case "snapshot":
            given = _properties(args.property)
            return images.snapshot(store, args.id, args.name, live=args.live, properties=given)
        case "image-set":
            return images.set_properties(store, args.name, _properties(args.property))
    images.delete(store, args.name)
    return None


def _named(store: Store) -> dict[str, str]:
    cached = [path for path in sorted(default_images().glob("*/")) if not path.name.startswith(".")]
    return {
        **{path.name: str(path) for path in cached},
        **{record["name"]: str(store.snapshots / record["name"]) for record in images.listed(store)},
        **read_json(store.root / "cloud.json", {}).get("images", {}),
    }


def _properties(words: list[str]) -> dict[str, str]:
    if wrong := [word for word in words if "=" not in word]:
        raise CloudFault("config", f"a property is KEY=VALUE, not {wrong[0]}")
    return dict(word.split("=", 1) for word in words)
