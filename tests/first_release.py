"""The first release's files, laid out again from tests/recorded/first_release."""

import hashlib
import io
import json
import os
import sqlite3
import tarfile
from base64 import b64encode
from collections.abc import Mapping
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import Any

import yaml

COMMIT = "4add6ed"
RECORDED = Path(__file__).parent / "recorded" / "first_release"
CHECKOUT = Path(__file__).resolve().parents[1]
HOSTS = ("up-login", "up-1", "up-2")
_SECRETS = {
    "keys/id_ed25519": "not a key: nothing is reached with it\n",
    "keys/munge.key": "not a key, either\n",
    "known_hosts.lock": "",
}
_PREFIX = b"\0\0\0\x0bssh-ed25519\0\0\0\x20"
"""What every public key of this kind begins with (RFC 8709)."""


@cache
def key(name: str) -> str:
    """Make a public key of ours for a name: nothing that anybody has the other half of."""
    return b64encode(_PREFIX + os.urandom(32)).decode()


def filled(text: str, place: Path) -> str:
    """Put the paths of this machine, and keys, in the place of @NAMES@."""
    names = {
        "@PLACE@": str(place),
        "@CHECKOUT@": str(CHECKOUT),
        "@IMAGE@": "/srv/image",
        "@PUBLIC_KEY@": key("control"),
    }
    names |= {f"@HOST_KEY_{host}@": key(host) for host in HOSTS}
    for name, value in names.items():
        text = text.replace(name, value)
    return text


def recorded(name: str, place: Path) -> Any:
    """Read one of the YAML files."""
    return yaml.safe_load(filled((RECORDED / name).read_text(), place))


def write(path: Path, content: str | bytes) -> None:
    """Write a file that only its owner reads, as the first release did."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    path.chmod(0o600)


def journal(path: Path, place: Path, name: str = "journal.sql") -> Path:
    """Make the journal as it was, of a cluster in `place`."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with closing(sqlite3.connect(path)) as db:
        db.executescript(filled((RECORDED / name).read_text(), place))
    path.chmod(0o600)
    return path


def cluster_file(place: Path) -> Path:
    """Write the cluster file, and what it names beside itself."""
    write(place / "cluster.yml", filled((RECORDED / "cluster.yml").read_text(), place))
    write(place / "mirror/terraform.rc", "")
    return place / "cluster.yml"


def state_directory(place: Path) -> Path:
    """Lay out cluster file and state directory below `place`, as an engine that was stopped has left them."""
    cluster_file(place)
    state = place / "state"
    _write_all(state, recorded("state.yml", place) | _SECRETS)
    for lock in state.glob("terraform/**/.terraform.lock.hcl"):
        (lock.parent / ".terraform").mkdir()  # with the providers, which take much room
    write(state / "engine.lock", "")
    journal(state / "journal.db", place)
    return state


def _write_all(directory: Path, files: Mapping[str, str]) -> None:
    for name, content in files.items():
        write(directory / name, content)


def backup(place: Path, journal_of_then: str = "backup.sql") -> Path:
    """Pack the backup as that release did, for a cluster file in `place`; return the file."""
    found = recorded("backup.yml", place)
    said, since = found["manifest"], found["changed_since"]
    packed = place.with_name(f"{place.name}.packed")
    now = {f"state/{name}": content for name, content in (recorded("state.yml", place) | _SECRETS).items()}
    _write_all(packed, now | since)
    write(packed / "cluster.yml", filled((RECORDED / "cluster.yml").read_text(), place))
    journal(packed / "state/journal.db", place, journal_of_then)
    content = {name: (packed / name).read_bytes() for name in said["members"]}
    members = {
        name: {"size": len(one), "sha256": hashlib.sha256(one).hexdigest()} for name, one in content.items()
    }
    text = json.dumps(said | {"members": members}, indent=1) + "\n"
    target = place.with_name("old.tar.gz")
    with tarfile.open(str(target), "w|gz") as tar:
        for name, one in {"manifest.json": text.encode(), **content}.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode, entry.mtime = len(one), 0o600, int(said["created"])
            tar.addfile(entry, io.BytesIO(one))
    return target


def spool(new: Path) -> dict[str, str]:
    """Put the requests of that release's hooks into `new/` of a spool; return id -> mode."""
    found = {}
    for hooks in recorded("spool.yml", new).values():
        for mode, content in hooks.items():
            request_id = content.split("\nid ")[1].split("\n")[0]
            write(new / request_id, content)
            found[request_id] = mode
    return found
