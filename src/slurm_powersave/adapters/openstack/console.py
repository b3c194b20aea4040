"""SSH host keys of a server: from its console, where cloud-init prints them, or by trust on first use.

The console comes through the cloud's API, so its keys are the server's own. It keeps what earlier boots
have printed: the last block counts.
"""

import base64
import re
import struct
from collections.abc import Sequence

from slurm_powersave.adapters import process
from slurm_powersave.adapters.openstack.api import Api
from slurm_powersave.model.errors import CloudError

BEGIN = "-----BEGIN SSH HOST KEY KEYS-----"
END = "-----END SSH HOST KEY KEYS-----"
SCAN_TIMEOUT = 3
"""Seconds that ssh-keyscan waits for an address."""
_KEY = re.compile(r"\b((?:ssh|ecdsa|sk-ssh|sk-ecdsa)-[A-Za-z0-9@.-]+) ([A-Za-z0-9+/]{40,}={0,2})(?:\s|$)")
# No console driver, one that is not ready, an older server whose host is down: the cloud has nothing to show.
_NO_CONSOLE = (404, 409, 501)


def read(api: Api, server_id: str) -> str:
    """Read the keys from a server's console; empty as long as there are none."""
    try:
        answer = api.ask(
            "POST", "compute", f"/servers/{server_id}/action", body={"os-getConsoleOutput": {"length": None}}
        )
    except CloudError as error:
        if error.status in _NO_CONSOLE:
            return ""
        raise
    return keys((answer or {}).get("output") or "")


def keys(console: str) -> str:
    """Find the keys in what a console shows: the last whole block, ed25519 first; as *.pub files have them.

    Lines of others may stand between them, or in the middle of one: a key that is not whole is left out.
    """
    _, begin, after = console.rpartition(BEGIN)
    block, end, _ = after.partition(END)
    if not begin or not end:
        return ""
    found = {f"{kind} {blob}" for kind, blob in _KEY.findall(block) if _whole(kind, blob)}
    return "\n".join(sorted(found, key=lambda key: (not key.startswith("ssh-ed25519 "), key)))


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
