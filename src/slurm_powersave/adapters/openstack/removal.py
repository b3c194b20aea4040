"""Removing what an interrupted deploy left beside servers, by its id."""

from typing import Any
from urllib.parse import quote

from slurm_powersave.adapters.openstack.api import Api
from slurm_powersave.model.errors import CloudError, FailureClass
from slurm_powersave.model.leftovers import INTERFACE, RULE, Leftover

_PATHS = {
    "floating IP": ("network", "/floatingips"),
    "router": ("network", "/routers"),
    "port": ("network", "/ports"),
    "subnet": ("network", "/subnets"),
    "network": ("network", "/networks"),
    "security group": ("network", "/security-groups"),
    RULE: ("network", "/security-group-rules"),
    "server group": ("compute", "/os-server-groups"),
    "key pair": ("compute", "/os-keypairs"),
}
"""Kind -> service and path."""


def remove(api: Api, left: Leftover) -> None:
    """Delete one thing; one that is gone already is no error.

    Raises:
        CloudError: the cloud refuses, or it is of a kind that is not removed here.
    """
    if left.kind == INTERFACE:
        path = f"/routers/{quote(left.part_of, safe='')}/remove_router_interface"
        _ask(api, "PUT", "network", path, {"port_id": left.id})
        return
    if left.kind not in _PATHS:
        raise CloudError(f"{left} is not removed by itself", failure=FailureClass.CONFIG, where="OpenStack")
    service, path = _PATHS[left.kind]
    place = f"{path}/{quote(left.id, safe='')}"
    if left.kind == "router":
        for port in api.listed("network", "/ports", device_id=left.id):
            if str(port.get("device_owner") or "").startswith("network:router_interface"):
                _ask(api, "PUT", service, f"{place}/remove_router_interface", {"port_id": port["id"]})
    _ask(api, "DELETE", service, place)


def _ask(api: Api, method: str, service: str, path: str, body: Any = None) -> None:
    try:
        api.ask(method, service, path, body=body)
    except CloudError as error:
        if error.status != 404:
            raise
