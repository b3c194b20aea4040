"""The cluster's known_hosts: host keys that came by a trusted way, one line per host and key (sshd(8)).

Only we write it. A host's old lines go when its new keys come: an address that is used again must not
be refused because of the server that had it before. Keys come once for each disk of a server.
"""

import fcntl
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import quote, unquote

from slurm_powersave.adapters.terraform.state_file import write_synced
from slurm_powersave.config.plain_file import read_text
from slurm_powersave.decide.node.host_keys import Pin
from slurm_powersave.model.errors import ConfigError, MachineError

_DISK = "disk="
# Type and key as in a public key file; a comment may follow and is dropped.
_KEY = re.compile(r"^((?:ssh|ecdsa|sk-ssh|sk-ecdsa)-[A-Za-z0-9@.-]+ [A-Za-z0-9+/]+={0,2})(?:\s.*)?$")


def key_lines(host: tuple[str, str], keys: str, disk: str = "") -> Sequence[str]:
    """Make the lines of a host (name, address) from its public keys, as *.pub files have them.

    `disk` says whose keys they are; it stands where ssh has a comment.

    Raises:
        ConfigError: that is no key.
    """
    found = [_KEY.match(line.strip()) for line in keys.splitlines() if line.strip()]
    if not found or None in found:
        raise ConfigError(
            "the cloud returned something that is no SSH host key", where=host[0], why=repr(keys[:80])
        )
    # A set: cloud-init prints a key again at each boot.
    pin = f" {_DISK}{quote(disk, safe='/')}" if disk else ""
    return sorted({f"{','.join(dict.fromkeys(host))} {match[1]}{pin}" for match in found if match})


def record(path: Path, hosts: Mapping[tuple[str, str], Sequence[str]]) -> None:
    """Replace all lines of these hosts, (name, address), by the ones that `key_lines` made."""
    gone = {word for host in hosts for word in host}
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        kept = [line for line in _read(path) if gone.isdisjoint(_names(line))]
        lines = kept + [line for new in hosts.values() for line in new]
        write_synced(path, "".join(f"{line}\n" for line in lines))
    finally:
        os.close(lock)


def pins(path: Path) -> dict[tuple[str, ...], Pin]:
    """Return what is recorded, by the names of each host as `key_lines` wrote them."""
    found: dict[tuple[str, ...], Pin] = {}
    for line in _read(path):
        words = line.split(" ")
        if len(words) < 3:
            continue
        disk = unquote(words[3].removeprefix(_DISK)) if words[3:] and words[3].startswith(_DISK) else ""
        host = tuple(_names(line))
        before = found.get(host, Pin(frozenset()))
        found[host] = Pin(before.keys | {" ".join(words[1:3])}, disk)
    return found


def known(path: Path) -> frozenset[str]:
    """Return all names and addresses that have a key."""
    return frozenset(word for line in _read(path) for word in _names(line))


def _names(line: str) -> list[str]:
    return line.split(" ", 1)[0].split(",")


def _read(path: Path) -> list[str]:
    try:
        return read_text(path).splitlines()
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as error:
        raise MachineError(
            "the file of SSH host keys can't be read",
            where=str(path),
            why=str(error),
            todo="Find out what has happened to it, and put it back from a backup: slurm-powersave restore.",
        ) from error


class KnownHosts:
    """Implements ports.HostKeys with one file."""

    key_lines = staticmethod(key_lines)

    def __init__(self, path: Path) -> None:
        self._path = path

    def pins(self) -> dict[tuple[str, ...], Pin]:
        """Return what is recorded."""
        return pins(self._path)

    def record(self, hosts: Mapping[tuple[str, str], Sequence[str]]) -> None:
        """Replace all lines of these hosts."""
        record(self._path, hosts)
