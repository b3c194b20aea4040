"""openstack_compute_instance_v2, with the real one's order of calls, refusals and omissions."""

import base64
import hashlib
from typing import Any, ClassVar

from openstack_provider.cloud import CloudError
from openstack_provider.plan import State, same
from openstack_provider.resource import Resource, names, read_tags

SETTLED = {"active", "shutoff", "error", "migrating", "shelved_offloaded", "shelved", "build", "paused"}
"""The statuses that a refresh takes. Not REBOOT, REBUILD, RESIZE, VERIFY_RESIZE, SUSPENDED, SOFT_DELETED."""
WITH_TAGS, TAGS = "2.52", "2.26"
"""Microversions: tags on creation, and reading and replacing them."""
UNUSED = ("admin_pass", "network_mode", "hypervisor_hostname", "availability_zone_hints")
UNUSED_BLOCKS = ("block_device", "personality")
"""The real one has these; here they are refused, so that no test believes them to work."""
RETRIED = (409, 500, 502, 503, 504)
"""Answers that don't end the waiting for a new server."""


class Instance(Resource):
    """A server."""

    type_name = "openstack_compute_instance_v2"
    force_new = names(
        "region user_data availability_zone_hints availability_zone network_mode network network.uuid "
        "network.name network.port network.fixed_ip_v4 network.fixed_ip_v6 hypervisor_hostname config_drive "
        "key_pair scheduler_hints"
    )
    defaults: ClassVar[dict[str, Any]] = {
        "stop_before_destroy": False,
        "force_delete": False,
        "power_state": "active",
        "network.access_network": False,
        "vendor_options.ignore_resize_confirmation": False,
        "vendor_options.detach_ports_before_destroy": False,
    }

    def planned(self, prior: State | None, state: State, config: State) -> None:
        """Store user_data as a hash; an ERROR or a migration is no difference of the power state."""
        if isinstance(state["user_data"], str) and state["user_data"] == config["user_data"]:
            state["user_data"] = hashlib.sha1(state["user_data"].encode()).hexdigest()
        if prior and prior["power_state"] in ("error", "migrating"):
            state["power_state"] = prior["power_state"]
        if prior and prior["power_state"] == "build":
            state["network"], state["security_groups"] = prior["network"], prior["security_groups"]

    def forcing(self, prior: State) -> frozenset[str]:
        """Add a flavor that was deleted, and is read as empty: Nova can't resize such a server."""
        gone = {name for name in ("flavor_id", "flavor_name") if prior.get(name) == ""}
        return self.force_new | gone

    def create(self, state: State, config: State) -> None:
        """Boot a server and wait until it is ACTIVE."""
        unused = [name for name in UNUSED if config.get(name)]
        unused += [name for name in UNUSED_BLOCKS if config.get(name)]
        if unused:
            raise CloudError(f"The provider for tests does not know: {', '.join(unused)}")
        server: dict[str, Any] = {
            "name": state["name"],
            "imageRef": self._image(state),
            "flavorRef": self._flavor(state),
            "networks": self._networks(state),
            "config_drive": bool(state["config_drive"]),
        }
        optional = {
            "availability_zone": state["availability_zone"],
            "key_name": state["key_pair"],
            "metadata": state["metadata"],
            "tags": sorted(state["tags"] or ()),
            "security_groups": [{"name": name} for name in sorted(state["security_groups"] or ())],
            "user_data": base64.b64encode((config["user_data"] or "").encode()).decode(),
        }
        server |= {key: value for key, value in optional.items() if value}
        body: dict[str, Any] = {"server": server}
        for hints in state["scheduler_hints"] or []:
            body["os:scheduler_hints"] = {key: value for key, value in hints.items() if value}
        microversion = WITH_TAGS if server.get("tags") else None
        try:
            made = self.cloud.call("compute", "POST", "/servers", body, microversion=microversion)
        except CloudError as error:
            raise CloudError(f"Error creating OpenStack server: {error}") from None
        state["id"] = made["server"]["id"]
        try:
            self._await(state, ["ACTIVE"], ["BUILD"], "create", retried=RETRIED)
        except CloudError as error:
            raise CloudError(f"Error waiting for instance ({state['id']}) to become ready: {error}") from None
        if state["power_state"] == "shutoff":
            self._act(state, {"os-stop": None}, "Error stopping OpenStack instance")
            self._await(state, ["SHUTOFF"], [], "create")
        self._refreshed(state)

    def read(self, state: State) -> bool:
        """Set what the cloud says. user_data, config_drive, force_delete and the like are not among it."""
        server = self.cloud.find("compute", f"/servers/{state['id']}", "server")
        if server is None:
            return False
        state["name"], state["created"], state["updated"] = (
            server["name"],
            server["created"],
            server["updated"],
        )
        state["network"] = self._read_networks(state, server["addresses"])
        first = next((entry for entry in state["network"] if entry["access_network"]), None)
        first = first or next(iter(state["network"]), {})
        state["access_ip_v4"] = first.get("fixed_ip_v4") or server.get("accessIPv4") or ""
        state["access_ip_v6"] = first.get("fixed_ip_v6") or server.get("accessIPv6") or ""
        state["all_metadata"] = server.get("metadata") or {}
        state["security_groups"] = sorted({group["name"] for group in server.get("security_groups") or ()})
        state["key_pair"] = server.get("key_name") or None
        flavor = self.cloud.find("compute", f"/flavors/{server['flavor']['id']}", "flavor")
        state["flavor_id"] = flavor["id"] if flavor else ""
        state["flavor_name"] = flavor["name"] if flavor else ""
        if image_id := (server.get("image") or {}).get("id"):
            state["image_id"] = image_id
            image = self._look_up_image(image_id)
            state["image_name"] = image["name"] if image else "Image not found"
        state["availability_zone"] = server.get("OS-EXT-AZ:availability_zone") or ""
        state["region"] = self.cloud.region
        status = str(server["status"]).lower()
        if status not in SETTLED:
            raise CloudError(f"Invalid power_state for instance {state['id']}: {server['status']}")
        state["power_state"] = status
        tags = self.cloud.call("compute", "GET", f"/servers/{state['id']}/tags", microversion=TAGS)
        read_tags(state, tags["tags"])
        state["hypervisor_hostname"] = server.get("OS-EXT-SRV-ATTR:hypervisor_hostname") or ""
        return True

    def update(self, prior: State, state: State) -> None:
        """Rename, power, metadata, groups, resize and confirm, rebuild, tags; in the real one's order."""
        path = f"/servers/{state['id']}"
        if state["name"] != prior["name"]:
            self.cloud.call("compute", "PUT", path, {"server": {"name": state["name"]}})
        if not same(prior["power_state"], state["power_state"]):
            self._power(prior["power_state"], state)
        if not same(prior["metadata"], state["metadata"]):
            for key in set(prior["metadata"] or {}) - set(state["metadata"] or {}):
                self.cloud.call("compute", "DELETE", f"{path}/metadata/{key}")
            self.cloud.call("compute", "POST", f"{path}/metadata", {"metadata": state["metadata"] or {}})
        old, new = set(prior["security_groups"] or ()), set(state["security_groups"] or ())
        for verb, groups in (("removeSecurityGroup", old - new), ("addSecurityGroup", new - old)):
            for name in sorted(groups):
                self._act(state, {verb: {"name": name}}, f"Error: {verb} {name}")
        if state["flavor_id"] != prior["flavor_id"] or state["flavor_name"] != prior["flavor_name"]:
            self._resize(prior, state)
        if state["image_id"] != prior["image_id"] or state["image_name"] != prior["image_name"]:
            self._rebuild(prior, state)
        if not same(prior["tags"], state["tags"], ["set", "string"]):
            body = {"tags": sorted(state["tags"] or ())}
            self.cloud.call("compute", "PUT", f"{path}/tags", body, microversion=TAGS)
        self._refreshed(state)

    def delete(self, state: State) -> None:
        """Delete and wait: for any status but ACTIVE and SHUTOFF meanwhile with an error."""
        path = f"/servers/{state['id']}"
        if state["stop_before_destroy"]:
            try:
                self._act(state, {"os-stop": None}, "Error stopping")
                self._await(state, ["SHUTOFF"], ["ACTIVE"], "delete")
            except CloudError:
                pass  # the real one logs it and goes on
        try:
            if state["force_delete"]:
                self.cloud.call("compute", "POST", f"{path}/action", {"forceDelete": ""})
            else:
                self.cloud.call("compute", "DELETE", path)
        except CloudError as error:
            if error.status == 404:
                return
            raise CloudError(f"Error deleting openstack_compute_instance_v2 {state['id']}: {error}") from None
        try:
            self._await(state, ["DELETED", "SOFT_DELETED"], ["ACTIVE", "SHUTOFF"], "delete")
        except CloudError as error:
            raise CloudError(f"Error waiting for instance ({state['id']}) to Delete:  {error}") from None

    def imported(self, id: str) -> State:
        """Read, and metadata: the only thing more."""
        state = super().imported(id)
        state["metadata"] = state["all_metadata"]
        return state

    # -- parts ---------------------------------------------------------------------------------------

    def _status(self, state: State) -> str:
        server = self.cloud.find("compute", f"/servers/{state['id']}", "server")
        return "DELETED" if server is None else str(server["status"])

    def _await(
        self, state: State, target: list[str], pending: list[str], verb: str, retried: tuple[int, ...] = ()
    ) -> None:
        def look() -> str:
            try:
                return self._status(state)
            except CloudError as error:
                if error.status in retried:
                    return pending[0]
                raise

        self.cloud.wait(look, target, pending, self.seconds(state, verb))

    def _act(self, state: State, action: dict[str, Any], what: str) -> None:
        try:
            self.cloud.call("compute", "POST", f"/servers/{state['id']}/action", action)
        except CloudError as error:
            raise CloudError(f"{what}: {error}", error.status) from None

    def _power(self, before: str, state: State) -> None:
        if state["power_state"] == "shutoff":
            self._act(state, {"os-stop": None}, "Error stopping OpenStack instance")
            return self._await(state, ["SHUTOFF"], [], "update")
        if state["power_state"] != "active":
            raise CloudError(f"The provider for tests does not know the power state {state['power_state']}")
        if before == "paused":
            self._act(state, {"unpause": None}, "Error resuming OpenStack instance")
        elif before in ("shelved", "shelved_offloaded"):
            self._act(state, {"unshelve": None}, "Error unshelving OpenStack instance")
        elif before != "build":
            self._act(state, {"os-start": None}, "Error starting OpenStack instance")
        return self._await(state, ["ACTIVE"], [], "update")

    def _resize(self, prior: State, state: State) -> None:
        wanted = {**state, "flavor_id": None} if state["flavor_id"] == prior["flavor_id"] else state
        self._act(state, {"resize": {"flavorRef": self._flavor(wanted)}}, "Error resizing OpenStack server")
        options = next(iter(state["vendor_options"] or []), {})
        what = f"Error waiting for instance ({state['id']}) to"
        try:
            if options.get("ignore_resize_confirmation"):
                self._await(state, ["ACTIVE", "SHUTOFF"], ["RESIZE", "VERIFY_RESIZE"], "update")
                return
            self._await(state, ["VERIFY_RESIZE"], ["RESIZE"], "update")
        except CloudError as error:
            raise CloudError(f"{what} resize: {error}") from None
        self._act(state, {"confirmResize": None}, "Error confirming resize of OpenStack server")
        try:
            self._await(state, ["ACTIVE", "SHUTOFF"], ["VERIFY_RESIZE"], "update")
        except CloudError as error:
            raise CloudError(f"{what} confirm resize: {error}") from None

    def _rebuild(self, prior: State, state: State) -> None:
        wanted = {**state, "image_id": None} if state["image_id"] == prior["image_id"] else state
        self._act(state, {"rebuild": {"imageRef": self._image(wanted)}}, "Error rebuilding OpenStack server")
        try:
            self._await(state, ["ACTIVE", "SHUTOFF"], ["REBUILD"], "update")
        except CloudError as error:
            raise CloudError(f"Error waiting for instance ({state['id']}) to rebuild: {error}") from None

    def _refreshed(self, state: State) -> None:
        if not self.read(state):
            raise CloudError(f"Server {state['id']} is gone")

    def _image(self, state: State) -> str:
        if state["image_id"]:
            return str(state["image_id"])
        if not state["image_name"]:
            raise CloudError("Neither a boot device, image ID, or image name were able to be determined")
        listed = self.cloud.call("image", "GET", f"/images?name={state['image_name']}")["images"]
        return _one(listed, "image", state["image_name"])

    def _flavor(self, state: State) -> str:
        if state["flavor_id"]:
            return str(state["flavor_id"])
        if not state["flavor_name"]:
            raise CloudError("Neither a flavor_id or flavor_name could be determined")
        listed = self.cloud.call("compute", "GET", "/flavors")["flavors"]
        named = [flavor for flavor in listed if flavor["name"] == state["flavor_name"]]
        return _one(named, "flavor", state["flavor_name"])

    def _look_up_image(self, image_id: str) -> dict[str, Any] | None:
        try:
            return dict(self.cloud.call("image", "GET", f"/images/{image_id}"))
        except CloudError as error:
            if error.status == 404:
                return None
            raise

    def _networks(self, state: State) -> list[dict[str, str]]:
        networks = []
        for entry in state["network"] or []:
            known = self._network(entry)
            wanted = {"uuid": known["uuid"], "fixed_ip": entry["fixed_ip_v4"], "port": entry["port"]}
            if wanted["port"]:
                wanted = {"port": wanted["port"]}
            networks.append({key: value for key, value in wanted.items() if value})
        return networks

    def _network(self, entry: State) -> dict[str, str]:
        """Complete a network's id and name."""
        uuid, name = entry["uuid"], entry["name"]
        if uuid and name:
            return {"uuid": uuid, "name": name}
        if entry["port"]:
            ports = self.cloud.call("network", "GET", f"/ports?id={entry['port']}")["ports"]
            if not ports:
                raise CloudError(f"Could not find any matching port for port {entry['port']}")
            uuid = ports[0]["network_id"]
        query = f"id={uuid}" if uuid else f"name={name}"
        found = self.cloud.call("network", "GET", f"/networks?status=ACTIVE&{query}")["networks"]
        if len(found) != 1:
            many = "More than one" if found else "Could not find any matching"
            raise CloudError(f"{many} network found for {query.replace('=', ' ')}")
        return {"uuid": found[0]["id"], "name": found[0]["name"]}

    def _read_networks(self, state: State, addresses: dict[str, list[dict[str, Any]]]) -> list[State]:
        """Merge what is configured with the server's addresses; of one just imported no uuid is known."""
        nics: dict[str, list[State]] = {}
        for name, listed in addresses.items():
            by_mac: dict[str, State] = {}
            for entry in listed:
                if entry.get("OS-EXT-IPS:type", "fixed") == "fixed":
                    mac = entry.get("OS-EXT-IPS-MAC:mac_addr", "")
                    nic = by_mac.setdefault(mac, {"mac": mac, "fixed_ip_v4": "", "fixed_ip_v6": ""})
                    nic["fixed_ip_v6" if entry["version"] == 6 else "fixed_ip_v4"] = entry["addr"]
            nics[name] = list(by_mac.values())
        if not state["network"]:
            bare = {"uuid": None, "port": None, "access_network": None}
            return [{"name": name, **bare, **nic} for name, found in nics.items() for nic in found]
        merged = []
        for entry in state["network"]:
            network = self._network(entry)
            if nics.get(network["name"]):
                nic = nics[network["name"]].pop(0)
                port = {"port": entry["port"] or "", "access_network": bool(entry["access_network"])}
                merged.append({**network, **port, **nic})
        return merged


def _one(listed: list[dict[str, Any]], kind: str, name: str) -> str:
    if len(listed) != 1:
        raise CloudError(
            f"Multiple {kind}s found with name {name}"
            if listed
            else f"Unable to find {kind} with name {name}"
        )
    return str(listed[0]["id"])
