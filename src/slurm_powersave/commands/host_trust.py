"""The host keys of the servers that `deploy` makes: taken once for each disk, then kept."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from slurm_powersave.decide.node.host_keys import believed, offered
from slurm_powersave.model.errors import UnreachableError
from slurm_powersave.model.nodes import Server
from slurm_powersave.ports.host_keys import HostKeys
from slurm_powersave.ports.site import Site

_BOOT_SECONDS = 180.0

Host = tuple[str, str]
"""Name and address."""


def wait(site: Site, host: Host, made: Mapping[str, str], say: Callable[[str], None], *, kept: bool) -> None:
    """Record a server's host key, if it is a new disk's, and wait for its SSH.

    Args:
        site: the cluster's.
        host: whose key it is.
        made: what Terraform says of the server: its id, perhaps its host_key.
        say: tells what is waited for.
        kept: Terraform has changed nothing, so a key that is recorded is still right.

    Raises:
        UnreachableError: there is no SSH in time, or no key that can be believed.
    """
    cloud = site.cloud(site.cluster.cloud_of(site.cluster.login))
    keys, place = site.host_keys(), f"{host[0]} ({host[1]})"
    say(f"waiting for SSH on {place}")
    deadline = site.clock.monotonic() + _BOOT_SECONDS
    lines: Sequence[str] = ()
    server: Server | None = None
    while site.clock.monotonic() < deadline:
        server = cloud.server(made["id"]) if cloud else Server(made["id"], host[0], "ACTIVE")
        if server:
            server = replace(server, host_key=server.host_key or made.get("host_key") or "")
            lines = _lines(site, keys, host, server, kept=kept)
        if lines and site.login_host().answers(host[1]):
            keys.record({host: lines})
            return
        site.wait(0.2)
    fault = server.fault if server and not lines else ""
    raise UnreachableError(
        "no SSH" if lines else "the cloud hands out no SSH host key",
        where=place,
        why=fault or f"waited {_BOOT_SECONDS:.0f} s",
        todo="Look at its console, then run deploy again.",
    )


def _lines(site: Site, keys: HostKeys, host: Host, server: Server, *, kept: bool) -> Sequence[str]:
    """Return what to record of a host; nothing while its key is not known."""
    disk = f"{server.id}/{server.image}"
    pin = keys.pins().get(host)
    if pin and believed(pin, disk, kept=kept):
        return keys.key_lines(host, "\n".join(pin.keys), disk)
    blocks = (server.host_key, *server.later_keys) if server.host_key else ()
    renewed = pin is not None and pin.disk.startswith(f"{server.id}/")
    found = offered(pin, blocks, renewed=renewed)
    if len(found) > 1:
        known = site.cluster.layout.known_hosts
        raise UnreachableError(
            f"its console shows {len(found)} different SSH host keys since its disk was made anew",
            where=f"{host[0]} ({host[1]})",
            todo=f"Find out which one is right, and write it into {known} in the place of the old one.",
        )
    if renewed and pin and blocks and not found:
        found = ["\n".join(pin.keys)]  # its image has another name now, and nothing has changed
    return keys.key_lines(host, found[0], disk) if found else ()
