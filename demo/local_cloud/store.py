"""Files below the cloud's root: settings, servers, locks. Every write is atomic.

ROOT/cloud.json            bridge, subnet, images
ROOT/flavors.json          sizes (made with defaults, may be edited)
ROOT/faults.json           faults to come
ROOT/share/                every guest's /mnt/ohpc
ROOT/images/NAME/          image.json, and the layers of a snapshot (images.py)
ROOT/servers/ID/           server.json, boot.json, console.log, supervisor.log, upper, work, root
ROOT/locks/                lock files
"""

import contextlib
import fcntl
import hashlib
import json
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from local_cloud.errors import CloudFault

FLAVORS = {
    "tiny": {"vcpus": 1, "ram": 512, "disk": 10},
    "small": {"vcpus": 1, "ram": 1024, "disk": 10},
    "medium": {"vcpus": 2, "ram": 2048, "disk": 20},
    "large": {"vcpus": 4, "ram": 4096, "disk": 40},
    "login": {"vcpus": 2, "ram": 2048, "disk": 20},
}
"""RAM in MiB, disk in GiB (disk is not enforced)."""
SNAPSHOT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
"""Names of snapshots: no part of a path, nothing that overlayfs or a shell takes for more than a name."""


def read_json(path: Path, default: Any = None) -> Any:
    """Read a file that we wrote; `default` if there is none."""
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        return default


def write_json(path: Path, value: Any) -> None:
    """Replace a file at once, so that a reader sees the old one or the new one."""
    new = path.with_name(f".{path.name}.{os.getpid()}.{time.monotonic_ns()}")
    new.write_text(json.dumps(value, indent=1, sort_keys=True) + "\n")
    new.replace(path)


def default_images() -> Path:
    """Where demo/guests/build keeps images."""
    return Path(os.environ.get("SLURM_POWERSAVE_IMAGES", "/var/cache/slurm-powersave/images"))


class Store:
    """The files of one cloud."""

    def __init__(self, root: Path, images: dict[str, str] | None = None) -> None:
        self.root = root.absolute()
        self.images = images or {}
        self.servers = self.root / "servers"
        self.trash = self.root / "trash"
        self.share = self.root / "share"
        self.snapshots = self.root / "images"

    @property
    def tag(self) -> str:
        """Names this cloud in names of cgroups, units and rules."""
        return hashlib.sha256(str(self.root).encode()).hexdigest()[:8]

    def prepare(self) -> None:
        """Make the directories and default files."""
        for directory in (self.servers, self.trash, self.root / "locks", self.share, self.snapshots):
            directory.mkdir(parents=True, exist_ok=True)
        self.root.chmod(0o700)
        self.share.chmod(0o1777)
        if not (self.root / "flavors.json").exists():
            write_json(self.root / "flavors.json", FLAVORS)

    @contextlib.contextmanager
    def lock(self, name: str, timeout: float = 120) -> Iterator[None]:
        """Hold ROOT/locks/NAME; works between processes and between threads of one."""
        path = self.root / "locks" / name
        try:
            stream = path.open("w")
        except FileNotFoundError:
            raise CloudFault("not-found", f"there is no cloud at {self.root}") from None
        with stream:
            deadline = time.monotonic() + timeout
            while True:
                try:
                    fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        raise CloudFault("host", f"{path} was held for {timeout:.0f} s") from None
                    time.sleep(0.01)
            yield

    def settings(self) -> dict[str, Any]:
        """Return bridge, subnet and images."""
        settings = read_json(self.root / "cloud.json")
        if settings is None:
            raise CloudFault("config", f"the cloud at {self.root} has no network yet: network ensure")
        return dict(settings)

    def flavor(self, name: str) -> dict[str, int]:
        """Return a flavor's vcpus, ram (MiB) and disk (GiB)."""
        flavors = read_json(self.root / "flavors.json", FLAVORS)
        if name not in flavors:
            raise CloudFault(
                "config", f"flavor {name} could not be found; there are: {', '.join(sorted(flavors))}"
            )
        return dict(flavors[name])

    def image(self, name: str) -> str:
        """Return an image's directories as overlayfs wants them, the topmost first, with colons between.

        The name is an alias of the settings, a snapshot's, a hash, or a path.
        """
        aliases = {**self.settings().get("images", {}), **self.images}
        if name not in aliases and (snapshot := self.snapshot(name)) is not None:
            home = self.snapshots / name
            layers = [str(home / str(number)) for number in range(snapshot["layers"])]
            return ":".join([*layers, str(self._tree(name, snapshot["base"]))])
        return str(self._tree(name, str(aliases.get(name, name))))

    def snapshot(self, name: str) -> dict[str, Any] | None:
        """Read the record of an image that was made by a snapshot; None if there is none of that name."""
        if not SNAPSHOT.fullmatch(name):
            return None
        record = read_json(self.snapshots / name / "image.json")
        return None if record is None else dict(record)

    def _tree(self, name: str, given: str) -> Path:
        """Find the root file system that demo/guests/build made."""
        # Resolved: a disk belongs to the very tree that it was laid over, not to where a link points now.
        path = (Path(given) if given.startswith("/") else default_images() / given).resolve()
        if "/" in given.lstrip("/") and not given.startswith("/"):
            raise CloudFault("config", f"image {name}: {given} is neither an absolute path nor a name")
        if not (path / "etc/slurm-powersave-image").exists():
            raise CloudFault(
                "config", f"image {name} could not be found at {path}; demo/guests/build makes one"
            )
        if any(char in str(path) for char in ":,\\"):
            raise CloudFault("config", f"image {name}: an overlay can't have {path} as its lower directory")
        return path

    def locked(self, name: str) -> bool:
        """Tell whether somebody holds a lock."""
        try:
            with (self.root / "locks" / name).open("w") as stream:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except FileNotFoundError:
            return False
        return False

    def server_ids(self) -> list[str]:
        """Name all servers."""
        try:
            return [entry.name for entry in os.scandir(self.servers) if not entry.name.startswith(".")]
        except FileNotFoundError:
            return []

    def read(self, server_id: str) -> dict[str, Any] | None:
        """Read a server's record; None if it is gone."""
        if server_id in ("", ".", "..") or "/" in server_id:
            return None
        record = read_json(self.servers / server_id / "server.json")
        return None if record is None else dict(record)

    def write(self, record: dict[str, Any]) -> None:
        """Replace a server's record."""
        write_json(self.servers / record["id"] / "server.json", record)
