"""openstack_networking_network_v2, looked up."""

from typing import Any
from urllib.parse import urlencode

from openstack_provider import schema
from openstack_provider.cloud import Cloud, CloudError

NETWORK = "openstack_networking_network_v2"
FILTERS = {"name": "name", "network_id": "id", "status": "status", "tenant_id": "project_id"}


def read(cloud: Cloud, type_name: str, config: dict[str, Any]) -> dict[str, Any]:
    """Return what a data source's configuration describes."""
    if type_name != NETWORK:
        raise CloudError(f"The provider for tests does not read {type_name}")
    query = {theirs: config[ours] for ours, theirs in FILTERS.items() if config[ours]}
    if config["external"] is not None:
        query["router:external"] = str(config["external"]).lower()
    if config["tags"]:
        query["tags"] = ",".join(sorted(config["tags"]))
    found = cloud.call("network", "GET", f"/networks?{urlencode(query)}")["networks"]
    if len(found) != 1:
        how = "returned more than one result. Please try a more specific search criteria"
        raise CloudError(f"Your query {how if found else 'returned no results'}: {query}")
    (network,) = found
    state = schema.empty(schema.data_source(type_name)) | config
    return state | {
        "id": network["id"],
        "network_id": config["network_id"],
        "name": network["name"],
        "region": cloud.region,
        "admin_state_up": str(network["admin_state_up"]).lower(),
        "shared": str(network["shared"]).lower(),
        "external": network["router:external"],
        "subnets": network["subnets"],
        "mtu": network["mtu"],
        "all_tags": sorted(network["tags"]),
    }
