"""Where the provider's process begins."""

from openstack_provider.servicer import Servicer


def servicer(terraform: int) -> Servicer:
    """Return what answers Terraform."""
    return Servicer()
