"""Images that snapshots made: what a server's disk holds beyond its image, as a layer over the same tree.

ROOT/images/NAME/image.json, and the layers 0 (the server's own disk), 1, ...: those of the image that the
server was made from, hard-linked, less what is hidden. So an image needs the tree that demo/guests/build made
and no other image, and any image may be deleted that no server uses.
"""

import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

from local_cloud.errors import CloudFault
from local_cloud.guest import Guest
from local_cloud.store import SNAPSHOT, Store, write_json

LONGEST = 3500
"""Bytes: mount(2) takes one page of options, and the upper and work directories are among them."""
TRIES = 5
"""A file that a running guest deletes while it is copied fails a copy."""


def listed(store: Store) -> list[dict[str, Any]]:
    """Return the records of all snapshots, oldest first."""
    try:
        names = [entry.name for entry in os.scandir(store.snapshots)]
    except FileNotFoundError:
        return []
    records = [record for name in names if (record := store.snapshot(name)) is not None]
    return sorted(records, key=lambda record: float(record["created"]))


def snapshot(
    store: Store, server_id: str, name: str, *, live: bool = False, properties: dict[str, str] | None = None
) -> dict[str, Any]:
    """Make an image of a server's disk. Return when it can be used.

    The server must be off. `live` takes a running one's disk, too: as after a power failure. The image is
    there as a whole or not at all, whenever this is killed.
    """
    if not SNAPSHOT.fullmatch(name):
        raise CloudFault("config", f"{name!r} is no name of an image: letters, digits, _ . and -")
    if store.read(server_id) is None:
        raise CloudFault("not-found", f"server {server_id} could not be found")
    with store.lock("images"), store.lock(server_id):
        record = store.read(server_id)
        if record is None:
            raise CloudFault("not-found", f"server {server_id} could not be found")
        if store.snapshot(name) or name in {**store.settings().get("images", {}), **store.images}:
            raise CloudFault("conflict", f"there is an image {name} already")
        if Guest(store, server_id).running() and not live:
            raise CloudFault(
                "conflict",
                f"server {server_id} is running: stop it first, or take its disk as it is (--live)",
            )
        *below, base = str(record["image_path"]).split(":")
        _refuse_too_long(store, name, [*below, base])
        new = store.snapshots / f".new-{name}"
        shutil.rmtree(new, ignore_errors=True)  # of a snapshot that was killed: we hold the lock
        new.mkdir(parents=True)
        _copy_disk(store.servers / server_id / "upper", new / "0", tries=TRIES if live else 1)
        for number, layer in enumerate(below, 1):
            _copy(Path(layer), new / str(number), "--link")
            for above in range(number):
                _drop_hidden(new / str(above), new / str(number))
        made = {
            "name": name,
            "created": time.time(),
            "base": base,
            "layers": 1 + len(below),
            "size": _size(new),
            "server": record["name"],
            "properties": properties or {},
        }
        write_json(new / "image.json", made)
        new.rename(store.snapshots / name)
    return made


def set_properties(store: Store, name: str, properties: dict[str, str]) -> dict[str, Any]:
    """Add properties to an image, or replace them."""
    with store.lock("images"):
        record = _known(store, name)
        record["properties"] = {**record["properties"], **properties}
        write_json(store.snapshots / name / "image.json", record)
    return record


def delete(store: Store, name: str) -> None:
    """Delete an image; refused while a server's disk lies over it."""
    with store.lock("images"):
        _known(store, name)
        home = store.snapshots / name
        users = [
            record["name"]
            for server_id in store.server_ids()
            if (record := store.read(server_id)) and f"{home}/" in record["image_path"]
        ]
        if users:
            raise CloudFault("conflict", f"image {name} is in use by {', '.join(sorted(users))}")
        gone = store.trash / f"image-{name}-{time.monotonic_ns()}"
        home.rename(gone)
    shutil.rmtree(gone, ignore_errors=True)


def _known(store: Store, name: str) -> dict[str, Any]:
    record = store.snapshot(name)
    if record is None:
        raise CloudFault("not-found", f"there is no snapshot {name}")
    return record


def _refuse_too_long(store: Store, name: str, lower: list[str]) -> None:
    if sum(len(path) + 1 for path in lower) + len(f"{store.snapshots / name}/0:") > LONGEST:
        raise CloudFault(
            "config", f"image {name} would have {len(lower)} layers: build it from an image with fewer"
        )


def _copy_disk(upper: Path, target: Path, tries: int) -> None:
    for left in reversed(range(tries)):
        try:
            return _copy(upper, target, "--reflink=auto")
        except CloudFault:
            if not left:
                raise
            shutil.rmtree(target, ignore_errors=True)


def _copy(source: Path, target: Path, how: str) -> None:
    # --archive keeps what makes a layer one: whiteouts (devices 0/0) and the attributes trusted.overlay.*.
    argv = ["cp", "--archive", "--one-file-system", how, str(source), str(target)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CloudFault("host", f"the disk could not be copied: {done.stderr.strip()[-300:]}")


def _drop_hidden(above: Path, below: Path) -> None:
    """Remove from a layer what one above it hides: a key that was deleted is not to stay in the image."""
    for directory, names, files in os.walk(above):
        place = below / Path(directory).relative_to(above)
        for name in files:
            _remove(place / name)
        for name in [name for name in names if _opaque(Path(directory, name))]:
            _remove(place / name)


def _opaque(directory: Path) -> bool:
    """Tell whether a directory hides the one below it instead of adding to it."""
    try:
        return os.getxattr(directory, "trusted.overlay.opaque", follow_symlinks=False) == b"y"
    except OSError:
        return False


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _size(directory: Path) -> int:
    """Return the bytes that a directory takes on the disk (du(1) counts a file with two links once)."""
    done = subprocess.run(["du", "-s", "-B1", str(directory)], capture_output=True, text=True, check=False)
    return int(done.stdout.split()[0]) if done.stdout else 0
