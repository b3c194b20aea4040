"""An OpenStack of one file that speaks HTTP: as much of the APIs as the adapter asks for, in their words.

For tests without the lab. All services are behind one port, by prefix.
"""

import base64
import itertools
import struct
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import ThreadingHTTPServer
from typing import Any
from urllib.parse import urlencode

from tests.openstack import http_catalog
from tests.openstack.http_answers import Refusal, handler

HOST = "127.0.0.1"
SECONDS = 0.15
"""What a boot, a rebuild, a snapshot takes."""


def public_key(kind: str = "ssh-ed25519", secret: bytes = b"") -> str:
    """A public key that nobody has the other half of; always another one, or that of 32 bytes."""
    parts = [kind.encode(), secret or uuid.uuid4().bytes * 2]
    return f"{kind} {base64.b64encode(b''.join(struct.pack('>I', len(one)) + one for one in parts)).decode()}"


@dataclass
class HttpCloud:
    """A context manager: listens while it is entered."""

    page: int = 1000
    """The longest page of a listing."""
    clock_skew: float = 0.0
    console: bool = True
    quota_details: bool = True
    cell0: bool = False
    """Listings leave out why servers have failed."""
    servers: dict[str, dict[str, Any]] = field(default_factory=dict)
    images: dict[str, dict[str, Any]] = field(default_factory=dict)
    flavors: dict[str, dict[str, Any]] = field(default_factory=dict)
    network: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    key_pairs: dict[str, str] = field(default_factory=dict)
    server_groups: list[dict[str, str]] = field(default_factory=list)
    volumes: list[dict[str, str]] = field(default_factory=list)
    consoles: dict[str, str] = field(default_factory=dict)
    limits: dict[str, int] = field(default_factory=lambda: {"instances": 10, "cores": 20, "ram": -1})
    _later: list[tuple[float, Callable[[], None]]] = field(default_factory=list)
    _ids: "itertools.count[int]" = field(default_factory=itertools.count)

    def __post_init__(self) -> None:
        for name, ram in (("small", 512), ("large", 2048)):
            self.add_flavor(name, 1 if name == "small" else 2, ram)
        for name in ("default", "other"):
            self.add_image(name)
        self.network.setdefault("networks", [])
        for kind in ("subnets", "ports", "security-groups", "security-group-rules", "floatingips", "routers"):
            self.network.setdefault(kind, [])

    def __enter__(self) -> "HttpCloud":
        self._server = ThreadingHTTPServer((HOST, 0), handler(self))
        self._server.daemon_threads = True
        self.address = f"http://{HOST}:{self._server.server_address[1]}"
        threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        ).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    # What a test puts there

    def add_flavor(self, name: str, vcpus: int, ram: int, disk: int = 1) -> str:
        """Add a flavor; return its id."""
        made = {"id": f"f-{next(self._ids)}", "name": name, "vcpus": vcpus, "ram": ram, "disk": disk}
        self.flavors[made["id"]] = made
        return str(made["id"])

    def add_image(self, name: str | None, status: str = "active", **properties: Any) -> str:
        """Add an image; return its id."""
        made = {
            "id": str(uuid.uuid4()),
            "name": name,
            "status": status,
            "created_at": "2026-11-21T08:00:00Z",
            "size": 1000,
            "virtual_size": None,
            "min_disk": 0,
            "min_ram": 0,
            **properties,
        }
        self.images[made["id"]] = made
        return str(made["id"])

    def add_server(self, name: str, tags: frozenset[str], status: str = "ACTIVE", **fields: Any) -> str:
        """Add a server of the flavor small; return its id."""
        flavor = next(one for one in self.flavors.values() if one["name"] == "small")
        image = next(one for one in self.images.values() if one["name"] == "default")
        made = {
            "id": str(uuid.uuid4()),
            "name": name,
            "status": status,
            "addresses": _addresses(f"10.0.1.{len(self.servers) % 250 + 1}"),
            "image": {"id": image["id"]},
            "flavor": _embedded(flavor),
            "tags": sorted(tags),
            "locked": False,
            **fields,
        }
        self.servers[made["id"]] = made
        self._boot(made)
        return str(made["id"])

    def at(self, change: Callable[[], None]) -> None:
        """Let something happen a moment later."""
        self._later.append((time.monotonic() + SECONDS, change))

    def go_on(self) -> None:
        """Let happen what is due."""
        now = time.monotonic()
        due = [change for when, change in self._later if when <= now]
        self._later = [(when, change) for when, change in self._later if when > now]
        for change in due:
            change()

    def _boot(self, server: dict[str, Any]) -> None:
        begin, end = "-----BEGIN SSH HOST KEY KEYS-----", "-----END SSH HOST KEY KEYS-----"
        shown = f"{begin}\r\n{public_key()} root@x\r\n{end}\r\n"
        self.consoles[server["id"]] = self.consoles.get(server["id"], "") + shown

    # The APIs

    def answer(self, method: str, path: str, query: dict[str, str], body: Any) -> tuple[int, Any]:
        """Answer a request to /SERVICE/VERSION/..."""
        self.go_on()
        service, *rest = [part for part in path.split("/") if part]
        if service == "identity" and rest[1:] == ["auth", "tokens"]:
            return 201, http_catalog.token(self.address)
        if len(rest) <= 1:
            return 200, http_catalog.version(self.address, service)
        what, *more = rest[1:]
        name = f"_{service}_{what}".replace("-", "_")
        handler = getattr(self, name, None) or getattr(self, f"_{service}", None)
        if handler is None:
            raise Refusal(404, f"no {path}", "itemNotFound")
        found: tuple[int, Any] = handler(method, [what, *more], query, body)
        return found

    def _paged(self, key: str, path: str, found: list[Any], query: dict[str, str]) -> Any:
        start = 0
        if marker := query.get("marker"):
            start = next(index for index, one in enumerate(found) if one["id"] == marker) + 1
        size = min(int(query.get("limit", self.page)), self.page)
        page = found[start : start + size]
        body: dict[str, Any] = {key: page}
        if start + size < len(found):
            link = f"http://elsewhere.example{path}?{urlencode({**query, 'marker': page[-1]['id']})}"
            body |= {"next": link} if key == "images" else {f"{key}_links": [{"rel": "next", "href": link}]}
        return body

    def _one(self, store: dict[str, Any], key: str) -> Any:
        if key not in store:
            raise Refusal(404, f"{key} could not be found.", "itemNotFound")
        return store[key]

    def _compute_servers(
        self, method: str, path: list[str], query: dict[str, str], body: Any
    ) -> tuple[int, Any]:
        if path == ["servers", "detail"]:
            tags = set(query.get("tags", "").split(",")) - {""}
            there = [one for one in self.servers.values() if one["status"] != "SOFT_DELETED"]
            found = [one for one in there if tags <= set(one["tags"])]
            if self.cell0:
                found = [{key: one[key] for key in one.keys() - {"fault"}} for one in found]
            return 200, self._paged("servers", "/compute/v2.1/servers/detail", found, query)
        if method == "POST" and len(path) == 1:
            return 202, {"server": {"id": self._create(body["server"])}}
        server = self._one(self.servers, path[1])
        if method == "GET":
            return 200, {"server": server}
        if method == "DELETE":
            self._delete(server)
            return 204, None
        return self._act(server, body)

    def _delete(self, server: dict[str, Any]) -> None:
        self.at(lambda: self.servers.pop(server["id"], None) and None)

    def _create(self, asked: dict[str, Any]) -> str:
        image = self._one(self.images, asked["imageRef"])
        flavor = self._one(self.flavors, asked["flavorRef"])
        if asked["key_name"] not in self.key_pairs:
            raise Refusal(400, "Invalid key_name provided.")
        made = self.add_server(asked["name"], frozenset(asked["tags"]), "BUILD")
        server = self.servers[made]
        server |= {"image": {"id": image["id"]}, "flavor": _embedded(flavor)}
        server["addresses"] = _addresses(asked["networks"][0]["fixed_ip"])
        self.at(lambda: server.update(status="ACTIVE"))
        return made

    def _act(self, server: dict[str, Any], body: dict[str, Any]) -> tuple[int, Any]:
        (action, detail), *_ = body.items()
        if action == "os-getConsoleOutput":
            if not self.console:
                raise Refusal(501, "The console is not available", "notImplemented")
            return 200, {"output": self.consoles.get(server["id"], "")}
        if action == "forceDelete":
            self._delete(server)
        elif action == "reboot":
            self._busy(server, "HARD_REBOOT" if detail["type"] == "HARD" else "REBOOT")
        elif action == "rebuild":
            server["image"] = {"id": self._one(self.images, detail["imageRef"])["id"]}
            self._busy(server, "REBUILD")
        elif action == "resize":
            flavor = self._one(self.flavors, detail["flavorRef"])
            server |= {"flavor": _embedded(flavor)}
            self._busy(server, "RESIZE", "VERIFY_RESIZE")
        elif action == "confirmResize":
            if server["status"] != "VERIFY_RESIZE":
                raise Refusal(409, "Cannot 'confirmResize' instance while it is in vm_state active")
            self.at(lambda: server.update(status="ACTIVE"))
            return 204, None
        elif action == "os-stop":
            self.at(lambda: server.update(status="SHUTOFF"))
        elif action == "createImage":
            base = self.images.get(server["image"]["id"], {})
            kept = {key: value for key, value in base.items() if key.startswith("slurm_powersave_")}
            made = self.add_image(detail["name"], "queued", **kept, **{"image_type": "snapshot"})
            self.images[made] |= detail["metadata"]
            self.at(lambda: self.images[made].update(status="active"))
        return 202, None

    def _busy(self, server: dict[str, Any], status: str, then: str = "ACTIVE") -> None:
        server["status"] = status
        self.at(lambda: server.update(status=then))

    def _compute_flavors(
        self, method: str, path: list[str], query: dict[str, str], body: Any
    ) -> tuple[int, Any]:
        return 200, self._paged("flavors", "/compute/v2.1/flavors/detail", list(self.flavors.values()), query)

    def _compute_limits(
        self, method: str, path: list[str], query: dict[str, str], body: Any
    ) -> tuple[int, Any]:
        flavors = [one["flavor"] for one in self.servers.values()]
        absolute = {
            "maxTotalInstances": self.limits["instances"],
            "totalInstancesUsed": len(flavors),
            "maxTotalCores": self.limits["cores"],
            "totalCoresUsed": sum(one["vcpus"] for one in flavors),
            "maxTotalRAMSize": self.limits["ram"],
            "totalRAMUsed": sum(one["ram"] for one in flavors),
            "maxServerGroupMembers": self.limits.get("server_group_members", 10),
        }
        return 200, {"limits": {"rate": [], "absolute": absolute}}

    def _compute_os_keypairs(
        self, method: str, path: list[str], query: dict[str, str], body: Any
    ) -> tuple[int, Any]:
        found = self._one(self.key_pairs, path[1])
        if method == "DELETE":
            del self.key_pairs[path[1]]
        return 200, {"keypair": {"name": path[1], "public_key": found}}

    def _compute_os_server_groups(
        self, method: str, path: list[str], query: dict[str, str], body: Any
    ) -> tuple[int, Any]:
        if method == "DELETE":
            self.server_groups = [group for group in self.server_groups if group["id"] != path[1]]
        return 200, {"server_groups": self.server_groups}

    def _block_storage_volumes(
        self, method: str, path: list[str], query: dict[str, str], body: Any
    ) -> tuple[int, Any]:
        return 200, self._paged("volumes", "/block-storage/v3/volumes/detail", self.volumes, query)

    def _compute_os_availability_zone(
        self, method: str, path: list[str], query: dict[str, str], body: Any
    ) -> tuple[int, Any]:
        zones = [("nova", True), ("away", False)]
        told = [{"zoneName": name, "zoneState": {"available": there}} for name, there in zones]
        return 200, {"availabilityZoneInfo": told}

    def _image_images(
        self, method: str, path: list[str], query: dict[str, str], body: Any
    ) -> tuple[int, Any]:
        if len(path) == 1:
            # Community and hidden images are there for who knows the id; no plain listing has them.
            found = [
                one
                for one in self.images.values()
                if query.get("name", one["name"]) == one["name"]
                and one.get("visibility") != "community"
                and not one.get("os_hidden")
            ]
            return 200, self._paged("images", "/v2/images", found, query)
        image = self._one(self.images, path[1])
        if method == "PATCH":
            for change in body:
                if (change["op"] == "replace") is not (change["path"][1:] in image):
                    raise Refusal(409, f"{change['op']} {change['path']}")
                image[change["path"][1:]] = change["value"]
        if method == "DELETE":
            del self.images[image["id"]]
            return 204, None
        return 200, image

    def _network_quotas(
        self, method: str, path: list[str], query: dict[str, str], body: Any
    ) -> tuple[int, Any]:
        limits = {
            "port": 50,
            "floatingip": -1,
            "network": 10,
            "subnet": 10,
            "router": 5,
            "security_group": 10,
        }
        if path[2:] != ["details"]:
            return 200, {"quota": limits}
        if not self.quota_details:
            raise Refusal(404, "no details", "itemNotFound")
        told = {
            name: {"limit": limit, "used": len(self.network.get(_plural(name), [])), "reserved": 0}
            for name, limit in limits.items()
        }
        return 200, {"quota": told}

    def _network(self, method: str, path: list[str], query: dict[str, str], body: Any) -> tuple[int, Any]:
        tags = set(query.get("tags", "").split(",")) - {""}
        if len(path) > 1:
            return self._change_network(method, path, body)
        asked = {
            key: query[key]
            for key in ("network_id", "name", "device_id", "security_group_id")
            if key in query
        }
        found = [
            one
            for one in self.network[path[0]]
            if tags <= set(one.get("tags", ())) and all(one.get(key) == asked[key] for key in asked)
        ]
        return 200, self._paged(path[0].replace("-", "_"), f"/network/v2.0/{path[0]}", found, query)

    def _change_network(self, method: str, path: list[str], body: Any) -> tuple[int, Any]:
        """Detach a router's interface, or delete; what something else hangs on is refused."""
        kind, key, ports = path[0], path[1], self.network["ports"]
        one = self._one({one["id"]: one for one in self.network[kind]}, key)
        if method == "PUT":
            ports.remove(next(port for port in ports if port["id"] == body["port_id"]))
            return 200, {}
        holders = {"routers": "device_id", "networks": "network_id"}
        if kind in holders and any(port.get(holders[kind]) == key for port in ports):
            raise Refusal(409, f"{key} is in use", "NeutronError")
        self.network[kind].remove(one)
        return 204, None


def _plural(name: str) -> str:
    return f"{name.replace('_', '-')}s"


def _embedded(flavor: dict[str, Any]) -> dict[str, Any]:
    return {key: flavor[key] for key in ("vcpus", "ram", "disk")} | {"original_name": flavor["name"]}


def _addresses(fixed: str) -> dict[str, Any]:
    return {"net": [{"addr": fixed, "version": 4, "OS-EXT-IPS:type": "fixed"}]}
