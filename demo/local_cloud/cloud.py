"""Everything that one may ask of the cloud."""

import contextlib
import ipaddress
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from local_cloud import faults, network
from local_cloud.claim import claim
from local_cloud.errors import CloudFault
from local_cloud.guest import Guest
from local_cloud.store import Store

NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
HOST_KEY_TIMEOUT = 20.0
"""Seconds that a caller may wait for a booting guest's host key."""
_IN_WORK = ("BUILD", "REBOOT", "REBUILD", "RESIZE", "DELETING")
"""Somebody holds the server's lock in these."""


class Cloud:
    """The servers below one root directory."""

    def __init__(
        self,
        root: Path,
        images: dict[str, str] | None = None,
        accepted: Callable[[], None] = lambda: None,
    ) -> None:
        """Open the cloud.

        `images`: aliases besides those of the settings; values are paths or names in the cache. `accepted`
        is called when a reboot, rebuild or resize is under way: the server's status says so.
        """
        self.store = Store(root, images or {})
        self._accepted = accepted

    # -- reading ---------------------------------------------------------------------------------

    def servers(self, tags: frozenset[str] = frozenset()) -> list[dict[str, Any]]:
        """List the servers that carry all these tags, oldest first."""
        found = [self.show(server_id) for server_id in self.store.server_ids()]
        servers = [server for server in found if server is not None and tags <= set(server["tags"])]
        return sorted(servers, key=lambda server: float(server["created"]))

    def show(self, server_id: str) -> dict[str, Any] | None:
        """Read one server; None when it is gone."""
        record = self.store.read(server_id)
        if record is None:
            return None
        guest = Guest(self.store, server_id)
        if record["status"] in _IN_WORK and not self.store.locked(server_id):
            fault = f"the process that did its {record['status']} ended before it was done"
            record.update(status="ERROR", fault=fault)
        elif record["status"] == "ACTIVE" and not guest.running():
            record["status"] = "SHUTOFF"
        boot = guest.boot()
        return {
            **record,
            "host_key": guest.host_key(),
            "boots": boot.get("boots", 0),
            "boot_time": boot.get("boot_time", 0),
            "limits": boot.get("limits", []),
        }

    def wait_host_key(self, server_id: str, timeout: float = HOST_KEY_TIMEOUT) -> str:
        """Wait for the host key on the console; "" if it does not come in time."""
        guest = Guest(self.store, server_id)
        deadline = time.monotonic() + timeout
        while not (key := guest.host_key()) and time.monotonic() < deadline and guest.running():
            if "Kernel panic" in guest.console():
                break
            time.sleep(0.02)
        return key

    # -- changing --------------------------------------------------------------------------------

    def create(
        self,
        *,
        name: str,
        image: str,
        flavor: str,
        address: str,
        key_pair: str = "",
        zone: str = "",
        tags: frozenset[str] = frozenset(),
        requested: float | None = None,
    ) -> dict[str, Any]:
        """Make a server and boot it; or adopt the live one that is exactly this one.

        Adoption is for a creator that was killed before it could record the server's id. `requested`
        is the latest time when the server may have been asked for (now, if not given).
        """
        requested = time.time() if requested is None else requested
        settings = self.store.settings()
        image_path = self.store.image(image)
        self.store.flavor(flavor)
        subnet = ipaddress.ip_network(settings["subnet"])
        if not NAME.fullmatch(name):
            raise CloudFault("config", f"{name!r} is no host name")
        if address == str(subnet[1]) or ipaddress.ip_address(address) not in subnet:
            raise CloudFault("config", f"address {address} is not free in {subnet}")
        wanted = {
            "name": name,
            "image": image,
            "image_path": image_path,
            "flavor": flavor,
            "address": address,
            "key_pair": key_pair,
            "zone": zone,
            "tags": sorted(tags),
        }
        with contextlib.ExitStack() as held:
            with self.store.lock("names"):
                record, new = claim(self.store, wanted)
                if new:  # locked before anybody can see it: in BUILD without a lock means abandoned
                    held.enter_context(self.store.lock(record["id"]))
            if not new:
                held.enter_context(self.store.lock(record["id"]))
            self._build(record["id"], subnet, requested)
        return self._known(record["id"])

    def _build(self, server_id: str, subnet: Any, requested: float) -> None:
        record = self.store.read(server_id)
        if record is None:
            raise CloudFault("not-found", f"server {server_id} was deleted while it was built")
        guest = Guest(self.store, server_id)
        if guest.running():  # adopted
            self.store.write({**record, "status": "ACTIVE"})
            return
        slow = faults.take(self.store, faults.SLOW_CREATE, record["name"])
        if slow:
            time.sleep(slow["seconds"])
        guest.lay_out(record, str(subnet[1]), subnet.prefixlen)
        self._start(guest, record, requested)

    def _start(self, guest: Guest, record: dict[str, Any], requested: float) -> None:
        """Boot the guest with the faults that wait for it; an error is recorded and raised."""
        slow = faults.take(self.store, faults.SLOW_BOOT, record["name"])
        dead = faults.take(self.store, faults.BOOT, record["name"])
        vanish = faults.take(self.store, faults.VANISH, record["name"])
        network.ensure(self.store)  # it may be gone since the machine was rebooted
        self.store.write(record)  # the supervisor reads image and flavor there
        try:
            guest.launch(
                requested,
                delay=slow["seconds"] if slow else 0,
                boot_fails=dead is not None,
                vanish=max(0.01, vanish["seconds"]) if vanish else 0,
            )
        except CloudFault as error:
            self.store.write({**record, "status": "ERROR", "fault": str(error)})
            raise CloudFault(error.kind, error.text, record["id"]) from None
        self.store.write({**record, "status": "ACTIVE", "fault": ""})

    def delete(self, server_id: str) -> None:
        """Delete a server; one that is gone already is no error. Returns when it is gone."""
        if self.store.read(server_id) is None:
            return
        with self.store.lock(server_id):
            record = self.store.read(server_id)
            if record is None:
                return
            broken = faults.take(self.store, faults.DELETE, record["name"])
            if broken:
                raise CloudFault(broken["class"], broken["text"], server_id)
            self.store.write({**record, "status": "DELETING"})
            guest = Guest(self.store, server_id)
            guest.stop(orderly=False)
            gone = self.store.trash / server_id
            guest.home.rename(gone)
            shutil.rmtree(gone, ignore_errors=True)
            (self.store.root / "locks" / server_id).unlink(missing_ok=True)

    def reboot(self, server_id: str, requested: float | None = None) -> dict[str, Any]:
        """Power off in good order and boot again: same disk, same host key."""
        return self._change(server_id, "REBOOT", requested, lambda _guest, record: record)

    def rebuild(self, server_id: str, image: str, requested: float | None = None) -> dict[str, Any]:
        """Boot from a fresh disk of an image: same id, name and address, new host key."""
        image_path = self.store.image(image)

        def fresh(guest: Guest, record: dict[str, Any]) -> dict[str, Any]:
            record = {**record, "image": image, "image_path": image_path}
            guest.wipe()
            subnet = ipaddress.ip_network(self.store.settings()["subnet"])
            guest.lay_out(record, str(subnet[1]), subnet.prefixlen)
            return record

        return self._change(server_id, "REBUILD", requested, fresh)

    def resize(self, server_id: str, flavor: str, requested: float | None = None) -> dict[str, Any]:
        """Boot with another flavor's limits: same disk."""
        self.store.flavor(flavor)
        return self._change(
            server_id, "RESIZE", requested, lambda _guest, record: {**record, "flavor": flavor}
        )

    def stop(self, server_id: str) -> dict[str, Any]:
        """Power off in good order: SHUTOFF."""
        with self.store.lock(server_id):
            self._known(server_id)
            Guest(self.store, server_id).stop(orderly=True)
        return self._known(server_id)

    def retag(self, server_id: str, tags: frozenset[str]) -> dict[str, Any]:
        """Replace a server's tags."""
        with self.store.lock(server_id):
            self._known(server_id)
            self.store.write({**(self.store.read(server_id) or {}), "tags": sorted(tags)})
        return self._known(server_id)

    def _change(
        self,
        server_id: str,
        status: str,
        requested: float | None,
        step: Callable[[Guest, dict[str, Any]], dict[str, Any]],
    ) -> dict[str, Any]:
        requested = time.time() if requested is None else requested
        with self.store.lock(server_id):
            self._known(server_id)
            record = self.store.read(server_id) or {}
            if refused := faults.take(self.store, faults.CHANGE, record["name"]):
                raise CloudFault(refused["class"], refused["text"], server_id)
            guest = Guest(self.store, server_id)
            self.store.write({**record, "status": status})
            self._accepted()
            guest.stop(orderly=status != "REBUILD")
            if broken := faults.take(self.store, faults.BROKEN_CHANGE, record["name"]):
                self.store.write({**record, "status": "ERROR", "fault": broken["text"]})
                raise CloudFault(broken["class"], broken["text"], server_id)
            self._start(guest, {**step(guest, record), "status": status}, requested)
        return self._known(server_id)

    def _known(self, server_id: str) -> dict[str, Any]:
        server = self.show(server_id)
        if server is None:
            raise CloudFault("not-found", f"server {server_id} could not be found")
        return server
