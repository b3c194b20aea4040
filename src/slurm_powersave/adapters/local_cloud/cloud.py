"""The local cloud (demo/local_cloud), asked through its command: argv in, JSON out."""

import json
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from slurm_powersave.adapters.answers import raises_cloud_error
from slurm_powersave.adapters.processes import process
from slurm_powersave.model.cloud_facts import Asked, CloudFacts, ImageFacts, Trouble
from slurm_powersave.model.errors import CloudError, ConfigError, FailureClass
from slurm_powersave.model.images import CLUSTER
from slurm_powersave.model.leftovers import IMAGE, SERVER, Leftover
from slurm_powersave.model.nodes import Flavor, Limit, Server
from slurm_powersave.model.outside_text import SERVER_ID, STATUS, address, chosen_name, matching
from slurm_powersave.model.permit import Act, Permit

READ_TIMEOUT = 30.0
CHANGE_TIMEOUT = 150.0
"""Seconds; a delete waits up to 120 s for a create of the same server that is under way."""

FAILURES = {
    "capacity": FailureClass.CAPACITY,
    "quota": FailureClass.QUOTA,
    "auth": FailureClass.AUTH,
    "config": FailureClass.CONFIG,
    "conflict": FailureClass.CONFIG,
    "node-local": FailureClass.NODE_LOCAL,
}
"""The first word of the cloud's errors (demo/local_cloud/errors.py)."""


