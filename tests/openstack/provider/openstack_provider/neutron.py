"""The resources of Neutron: a table of what they are called, and the few that differ."""

from typing import Any, ClassVar

from openstack_provider.cloud import CloudError
from openstack_provider.plan import State, same
from openstack_provider.resource import Resource, names, read_tags

OURS = {"id", "region", "tags", "all_tags", "value_specs", "tenant_id"}
"""Attributes that are not handed to the API as they are."""


class Neutron(Resource):
    """A thing of Neutron whose attributes are the API's, by and large."""

    path: ClassVar[str]
    key: ClassVar[str]
    api: ClassVar[dict[str, str]] = {}
    """Our attribute -> the API's."""
    not_sent: ClassVar[frozenset[str]] = frozenset()
    waits: ClassVar[bool] = False
    has_tags: ClassVar[bool] = True

    def body(self, state: State, wanted: set[str]) -> State:
        """Return what is sent of these attributes."""
        sent = {}
        for name in wanted & set(self.block["attributes"]) - OURS - self.not_sent:
            if state[name] is not None and not (isinstance(state[name], str) and not state[name]):
                sent[self.api.get(name, name)] = state[name]
        return sent

    def set(self, state: State, found: State) -> None:
        """Take over what the API says."""
        for name in self.block["attributes"]:
            api = self.api.get(name, name)
            if api in found and name not in OURS - {"id", "tenant_id"}:
                state[name] = found[api]
        state["region"] = self.cloud.region
        if self.has_tags:
            read_tags(state, found.get("tags") or [])

    def create(self, state: State, config: State) -> None:
        """Make it, wait for it, tag it."""
        body = self.body(state, set(self.block["attributes"])) | (state.get("value_specs") or {})
        made = self._call("creating", "POST", f"/{self.path}", body)
        state["id"] = made["id"]
        if self.waits:
            self.cloud.wait(
                lambda: self._status(state), ["ACTIVE"], ["BUILD", "DOWN"], self.seconds(state, "create", 10)
            )
        self._tag(state, state.get("tags"))
        self.read(state)

    def read(self, state: State) -> bool:
        """Read it."""
        found = self.cloud.find("network", f"/{self.path}/{state['id']}", self.key)
        if found is None:
            return False
        self.set(state, found)
        return True

    def update(self, prior: State, state: State) -> None:
        """Send what differs."""
        kinds = {name: attribute["type"] for name, attribute in self.block["attributes"].items()}
        kinds |= dict.fromkeys(self.block.get("block_types", {}))
        changed = {name for name, kind in kinds.items() if not same(prior[name], state[name], kind)}
        body = self.body(state, changed)
        for name in changed & set(self.block["attributes"]) - OURS - self.not_sent:
            body.setdefault(self.api.get(name, name), state[name])
        if body:
            self._call("updating", "PUT", f"/{self.path}/{state['id']}", body)
        if "tags" in changed:
            self._tag(state, state["tags"] or [])
        self.read(state)

    def delete(self, state: State) -> None:
        """Delete it; while it is in use, ask again until the time is up."""
        seconds = self.seconds(state, "delete", 10)

        def look() -> str:
            try:
                self.cloud.call("network", "DELETE", f"/{self.path}/{state['id']}")
            except CloudError as error:
                if error.status == 404:
                    return "DELETED"
                if error.status == 409:
                    return "ACTIVE"
                raise CloudError(f"Error deleting {self.type_name} {state['id']}: {error}") from None
            return "DELETED"

        self.cloud.wait(look, ["DELETED"], ["ACTIVE"], seconds)

    def _tag(self, state: State, tags: list[str] | None) -> None:
        if tags is not None and self.has_tags:
            self.cloud.call("network", "PUT", f"/{self.path}/{state['id']}/tags", {"tags": sorted(tags)})

    def _status(self, state: State) -> str:
        found = self.cloud.find("network", f"/{self.path}/{state['id']}", self.key)
        return "DELETED" if found is None else str(found["status"])

    def _call(self, what: str, method: str, path: str, body: State) -> State:
        try:
            return dict(self.cloud.call("network", method, path, {self.key: body})[self.key])
        except CloudError as error:
            raise CloudError(f"Error {what} {self.type_name}: {error}", error.status) from None


class Network(Neutron):
    """A network."""

    type_name, path, key = "openstack_networking_network_v2", "networks", "network"
    api: ClassVar[dict[str, str]] = {"external": "router:external"}
    force_new = names("region tenant_id availability_zone_hints value_specs transparent_vlan segments")
    waits = True


class Subnet(Neutron):
    """A subnet."""

    type_name, path, key = "openstack_networking_subnet_v2", "subnets", "subnet"
    defaults: ClassVar[dict[str, Any]] = {"ip_version": 4, "enable_dhcp": True, "no_gateway": False}
    not_sent = names("no_gateway prefix_length allocation_pool")
    force_new = names(
        "region network_id cidr prefix_length tenant_id "
        "ip_version ipv6_address_mode ipv6_ra_mode subnetpool_id value_specs"
    )

    def body(self, state: State, wanted: set[str]) -> State:
        """Add allocation pools and the lack of a gateway."""
        sent = super().body(state, wanted)
        if "allocation_pool" in wanted or (state["id"] is None and state["allocation_pool"]):
            sent["allocation_pools"] = state["allocation_pool"]
        if state["no_gateway"] and state["id"] is None:
            sent["gateway_ip"] = None
        return sent

    def set(self, state: State, found: State) -> None:
        """Read the allocation pools where they are configured."""
        super().set(state, found)
        if state["allocation_pool"]:
            state["allocation_pool"] = found["allocation_pools"]


