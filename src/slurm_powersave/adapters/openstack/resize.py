"""Who confirms a resize. Nova keeps the old disk until somebody does, and shows VERIFY_RESIZE until then.

Terraform's provider confirms its own. A resize that we have asked for past Terraform is confirmed as soon as
it is seen waiting; any other one of our servers when it has waited for a minute under our eyes: its
Terraform was killed, and nobody else would come.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from slurm_powersave.adapters.openstack.api import Api
from slurm_powersave.model.errors import CloudError

log = logging.getLogger("slurm_powersave")

GRACE = 60.0
"""Seconds in which Terraform's provider confirms a resize of its own: it looks every 3 to 10 s."""
_FORGOTTEN = 86400.0
"""Seconds after which a resize is no longer kept in mind: its server may have been deleted meanwhile."""
_BEGUN = 30.0
"""Seconds after which a resize that was accepted shows in the server's status."""


class Resizes:
    """Watches the servers that are read, and confirms. May be used by several threads."""

    def __init__(self, api: Api, clock: Callable[[], float] = time.monotonic) -> None:
        self._api, self._clock = api, clock
        self._lock = threading.Lock()
        self._asked: dict[str, float] = {}
        """Server -> when we asked for its resize."""
        self._since: dict[str, float] = {}
        """Server -> when we first saw it wait."""

    def asked(self, server_id: str) -> None:
        """Note a resize of ours, before it is asked for."""
        with self._lock:
            now = self._clock()
            for noted in (self._asked, self._since):
                for gone in [one for one, at in noted.items() if now - at > _FORGOTTEN]:
                    del noted[gone]
            self._asked[server_id] = now

    def refused(self, server_id: str) -> None:
        """Note that it was refused."""
        with self._lock:
            self._asked.pop(server_id, None)

    def look(self, servers: Sequence[Mapping[str, Any]]) -> None:
        """Confirm what is due among servers of our cluster that were just read."""
        for server in servers:
            if self._due(str(server["id"]), str(server.get("status"))):
                self._confirm(str(server["id"]))

    def _due(self, server_id: str, status: str) -> bool:
        with self._lock:
            now = self._clock()
            if status == "VERIFY_RESIZE":
                since = self._since.setdefault(server_id, now)
                return server_id in self._asked or now - since >= GRACE
            self._since.pop(server_id, None)
            # It came to nothing, and the next resize may be Terraform's.
            if status != "RESIZE" and now - self._asked.get(server_id, now) > _BEGUN:
                del self._asked[server_id]
            return False

    def _confirm(self, server_id: str) -> None:
        try:
            self._api.ask("POST", "compute", f"/servers/{server_id}/action", body={"confirmResize": None})
        except CloudError as error:
            # 400 and 409: somebody was faster, or Nova is at it. What it comes to is seen at the next look.
            if error.status not in (400, 404, 409):
                log.warning("server=%s resize not confirmed: %s", server_id, error)
            return
        with self._lock:
            self._asked.pop(server_id, None)
            self._since[server_id] = self._clock()
        log.info("server=%s resize confirmed", server_id)
