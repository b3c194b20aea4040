"""The provider itself: its configuration and its resource types."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from local_cloud.errors import CloudFault
from tf.schema import Attribute, Schema
from tf.types import Map, String
from tf.utils import Diagnostics

from localcloud_provider.network import Network
from localcloud_provider.server import Server

if TYPE_CHECKING:
    from local_cloud.cloud import Cloud

State = dict[str, Any]


class LocalCloud:
    """The provider itself."""

    def __init__(self, terraform: int) -> None:
        self.terraform = terraform
        """The pid of the terraform that we serve."""
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