class Router(Neutron):
    """A router."""

    type_name, path, key = "openstack_networking_router_v2", "routers", "router"
    force_new = names("region distributed tenant_id value_specs availability_zone_hints")
    not_sent = names("external_network_id enable_snat external_subnet_ids external_qos_policy_id")
    waits = True

    def body(self, state: State, wanted: set[str]) -> State:
        """Add the gateway."""
        sent = super().body(state, wanted)
        if "external_network_id" in wanted and state["external_network_id"]:
            sent["external_gateway_info"] = {"network_id": state["external_network_id"]}
        return sent

    def set(self, state: State, found: State) -> None:
        """Read the gateway."""
        super().set(state, found)
        gateway = found.get("external_gateway_info") or {}
        state["external_network_id"] = gateway.get("network_id", "")
        state["enable_snat"] = gateway.get("enable_snat", False)


class RouterInterface(Neutron):
    """A router's port in a subnet; its id is the port's."""

    type_name, path, key = "openstack_networking_router_interface_v2", "ports", "port"
    force_new = names("region router_id subnet_id port_id")
    has_tags = False

    def create(self, state: State, config: State) -> None:
        """Add the interface."""
        wanted = {name: state[name] for name in ("subnet_id", "port_id") if state[name]}
        made = self.cloud.call(
            "network", "PUT", f"/routers/{state['router_id']}/add_router_interface", wanted
        )
        state["id"] = made["port_id"]
        self.read(state)

    def set(self, state: State, found: State) -> None:
        """Read it from the port."""
        state["region"], state["router_id"], state["port_id"] = (
            self.cloud.region,
            found["device_id"],
            found["id"],
        )
        state["subnet_id"] = found["fixed_ips"][0]["subnet_id"] if found["fixed_ips"] else ""

    def delete(self, state: State) -> None:
        """Remove the interface."""
        path = f"/routers/{state['router_id']}/remove_router_interface"
        try:
            self.cloud.call("network", "PUT", path, {"subnet_id": state["subnet_id"]})
        except CloudError as error:
            if error.status != 404:
                raise CloudError(f"Error deleting {self.type_name} {state['id']}: {error}") from None


class SecurityGroup(Neutron):
    """A security group."""

    type_name, path, key = "openstack_networking_secgroup_v2", "security-groups", "security_group"
    force_new = names("region tenant_id delete_default_rules")
    not_sent = names("delete_default_rules")

    def create(self, state: State, config: State) -> None:
        """Make it, and remove the rules that it comes with if that is wanted."""
        super().create(state, config)
        if state["delete_default_rules"]:
            rules = self.cloud.call(
                "network", "GET", f"/security-group-rules?security_group_id={state['id']}"
            )
            for rule in rules["security_group_rules"]:
                self.cloud.call("network", "DELETE", f"/security-group-rules/{rule['id']}")


class SecurityGroupRule(Neutron):
    """A rule."""

    type_name, path, key = (
        "openstack_networking_secgroup_rule_v2",
        "security-group-rules",
        "security_group_rule",
    )
    has_tags = False
    force_new = names(
        "region description direction ethertype port_range_max port_range_min "
        "protocol remote_group_id remote_ip_prefix remote_address_group_id security_group_id tenant_id"
    )


class Port(Neutron):
    """A port."""

    type_name, path, key = "openstack_networking_port_v2", "ports", "port"
    force_new = names("region network_id mac_address tenant_id value_specs")
    not_sent = names("security_group_ids no_security_groups no_fixed_ip dns_assignment")

    def body(self, state: State, wanted: set[str]) -> State:
        """Add addresses and groups."""
        sent = super().body(state, wanted)
        if state["fixed_ip"] and ("fixed_ip" in wanted or state["id"] is None):
            sent["fixed_ips"] = [{key: of for key, of in entry.items() if of} for entry in state["fixed_ip"]]
        if "security_group_ids" in wanted and state["security_group_ids"] is not None:
            sent["security_groups"] = sorted(state["security_group_ids"])
        return sent

    def set(self, state: State, found: State) -> None:
        """Read addresses and groups."""
        super().set(state, found)
        state["all_fixed_ips"] = [entry["ip_address"] for entry in found["fixed_ips"]]
        state["all_security_group_ids"] = sorted(found["security_groups"])
        state["dns_assignment"] = None


class FloatingIp(Neutron):
    """A floating IP; `pool` is the external network's name."""

    type_name, path, key = "openstack_networking_floatingip_v2", "floatingips", "floatingip"
    force_new = names("region address pool tenant_id subnet_id subnet_ids value_specs dns_name dns_domain")
    api: ClassVar[dict[str, str]] = {"address": "floating_ip_address", "fixed_ip": "fixed_ip_address"}
    not_sent = names("pool subnet_ids")

    def body(self, state: State, wanted: set[str]) -> State:
        """Add the external network's id."""
        sent = super().body(state, wanted)
        if state["id"] is None:
            found = self.cloud.call("network", "GET", f"/networks?router:external=true&name={state['pool']}")
            if len(found["networks"]) != 1:
                raise CloudError(f"Error retrieving floating IP pool name: {state['pool']}")
            sent["floating_network_id"] = found["networks"][0]["id"]
        return sent

    def set(self, state: State, found: State) -> None:
        """Read the pool's name."""
        super().set(state, found)
        network = self.cloud.find("network", f"/networks/{found['floating_network_id']}", "network")
        state["pool"] = network["name"] if network else state["pool"]


TYPES: tuple[type[Resource], ...] = (
    Network, Subnet, Router, RouterInterface, SecurityGroup, SecurityGroupRule, Port, FloatingIp,
)  # fmt: skip
