"""localcloud_server and localcloud_network: what Terraform may ask of the local cloud."""

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from local_cloud.errors import CloudFault
from tf.schema import Attribute, Block, Schema
from tf.types import Map, Set, String, Unknown
from tf.utils import Diagnostics

from localcloud_provider.blocks import ListNestedBlock

if TYPE_CHECKING:
    from local_cloud.cloud import Cloud

State = dict[str, Any]

POWER = {"SHUTOFF": "shutoff", "ERROR": "error"}
"""power_state by status; every other status counts as active."""
PATHS = {"image": "image_id", "flavor": "flavor_id", "address": "network"}
"""Which attribute an error text speaks of, by its first word."""


class LocalCloud:
    """The provider itself."""

    def __init__(self) -> None:
        self.root = ""
        self.images: dict[str, str] = {}

    def get_model_prefix(self) -> str:
        """Return what all resource types begin with."""
        return "localcloud_"

    def full_name(self) -> str:
        """Return the provider's source address."""
        return "slurm-powersave.internal/demo/localcloud"

    def get_provider_schema(self, diags: Diagnostics) -> Schema:
        """Describe the provider block."""
        return Schema(
            attributes=[
                Attribute("root", String(), "The cloud's directory", required=True),
                Attribute("images", Map(String()), "Image aliases: name to path", optional=True),
            ]
        )

    def validate_config(self, diags: Diagnostics, config: State) -> None:
        """Check what is known at validation."""
        root = config.get("root")
        if isinstance(root, str) and not root.startswith("/"):
            diags.add_error("The local cloud's root must be an absolute path", root, path=["root"])

    def configure_provider(self, diags: Diagnostics, config: State) -> None:
        """Remember where the cloud is; changes nothing there."""
        self.images = dict(config.get("images") or {})
        self.root = config["root"]

    def get_data_sources(self) -> list[Any]:
        """There are none."""
        return []

    def get_functions(self) -> list[Any]:
        """There are none."""
        return []

    def get_resources(self) -> list[Any]:
        """Return the resource types."""
        return [Server, Network]

    def new_resource(self, kind: Any) -> Any:
        """Make a resource's object; one per call."""
        return kind(self)

    def the_cloud(self) -> "Cloud":
        """Return the configured cloud."""
        from local_cloud.cloud import Cloud  # late: two of three starts only tell or check the schema

        if not self.root:
            raise CloudFault("config", "the provider is not configured")
        return Cloud(Path(self.root), self.images)


class Resource:
    """What both resource types share."""

    def __init__(self, provider: LocalCloud) -> None:
        self.provider = provider

    def validate(self, diags: Diagnostics, type_name: str, config: State) -> None:
        """Terraform has checked the schema already."""

    def upgrade(self, ctx: Any, version: int, old: State) -> State:
        """There is one version of each schema."""
        return old

    def plan(self, ctx: Any, current: State, planned: State) -> State:
        """Nothing to add to the plan of an update."""
        return planned


class Network(Resource):
    """The bridge; also where the cloud's directory is made."""

    @classmethod
    def get_name(cls) -> str:
        """Return the type's name without the prefix."""
        return "network"

    @classmethod
    def get_schema(cls) -> Schema:
        """Describe the attributes."""
        return Schema(
            version=0,
            attributes=[
                Attribute("id", String(), "The bridge's name", computed=True),
                Attribute("name", String(), "The bridge: at most 15 characters", required=True, requires_replace=True),
                Attribute("cidr", String(), "The subnet; its first address is the host's", required=True,
                          requires_replace=True),
            ],
        )  # fmt: skip

    def create(self, ctx: Any, planned: State) -> State:
        """Make the bridge."""
        self.provider.the_cloud().configure(planned["name"], planned["cidr"], self.provider.images)
        return {**planned, "id": planned["name"]}

    def read(self, ctx: Any, current: State) -> State | None:
        """Look whether it is there."""
        found = self.provider.the_cloud().network()
        if found is None:
            return None
        return {"id": found["bridge"], "name": found["bridge"], "cidr": found["subnet"]}

    def update(self, ctx: Any, current: State, planned: State) -> State:
        """Never planned: every attribute forces a replacement."""
        return planned

    def delete(self, ctx: Any, current: State) -> None:
        """Remove it."""
        self.provider.the_cloud().delete_network()

    def import_(self, ctx: Any, id: str) -> State | None:
        """Import by the bridge's name."""
        found = self.read(ctx, {})
        return found if found and found["id"] == id else None


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
                requested=_terraform_started(),
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
        server_id, requested = current["id"], _terraform_started()
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


def _terraform_started() -> float:
    """When the terraform that called us started, in seconds since the epoch.

    Whatever asked for this server asked before that; so a guest whose boot begins in a later second
    is never older than the request (see supervisor.py), and the time in between counts as waiting.
    """
    try:
        stat = Path(f"/proc/{os.getppid()}/stat").read_text()
    except OSError:
        return time.time()
    started = int(stat.rpartition(")")[2].split()[19]) / os.sysconf("SC_CLK_TCK")
    return time.time() - (time.clock_gettime(time.CLOCK_BOOTTIME) - started)