class LocalCloud:
    """Implements ports.Cloud and ports.TellsLeftovers.

    `settings` are the cluster file's `clouds.NAME.settings`: `root` is the cloud's directory, `cli`
    the path of its command where it is not in the checkout that this package was installed from.
    """

    def __init__(self, cluster: str, settings: Mapping[str, Any]) -> None:
        if not settings.get("root"):
            raise ConfigError(
                "the local cloud has no directory",
                where="clouds: settings: root",
                todo="Set root to the absolute path of a directory.",
            )
        checkout = Path(__file__).resolve().parents[4]
        cli = Path(settings.get("cli") or checkout / "demo/local_cloud/cli.py")
        # -I -S: it needs the standard library only, and a third of its time would be site-packages.
        self._argv = [sys.executable, "-I", "-S", str(cli), "--root", str(settings["root"])]
        self._tag = f"cluster={cluster}"
        self._root = settings["root"]
        # The cloud hears of the aliases with its first apply.
        self._names: set[str] = set(settings.get("images") or ())

    @raises_cloud_error
    def servers(self) -> Sequence[Server]:
        """List the servers that carry our cluster's tag, in any state."""
        return [_server(found) for found in self._ask(READ_TIMEOUT, "list", "--tag", self._tag) or []]

    @raises_cloud_error
    def server(self, server_id: str) -> Server | None:
        """Read one server; None when it is gone, or is not our cluster's."""
        found = self._ask(READ_TIMEOUT, "show", server_id)
        return _server(found) if found and self._tag in found["tags"] else None

    @raises_cloud_error
    def delete(self, server_id: str, permit: Permit) -> None:
        """Delete by id and return when it is gone; refused for a server without our cluster's tag."""
        permit.use(Act.DELETE, server_id)
        if self._ours(server_id):
            self._ask(CHANGE_TIMEOUT, "delete", server_id)

    @raises_cloud_error
    def flavors(self) -> Mapping[str, Flavor]:
        """Read the flavors by name."""
        found = self._ask(READ_TIMEOUT, "flavors") or {}
        return {
            name: Flavor(name, int(size["vcpus"]), int(size["ram"]), int(size.get("disk", 0)))
            for name, size in found.items()
        }

    @raises_cloud_error
    def images(self) -> frozenset[str]:
        """Read the names of the images: the cluster file's, and those in the image cache."""
        return frozenset(self._ask(READ_TIMEOUT, "images"))

    @raises_cloud_error
    def leftovers(self) -> Sequence[Leftover]:
        """List our servers, the bridge (a cloud has one), and the snapshots that we have made."""
        found = [Leftover(SERVER, server.id, server.name) for server in self.servers()]
        if network := self._ask(READ_TIMEOUT, "network", "show"):
            found.append(Leftover("network", network["bridge"], network["bridge"]))
        snapshots = self._ask(READ_TIMEOUT, "snapshots") or []
        ours = [
            image["name"] for image in snapshots if f"cluster={image['properties'].get(CLUSTER)}" == self._tag
        ]
        return [*found, *(Leftover(IMAGE, name, name) for name in ours)]

    def image_id(self, name: str) -> str:
        """Return the name: it is the id here."""
        return self._known("image", name, self.images)

    def flavor_id(self, name: str) -> str:
        """Return the name: it is the id here."""
        return self._known("flavor", name, self.flavors)

    def quota(self) -> Mapping[str, Limit]:
        """Return nothing: this machine is the only limit."""
        return {}

    @raises_cloud_error
    def facts(self, images: Collection[str] = ()) -> CloudFacts:
        """Read the little that there is for the pre-flight: no network, quota or key pair of its own."""
        asked = (f"local cloud in {self._root}",)
        try:
            flavors, images = self.flavors(), self.images()
            servers = [_server(found) for found in self._ask(READ_TIMEOUT, "list") or []]
        except CloudError as error:
            trouble = Trouble(Asked.SERVICE, error.why or error.what, error.where)
            return CloudFacts(asked, troubles=(trouble,))
        return CloudFacts(
            asked,
            images=tuple(ImageFacts(name, name) for name in sorted(images | self._names)),
            image_paths=True,
            flavors=flavors,
            servers=tuple(servers),
        )

    def _known(self, kind: str, name: str, ask: Callable[[], Collection[str]]) -> str:
        # A name that was there once is not asked for again: each answer takes a tenth of a second, and the
        # provider tells of what has gone since. So does it of a path.
        if name in self._names or name.startswith("/"):
            return name
        known = ask()
        if name in known:
            self._names.add(name)
            return name
        raise CloudError(
            f"there is no {kind} {name}",
            failure=FailureClass.CONFIG,
            where="local cloud",
            why=f"it has {', '.join(sorted(known)) or 'none'}",
        )

    def reboot(self, server_id: str, permit: Permit) -> None:
        """Boot a server again: same disk."""
        permit.use(Act.REBOOT, server_id)
        self._begin(server_id, "reboot", server_id)

    def rebuild(self, server_id: str, image: str, permit: Permit) -> None:
        """Give a server a fresh disk of an image."""
        permit.use(Act.REBUILD, server_id)
        self._begin(server_id, "rebuild", server_id, f"--image={image}")

    def resize(self, server_id: str, flavor: str, permit: Permit) -> None:
        """Boot a server with another flavor's limits: same disk."""
        permit.use(Act.RESIZE, server_id)
        self._begin(server_id, "resize", server_id, f"--flavor={flavor}")

    def _begin(self, server_id: str, *verb: str) -> None:
        """Start a verb that takes seconds; it goes on when we are gone, the server's status tells how far."""
        self._ours(server_id)
        self._ask(READ_TIMEOUT, "begin", *verb)

    def _ours(self, server_id: str) -> bool:
        """Tell whether a server exists; one that is not our cluster's is never touched."""
        found = self._ask(READ_TIMEOUT, "show", server_id)
        if found is not None and self._tag not in found["tags"]:
            raise CloudError(
                f"server {server_id} is not ours",
                failure=FailureClass.CONFIG,
                why=f"it does not carry the tag {self._tag}",
            )
        return found is not None

    def _ask(self, timeout: float, *verb: str) -> Any:
        done = process.run([*self._argv, *verb], timeout=timeout)
        where = f"local cloud, {verb[0]}"
        try:
            answer = json.loads(done.out)
        except (ValueError, RecursionError):
            raise CloudError(
                "the local cloud did not answer",
                where=where,
                why=done.err.strip()[-500:] or f"exit code {done.rc}",
            ) from None
        if done.rc == 0:
            return answer
        error = answer.get("error", {}) if isinstance(answer, dict) else {}
        raise CloudError(
            "the local cloud refused",
            failure=FAILURES.get(error.get("kind", ""), FailureClass.UNKNOWN),
            where=where,
            why=error.get("text") or done.err.strip()[-500:],
        )


def _server(found: Mapping[str, Any]) -> Server:
    server_id = matching(SERVER_ID, found["id"])
    if not server_id:
        raise CloudError("the local cloud lists a server without an id", why=repr(found["id"])[:80])
    return Server(
        id=server_id,
        name=chosen_name(found["name"]),
        status=matching(STATUS, found["status"]) or "UNKNOWN",
        address=address(found["address"]),
        image=chosen_name(found["image"]),
        flavor=chosen_name(found["flavor"]),
        tags=frozenset(tag for tag in found["tags"] if isinstance(tag, str)),
        host_key=str(found["host_key"] or ""),
        fault=str(found["fault"] or ""),
    )
