"""What both resource types share."""

from typing import TYPE_CHECKING, Any

from tf.utils import Diagnostics

if TYPE_CHECKING:
    from localcloud_provider.provider import LocalCloud

State = dict[str, Any]


class Resource:
    """What both resource types share."""

    def __init__(self, provider: "LocalCloud") -> None:
        self.provider = provider

    def validate(self, diags: Diagnostics, type_name: str, config: State) -> None:
        """Terraform has checked the schema already."""

    def upgrade(self, ctx: Any, version: int, old: State) -> State:
        """There is one version of each schema."""
        return old

    def plan(self, ctx: Any, current: State, planned: State) -> State:
        """Nothing to add to the plan of an update."""
        return planned
