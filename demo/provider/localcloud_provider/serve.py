"""Where the provider's process begins."""

from localcloud_provider.provider import LocalCloud
from localcloud_provider.servicer import Servicer


def servicer(terraform: int) -> Servicer:
    """Return what answers Terraform, whose pid is given."""
    return Servicer(LocalCloud(terraform))
