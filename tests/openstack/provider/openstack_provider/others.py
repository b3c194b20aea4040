"""Key pairs, server groups, application credentials; and volumes, which the lab has not."""

from typing import Any, ClassVar

from openstack_provider.cloud import CloudError
from openstack_provider.plan import State
from openstack_provider.resource import Resource, names


class KeyPair(Resource):
    """A key pair; its id is its name."""

    type_name = "openstack_compute_keypair_v2"
    force_new = names("region name public_key user_id value_specs")

    def create(self, state: State, config: State) -> None:
        """Upload a public key. One that Nova makes is refused: its private half would be in the state."""
        if not state["public_key"]:
            raise CloudError("The provider for tests makes no private keys: set public_key")
        wanted = {"keypair": {"name": state["name"], "public_key": state["public_key"]}}
        try:
            self.cloud.call("compute", "POST", "/os-keypairs", wanted)
        except CloudError as error:
            raise CloudError(
                f"Unable to create openstack_compute_keypair_v2 {state['name']}: {error}"
            ) from None
        state["id"] = state["name"]
        self.read(state)

    def read(self, state: State) -> bool:
        """Read it."""
        found = self.cloud.find("compute", f"/os-keypairs/{state['id']}", "keypair")
        if found is None:
            return False
        for name in ("name", "public_key", "fingerprint"):
            state[name] = found[name]
        state["user_id"], state["region"] = found.get("user_id", ""), self.cloud.region
        return True

    def delete(self, state: State) -> None:
        """Delete it."""
        self.cloud.call("compute", "DELETE", f"/os-keypairs/{state['id']}", ok=(202, 204, 404))


class ServerGroup(Resource):
    """A server group."""

    type_name = "openstack_compute_servergroup_v2"
    force_new = names("region name policies rules value_specs")

    def create(self, state: State, config: State) -> None:
        """Make it; soft policies need microversion 2.15."""
        soft = any(policy.startswith("soft-") for policy in state["policies"] or ())
        wanted = {"server_group": {"name": state["name"], "policies": state["policies"]}}
        made = self.cloud.call(
            "compute", "POST", "/os-server-groups", wanted, microversion="2.15" if soft else None
        )
        state["id"] = made["server_group"]["id"]
        self.read(state)

    def read(self, state: State) -> bool:
        """Read it."""
        found = self.cloud.find("compute", f"/os-server-groups/{state['id']}", "server_group")
        if found is None:
            return False
        for name in ("name", "policies", "members"):
            state[name] = found[name]
        state["region"] = self.cloud.region
        return True

    def delete(self, state: State) -> None:
        """Delete it."""
        self.cloud.call("compute", "DELETE", f"/os-server-groups/{state['id']}", ok=(204, 404))


class ApplicationCredential(Resource):
    """An application credential of the user who asks."""

    type_name = "openstack_identity_application_credential_v3"
    force_new = names("region name description unrestricted secret roles expires_at access_rules")
    defaults: ClassVar[dict[str, Any]] = {"unrestricted": False}

    def create(self, state: State, config: State) -> None:
        """Make it; the secret is told only now."""
        wanted = {
            name: state[name] for name in ("name", "description", "unrestricted", "secret", "expires_at")
        }
        wanted["roles"] = [{"name": name} for name in state["roles"] or ()] or None
        wanted["access_rules"] = [
            {name: rule[name] for name in ("path", "method", "service")}
            for rule in state["access_rules"] or ()
        ] or None
        body = {"application_credential": {name: of for name, of in wanted.items() if of is not None}}
        made = self.cloud.call("identity", "POST", self._path(), body)["application_credential"]
        state["id"], state["secret"] = made["id"], made["secret"]
        self.read(state)

    def read(self, state: State) -> bool:
        """Read it."""
        found = self.cloud.find("identity", f"{self._path()}/{state['id']}", "application_credential")
        if found is None:
            return False
        for name in ("name", "description", "unrestricted", "project_id"):
            state[name] = found[name]
        state["roles"] = sorted(role["name"] for role in found["roles"])
        state["region"] = self.cloud.region
        return True

    def delete(self, state: State) -> None:
        """Delete it."""
        self.cloud.call("identity", "DELETE", f"{self._path()}/{state['id']}", ok=(204, 404))

    def _path(self) -> str:
        return f"/users/{self.cloud.user_id}/application_credentials"


class NoVolumes(Resource):
    """Has a schema, so that modules that use it can be checked and planned."""

    def create(self, state: State, config: State) -> None:
        """Refuse."""
        raise CloudError(f"{self.type_name}: the provider for tests makes no volumes")


class Volume(NoVolumes):
    """A volume."""

    type_name = "openstack_blockstorage_volume_v3"


class VolumeAttachment(NoVolumes):
    """A volume's place in a server."""

    type_name = "openstack_compute_volume_attach_v2"


TYPES: tuple[type[Resource], ...] = (KeyPair, ServerGroup, ApplicationCredential, Volume, VolumeAttachment)
