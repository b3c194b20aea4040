"""localcloud_network: the bridge."""

from typing import Any

from tf.schema import Attribute, Schema
from tf.types import String

from localcloud_provider.resource import Resource, State


class Network(Resource):
    """The bridge; also where the cloud's directory is made."""

    @classmethod
    def get_name(cls) -> str:
        """Return the type's name without the prefix."""
        return "network"

    @classmethod
    def get_schema(cls) -> Schema:
        """Describe the attributes."""
        text, subnet = String(), "The subnet; its first address is the host's"
        return Schema(
            version=0,
            attributes=[
                Attribute("id", text, "The bridge's name", computed=True),
                Attribute(
                    "name", text, "The bridge, 1 to 15 characters", required=True, requires_replace=True
                ),
                Attribute("cidr", text, subnet, required=True, requires_replace=True),
            ],
        )

    def create(self, ctx: Any, planned: State) -> State:
        """Make the bridge."""
        from local_cloud import network

        store = self.provider.the_cloud().store
        network.configure(store, planned["name"], planned["cidr"], self.provider.images)
        return {**planned, "id": planned["name"]}

    def read(self, ctx: Any, current: State) -> State | None:
        """Look whether it is there."""
        from local_cloud import network

        found = network.current(self.provider.the_cloud().store)
        if found is None:
            return None
        return {"id": found["bridge"], "name": found["bridge"], "cidr": found["subnet"]}

    def update(self, ctx: Any, current: State, planned: State) -> State:
        """Never planned: every attribute forces a replacement."""
        return planned

    def delete(self, ctx: Any, current: State) -> None:
        """Remove it."""
        from local_cloud import network

        network.remove(self.provider.the_cloud().store)

    def import_(self, ctx: Any, id: str) -> State | None:
        """Import by the bridge's name."""
        found = self.read(ctx, {})
        return found if found and found["id"] == id else None
