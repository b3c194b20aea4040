"""SSH host keys of a server: from its console, where cloud-init prints them, or by trust on first use.

The console comes through the cloud's API, so its keys are the server's own: the first ones, which the system
printed before anybody could log in. What was printed later may be by anybody who is root there.
"""

import base64
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from slurm_powersave.adapters.openstack.api import Api
from slurm_powersave.adapters.processes import process
from slurm_powersave.model.errors import CloudError

BEGIN = "-----BEGIN SSH HOST KEY KEYS-----"
END = "-----END SSH HOST KEY KEYS-----"
SCAN_TIMEOUT = 3
"""Seconds that ssh-keyscan waits for an address."""
_KEY = re.compile(r"\b((?:ssh|ecdsa|sk-ssh|sk-ecdsa)-[A-Za-z0-9@.-]+) ([A-Za-z0-9+/]{40,}={0,2})(?:\s|$)")
# No console driver, one that is not ready, an older server whose host is down: the cloud has nothing to show.
_NO_CONSOLE = (404, 409, 501)


@dataclass(frozen=True)
class Shown:
    """What a console shows of host keys."""

    blocks: tuple[str, ...] = ()
    """Different blocks in their order, each as *.pub files have it, ed25519 first."""
    lost: bool = False
    """The first block is there no longer as a whole: a console keeps its last part only."""


def read(api: Api, server_id: str) -> Shown:
    """Read the keys from a server's console; nothing as long as there are none."""
    try:
        answer = api.ask(
            "POST", "compute", f"/servers/{server_id}/action", body={"os-getConsoleOutput": {"length": None}}
        )
    except CloudError as error:
        if error.status in _NO_CONSOLE:
            return Shown()
        raise
    return shown((answer or {}).get("output") or "")


def shown(console: str) -> Shown:
    """Find the whole blocks in what a console shows.

    Lines of others may stand between the keys, or in the middle of one: a key that is not whole is left out.
    A block that shares a key with an earlier one is the same printed again, as at each boot.
    """
    before, end, _ = console.partition(END)
    if end and BEGIN not in before:
        return Shown(lost=True)
    found: list[str] = []
    for part in console.split(END)[:-1]:
        _, begin, block = part.rpartition(BEGIN)
        keys = _keys(block) if begin else ()
        if keys and not any(key in earlier.split("\n") for earlier in found for key in keys):
            found.append("\n".join(keys))
    return Shown(tuple(found))


def keys(console: str) -> str:
    """Return the first whole block; empty if there is none."""
    return next(iter(shown(console).blocks), "")


def _keys(block: str) -> list[str]:
    found = {f"{kind} {blob}" for kind, blob in _KEY.findall(block) if _whole(kind, blob)}
    return sorted(found, key=lambda key: (not key.startswith("ssh-ed25519 "), key))


def scan(addresses: Sequence[str]) -> str:
    """Ask the first of these addresses that answers for its keys: trust on first use."""
    for address in addresses:
        argv = ["ssh-keyscan", "-T", str(SCAN_TIMEOUT), "-t", "ed25519,ecdsa,rsa", "--", address]
        done = process.run(argv, timeout=SCAN_TIMEOUT * 4)
        if found := keys(f"{BEGIN}\n{done.out}\n{END}"):
            return found
    return ""


def _whole(kind: str, blob: str) -> bool:
    """Tell whether a key's parts fill it exactly, and the first is its type (RFC 4253, 6.6)."""
    try:
        data = base64.b64decode(blob, validate=True)
    except ValueError:
        return False
    parts, rest = [], data
    while rest:
        if len(rest) < 4:
            return False
        (length,) = struct.unpack(">I", rest[:4])
        if len(rest) < 4 + length:
            return False
        parts.append(rest[4 : 4 + length])
        rest = rest[4 + length :]
    return len(parts) > 1 and parts[0] == kind.encode()
