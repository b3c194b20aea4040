"""localcloud_server: a container, with the attribute names of openstack_compute_instance_v2."""

import os
import time
from pathlib import Path
from typing import Any

from local_cloud.errors import CloudFault
from tf.schema import Attribute, Block, Schema
from tf.types import Set, String, Unknown
from tf.utils import Diagnostics

from localcloud_provider.blocks import ListNestedBlock
from localcloud_provider.resource import Resource, State

POWER = {"SHUTOFF": "shutoff", "ERROR": "error"}
"""power_state by status; every other status counts as active."""
PATHS = {"image": "image_id", "flavor": "flavor_id", "address": "network"}
"""Which attribute an error text speaks of, by its first word."""


class Server(Resource):
    """A container."""

    @classmethod
    def get_name(cls) -> str:
        """Return the type's name without the prefix."""
        return "server"

    @classmethod
    def get_schema(cls) -> Schema:
        """Describe the attributes; their names are those of openstack_compute_instance_v2."""
        text = String()
        return Schema(
            version=0,
            attributes=[
                Attribute("id", text, "The cloud's id", computed=True),
                Attribute("name", text, "Host name", required=True, requires_replace=True),
                Attribute("image_id", text, "Image; a change rebuilds in place", required=True),
                Attribute("flavor_id", text, "Flavor; a change resizes in place", required=True),
                Attribute(
                    "availability_zone", text, "Not used, but kept", optional=True, requires_replace=True
                ),
                Attribute("key_pair", text, "Public key of root", optional=True, requires_replace=True),
                Attribute("tags", Set(text), "Tags", optional=True),
                Attribute("power_state", text, "active; else a difference", computed=True, default="active"),
                Attribute("access_ip_v4", text, "The fixed address", computed=True),
                Attribute("host_key", text, "SSH host key, from the console", computed=True),
            ],
            block_types=[
                ListNestedBlock(
                    "network",
                    Block(
                        [
                            Attribute("name", text, "The bridge", optional=True),
                            Attribute("fixed_ip_v4", text, "The server's address", required=True),
                        ]
                    ),
                    min_items=1,
                    max_items=1,
                )
            ],
        )

    def create(self, ctx: Any, planned: State) -> State | None:
        """Make a server, or adopt the one that a killed run made, and wait for its host key."""
        cloud = self.provider.the_cloud()
        try:
            made = cloud.create(
                name=planned["name"],
                image=planned["image_id"],
                flavor=planned["flavor_id"],
                address=planned["network"][0]["fixed_ip_v4"],
                key_pair=planned.get("key_pair") or "",
                zone=planned.get("availability_zone") or "",
                tags=frozenset(planned.get("tags") or ()),
                requested=_started(self.provider.terraform),
            )
        except CloudFault as error:
            _report(ctx.diagnostics, f"Server {planned['name']} could not be created", error)
            left = cloud.show(error.server_id) if error.server_id else None
            return self._state(planned, left) if left else None  # with an error: tainted
        cloud.wait_host_key(made["id"])
        return self._state(planned, cloud.show(made["id"]) or made)

    def read(self, ctx: Any, current: State) -> State | None:
        """Read the server; None when it is gone."""
        server = self.provider.the_cloud().show(current["id"])
        return None if server is None else self._state(current, server)

    def plan(self, ctx: Any, current: State, planned: State) -> State:
        """A rebuilt server has a new host key; one that is off is to be on."""
        planned["power_state"] = "active"
        if planned["image_id"] != current["image_id"]:
            planned["host_key"] = Unknown
        return planned

    def update(self, ctx: Any, current: State, planned: State) -> State | None:
        """Resize, rebuild, retag, power on: whatever differs."""
        cloud = self.provider.the_cloud()
        server_id, requested = current["id"], _started(self.provider.terraform)
        try:
            if planned["flavor_id"] != current["flavor_id"]:
                cloud.resize(server_id, planned["flavor_id"], requested)
            if planned["image_id"] != current["image_id"]:
                cloud.rebuild(server_id, planned["image_id"], requested)
                cloud.wait_host_key(server_id)
            if sorted(planned.get("tags") or ()) != sorted(current.get("tags") or ()):
                cloud.retag(server_id, frozenset(planned.get("tags") or ()))
            server = cloud.show(server_id)
            if server and server["status"] in POWER:
                cloud.reboot(server_id, requested)
        except CloudFault as error:
            _report(ctx.diagnostics, f"Server {current['name']} could not be changed", error)
        server = cloud.show(server_id)
        return self._state(planned, server) if server else None

    def delete(self, ctx: Any, current: State) -> None:
        """Delete by id; gone already is fine."""
        self.provider.the_cloud().delete(current["id"])

    def import_(self, ctx: Any, id: str) -> State | None:
        """Import by the cloud's id."""
        server = self.provider.the_cloud().show(id)
        return None if server is None else self._state({"network": [{}]}, server)

    def _state(self, known: State, server: dict[str, Any]) -> State:
        """Merge what Terraform knows and what the cloud says."""
        network = dict(known["network"][0])
        network.setdefault("name", self.provider.the_cloud().store.settings()["bridge"])
        return {
            "id": server["id"],
            "name": server["name"],
            "image_id": server["image"],
            "flavor_id": server["flavor"],
            "availability_zone": server["zone"] or (known.get("availability_zone") or None),
            "key_pair": server["key_pair"] or known.get("key_pair"),
            "tags": server["tags"] or known.get("tags"),
            "power_state": POWER.get(server["status"], "active"),
            "access_ip_v4": server["address"],
            "host_key": server["host_key"],
            "network": [{**network, "fixed_ip_v4": server["address"]}],
        }


def _report(diags: Diagnostics, what: str, error: CloudFault) -> None:
    """An error with a path: only then Terraform's JSON names address, file and line."""
    path = PATHS.get(error.text.split()[0] if error.text else "", "name")
    diags.add_error(what, error.text, path=[path])


def _started(pid: int) -> float:
    """When a process, the terraform that we serve, was started, in seconds since the epoch.

    Whatever asked for this server asked before that; so a guest whose boot begins in a later second
    is never older than the request (see supervisor.py), and the time in between counts as waiting.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return time.time()
    started = int(stat.rpartition(")")[2].split()[19]) / os.sysconf("SC_CLK_TCK")
    return time.time() - (time.clock_gettime(time.CLOCK_BOOTTIME) - started)
