"""Servers on OpenStack, through Nova's API. Only those with our cluster's tag are ever touched."""

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from slurm_powersave.adapters.answers import raises_cloud_error
from slurm_powersave.adapters.openstack import (
    console,
    facts,
    leftovers,
    limits,
    removal,
    server_json,
)
from slurm_powersave.adapters.openstack.api import Api
from slurm_powersave.adapters.openstack.names import Names
from slurm_powersave.adapters.openstack.resize import Resizes
from slurm_powersave.config.openstack_settings import Settings
from slurm_powersave.model.cloud_facts import CloudFacts
from slurm_powersave.model.errors import CloudError, FailureClass
from slurm_powersave.model.leftovers import SERVER, Leftover
from slurm_powersave.model.nodes import Flavor, Limit, Server
from slurm_powersave.model.permit import Act, Permit

log = logging.getLogger("slurm_powersave")
_GONE = "DELETED"
"""A listing, too, shows this for the moment between a deletion and Nova's record of it (seen on 31.3)."""


class OpenStackCloud:
    """Implements ports.Cloud, ports.FactsCloud and ports.RemovesLeftovers.

    `settings` are the cluster file's `clouds.NAME.settings` (config/openstack_settings.py). Nothing is
    imported or connected to before the first call; the session is kept, several threads may use it.
    """

    def __init__(self, cluster: str, settings: Mapping[str, Any]) -> None:
        self._settings = Settings.model_validate(dict(settings))
        self._cluster = cluster
        self._tag = f"cluster={cluster}"
        self._api = Api(self._settings)
        self._names = Names(self._api)
        self._resizes = Resizes(self._api)
        self._faults: Mapping[str, Any] = {}
        """Why servers failed whose fault is not in the listing, by id."""

    @raises_cloud_error
    def servers(self) -> Sequence[Server]:
        """List the servers that carry our cluster's tag, in any state; without host keys."""
        listed = self._api.listed("compute", "/servers/detail", tags=self._tag)
        found = [one for one in listed if self._carries_tag(one) and one.get("status") != _GONE]
        self._resizes.look(found)
        images = self._names.image_names(server_json.image_ids(found))
        return [server_json.to_server(one, images) for one in self._with_faults(found)]

    def _with_faults(self, found: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
        """Read by id why servers have failed whose fault a listing leaves out.

        Nova does so for those that found no host: they lie in a database of their own (cell0; seen on 31.3).
        """
        faults = {}
        for one in found:
            if one.get("status") == "ERROR" and not one.get("fault"):
                known = self._faults.get(str(one["id"])) or (self._find(str(one["id"])) or {}).get("fault")
                if known:
                    faults[str(one["id"])] = known
        self._faults = faults
        return [{**one, "fault": faults[one["id"]]} if one["id"] in faults else one for one in found]

    @raises_cloud_error
    def server(self, server_id: str) -> Server | None:
        """Read one server, with its host key once it is ACTIVE; None when it is gone or not our cluster's."""
        found = self._find(server_id)
        if found is None or not self._carries_tag(found):
            return None
        self._resizes.look([found])
        images = self._names.image_names(server_json.image_ids([found]))
        server = server_json.to_server(found, images)
        return self._with_host_key(server, found) if server.status == "ACTIVE" else server

    def _with_host_key(self, server: Server, found: Mapping[str, Any]) -> Server:
        shown, refusal = console.Shown(), ""
        try:
            shown = console.read(self._api, server.id)
        except CloudError as error:
            if error.status not in (400, 403):
                raise
            refusal = f"the cloud does not show its console: {error.why}"
        if shown.lost:
            refusal = "its console has lost its beginning, and with it the host key that it printed first"
        key, *later = shown.blocks or ("",)
        if not key and self._settings.host_keys == "first-use":
            places = [
                address for kind in ("fixed", "floating") for address in server_json.addresses(found, kind)
            ]
            key = console.scan(places)
            if key:
                log.warning("server=%s host key believed on first use (host_keys: first-use)", server.id)
        fault = server.fault or ("" if key else refusal)
        return replace(server, host_key=key, later_keys=tuple(later), fault=fault)

    @raises_cloud_error
    def delete(self, server_id: str, permit: Permit) -> None:
        """Ask for a deletion by id; refused for a server without our cluster's tag, or with a lock.

        With the setting force_delete, and for one that was deleted softly, past the cloud's soft delete.
        """
        permit.use(Act.DELETE, server_id)
        found = self._find(server_id)
        if found is None:
            return
        self._refuse(found)
        force = self._settings.force_delete or found.get("status") == "SOFT_DELETED"
        try:
            if force:
                self._act(server_id, {"forceDelete": None})
            else:
                self._api.ask("DELETE", "compute", f"/servers/{_quoted(server_id)}")
        except CloudError as error:
            if error.status != 404:
                raise

    @raises_cloud_error
    def flavors(self) -> Mapping[str, Flavor]:
        """Read the flavors by name."""
        return self._names.flavors()

    @raises_cloud_error
    def images(self) -> frozenset[str]:
        """Read the names of the images that servers can be made from; an ambiguous name is shown as ids."""
        found = self._names.images()
        active = frozenset(str(image["id"]) for image in found if image.get("status") == "active")
        names = self._names.image_names(active)
        return frozenset(names[one] for one in active)

    @raises_cloud_error
    def image_id(self, name: str) -> str:
        """Return the id of an image."""
        return self._names.image_id(name)

    @raises_cloud_error
    def flavor_id(self, name: str) -> str:
        """Return the id of a flavor."""
        return self._names.flavor_id(name)

    @raises_cloud_error
    def quota(self) -> Mapping[str, Limit]:
        """Read Nova's limits and what the whole project uses of them; of the nodes' server group, too."""
        group = f"slurm-powersave-{self._cluster}" if self._settings.server_group else ""
        return limits.compute(self._api, group)

    @raises_cloud_error
    def leftovers(self) -> Sequence[Leftover]:
        """List all that is our cluster's."""
        servers = [Leftover(SERVER, server.id, server.name) for server in self.servers()]
        beside = leftovers.beside_servers(self._api, self._cluster, self._names.images())
        volumes = self._settings.shared_storage.get("size")
        return [*servers, *beside, *(leftovers.volumes(self._api, self._cluster) if volumes else ())]

    @raises_cloud_error
    def parts(self) -> Sequence[Leftover]:
        """List the interfaces of our routers and the rules of our security groups."""
        return leftovers.parts(self._api, self._cluster)

    @raises_cloud_error
    def remove(self, left: Leftover, permit: Permit) -> None:
        """Delete what an interrupted deploy left; what is not our cluster's any more is never touched."""
        permit.use(Act.DELETE, left.id)
        beside = [*leftovers.beside_servers(self._api, self._cluster, ()), *self.parts()]
        if left.id in {one.id for one in beside if one.kind == left.kind}:
            removal.remove(self._api, left)

    @raises_cloud_error
    def facts(self, images: Collection[str] = ()) -> CloudFacts:
        """Read what the pre-flight needs."""
        return facts.read(self._api, self._cluster, images)

    @raises_cloud_error
    def reboot(self, server_id: str, permit: Permit) -> None:
        """Boot a server again (HARD: a guest that hangs is no obstacle): same disk."""
        permit.use(Act.REBOOT, server_id)
        self._change(server_id, {"reboot": {"type": "HARD"}})

    @raises_cloud_error
    def rebuild(self, server_id: str, image: str, permit: Permit) -> None:
        """Give a server a fresh disk of an image."""
        permit.use(Act.REBUILD, server_id)
        self._change(server_id, {"rebuild": {"imageRef": self.image_id(image)}})

    @raises_cloud_error
    def resize(self, server_id: str, flavor: str, permit: Permit) -> None:
        """Give a server another flavor; `servers` and `server` confirm it when it has come so far."""
        permit.use(Act.RESIZE, server_id)
        flavor_id = self.flavor_id(flavor)
        self._resizes.asked(server_id)
        try:
            self._change(server_id, {"resize": {"flavorRef": flavor_id}})
        except CloudError:
            self._resizes.refused(server_id)
            raise

    def _change(self, server_id: str, action: Mapping[str, Any]) -> None:
        self._mine(server_id)
        self._act(server_id, action)

    def _act(self, server_id: str, action: Mapping[str, Any]) -> Any:
        return self._api.ask("POST", "compute", f"/servers/{_quoted(server_id)}/action", body=action)

    def _mine(self, server_id: str) -> Mapping[str, Any]:
        """Read a server that is to be changed; one that is not our cluster's, or locked, is never touched."""
        found = self._find(server_id)
        if found is None:
            raise CloudError(
                f"server {server_id} is not there, or not ours",
                failure=FailureClass.CONFIG,
                where="OpenStack compute",
            )
        self._refuse(found)
        return found

    def _refuse(self, found: Mapping[str, Any]) -> None:
        if not self._carries_tag(found):
            raise CloudError(
                f"server {found['id']} is not ours",
                failure=FailureClass.CONFIG,
                where="OpenStack compute",
                why=f"it does not carry the tag {self._tag}",
            )
        # Nova itself lets an administrator, and a forced deletion, past a lock.
        if found.get("locked"):
            raise CloudError(
                f"server {found['id']} is locked",
                failure=FailureClass.CONFIG,
                where="OpenStack compute",
                why="somebody has locked it",
                todo=f"openstack server unlock {found['id']}",
            )

    def _find(self, server_id: str) -> Mapping[str, Any] | None:
        answer = self._api.find("compute", f"/servers/{_quoted(server_id)}")
        if answer is None or answer["server"].get("status") == _GONE:
            return None
        found: Mapping[str, Any] = answer["server"]
        return found

    def _carries_tag(self, found: Mapping[str, Any]) -> bool:
        return self._tag in (found.get("tags") or ())


def _quoted(server_id: str) -> str:
    return quote(server_id, safe="")
