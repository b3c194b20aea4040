"""The bridge that all guests of one cloud hang on."""

import ipaddress
import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from local_cloud.errors import CloudFault
from local_cloud.store import Store, read_json, write_json

INTERFACES = Path("/sys/class/net")
INOTIFY = Path("/proc/sys/fs/inotify/max_user_instances")
INOTIFY_WANTED = 1024
"""A guest holds 4 instances; Linux allows root 128, and the guest that gets none has no network."""


def ip(*argv: str, check: bool = True) -> str:
    """Run ip(8) and return its standard output."""
    try:
        done = subprocess.run(["ip", *argv], capture_output=True, text=True, timeout=20, check=False)
    except FileNotFoundError:
        raise CloudFault("host", "ip is missing: apt-get install iproute2") from None
    if check and done.returncode:
        raise CloudFault("host", f"ip {' '.join(argv)}: {done.stderr.strip()}")
    return done.stdout


def find(bridge: str) -> dict[str, Any] | None:
    """Read a bridge's state; None if there is none of that name."""
    text = ip("-json", "address", "show", "dev", bridge, check=False)
    found = json.loads(text) if text.strip() else []
    return dict(found[0]) if found else None


def _mark(root: Path) -> str:
    return f"slurm-powersave {root}"[:255]


def configure(
    store: Store, bridge: str, subnet: str, images: dict[str, str], system_calls: Sequence[str] = ()
) -> dict[str, Any]:
    """Record a cloud's settings (images and system calls are added to those known) and make its network."""
    store.prepare()
    with store.lock("network"):
        old = read_json(store.root / "cloud.json", {})
        if old and (old["bridge"], old["subnet"]) != (bridge, subnet):
            raise CloudFault(
                "conflict", f"this cloud has the network {old['bridge']} {old['subnet']} already"
            )
        new = {"bridge": bridge, "subnet": subnet, "images": {**old.get("images", {}), **images}}
        new["system_calls"] = sorted({*old.get("system_calls", ()), *system_calls})
        make(store.root, bridge, subnet)
        if new != old:  # what was refused is not recorded
            write_json(store.root / "cloud.json", new)
    return new


def current(store: Store) -> dict[str, Any] | None:
    """Return a cloud's settings if its network is up, else None."""
    settings = read_json(store.root / "cloud.json")
    return dict(settings) if settings and find(settings["bridge"]) else None


def remove(store: Store) -> None:
    """Remove a cloud's network; refused while there are servers."""
    settings = read_json(store.root / "cloud.json")
    if settings is None:
        return
    if store.server_ids():
        raise CloudFault("conflict", f"network {settings['bridge']} is in use by servers")
    with store.lock("network"):
        delete(store.root, settings["bridge"])
        (store.root / "cloud.json").unlink(missing_ok=True)


def ensure(store: Store) -> None:
    """Make a cloud's bridge if it is not there."""
    settings = store.settings()
    with store.lock("network"):
        make(store.root, settings["bridge"], settings["subnet"])


def make(root: Path, bridge: str, subnet: str) -> None:
    """Make the bridge with the subnet's first address, unless it is there.

    Raises CloudFault when the name or a part of the subnet belongs to somebody else.
    """
    raise_inotify_limit()
    try:
        network = ipaddress.ip_network(subnet)
    except ValueError as error:
        raise CloudFault("config", f"subnet {subnet}: {error}") from None
    if not 1 <= len(bridge) <= 15:
        raise CloudFault("config", f"bridge {bridge}: Linux wants 1 to 15 characters")
    gateway = f"{network[1]}/{network.prefixlen}"
    found = find(bridge)
    if found is None:
        _refuse_overlap(network)
        ip("link", "add", bridge, "type", "bridge", "stp_state", "0", "forward_delay", "0")
    elif _owner(bridge) != _mark(root) and not _just_made(bridge, found):
        owner = _owner(bridge) or "somebody else"
        raise CloudFault("conflict", f"the interface {bridge} belongs to {owner}: choose another bridge name")
    if _owner(bridge) != _mark(root):
        ip("link", "set", bridge, "alias", _mark(root))
    if found is None or gateway not in _addresses(found):
        ip("address", "replace", gateway, "dev", bridge)
    if found is None or "UP" not in found.get("flags", []):
        ip("link", "set", bridge, "up")
    _filter("-C", bridge) or _filter("-I", bridge)


def delete(root: Path, bridge: str) -> None:
    """Remove the bridge if it is ours."""
    if _owner(bridge) == _mark(root):
        ip("link", "delete", bridge, check=False)
        while _filter("-D", bridge):
            pass


def owned(root: Path) -> list[str]:
    """Name the bridges that carry this cloud's mark."""
    return [path.name for path in INTERFACES.iterdir() if _owner(path.name) == _mark(root)]


def raise_inotify_limit() -> None:
    """Allow enough inotify instances for a few hundred guests."""
    if int(INOTIFY.read_text()) < INOTIFY_WANTED:
        INOTIFY.write_text(str(INOTIFY_WANTED))


def _owner(interface: str) -> str:
    try:
        return (INTERFACES / interface / "ifalias").read_text().strip()
    except OSError:
        return ""


def _just_made(bridge: str, found: dict[str, Any]) -> bool:
    """A bridge that is down, without mark or address: whoever made it was killed there and then."""
    is_bridge = (INTERFACES / bridge / "bridge").is_dir()
    return (
        is_bridge and not _owner(bridge) and not found.get("addr_info") and "UP" not in found.get("flags", [])
    )


def _addresses(found: dict[str, Any]) -> set[str]:
    return {f"{entry['local']}/{entry['prefixlen']}" for entry in found.get("addr_info", [])}


def _refuse_overlap(network: Any) -> None:
    for route in json.loads(ip("-json", "-4", "route", "show") or "[]"):
        if route["dst"] != "default" and ipaddress.ip_network(route["dst"]).overlaps(network):
            raise CloudFault(
                "conflict",
                f"subnet {network} overlaps the route {route['dst']} of {route.get('dev')}: choose another",
            )


def _filter(action: str, bridge: str) -> bool:
    """Let guests reach each other where netfilter sees bridged frames (machines with Docker)."""
    switch = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")
    if not switch.exists() or switch.read_text().strip() != "1":
        return action == "-C"
    argv = ["iptables", "-w", action, "FORWARD", "-i", bridge, "-o", bridge, "-j", "ACCEPT"]
    try:
        return subprocess.run(argv, capture_output=True, timeout=20, check=False).returncode == 0
    except FileNotFoundError:
        return action == "-C"
