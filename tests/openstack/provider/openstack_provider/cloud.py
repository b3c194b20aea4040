"""The cloud's API through openstacksdk, with errors worded as gophercloud words them: policies read them."""

import os
import threading
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any

ACCEPTED = (200, 201, 202, 204)
POLL = 0.5
"""Seconds between two looks at something that changes."""
KNOWN = ("cloud", "region", "max_retries")
"""The provider's settings that mean something here; credentials come from clouds.yaml or OS_* variables."""


class CloudError(Exception):
    """What the user reads."""

    def __init__(self, text: str, status: int = 0) -> None:
        super().__init__(text)
        self.status = status


class Cloud:
    """One configured provider's connection; made at the first call."""

    def __init__(self, settings: Mapping[str, Any], stopped: threading.Event) -> None:
        self._settings, self._stopped = settings, stopped
        self._lock = threading.Lock()
        self._connection: Any = None

    @property
    def region(self) -> str:
        """The region's name."""
        return str(self._connect().config.get_region_name() or "")

    @property
    def user_id(self) -> str:
        """Whose credential we have."""
        return str(self._connect().current_user_id)

    def _connect(self) -> Any:
        import openstack  # late: two of three starts only tell or check the schema
        from openstack import exceptions

        # Unlike openstacksdk the real one takes no entry of clouds.yaml by itself (gophercloud/utils,
        # terraform/auth/config.go). It looks for the file in its own working directory: the state's.
        if not self._settings.get("cloud") and not {"OS_CLOUD", "OS_AUTH_URL"} & os.environ.keys():
            raise CloudError("One of 'auth_url' or 'cloud' must be specified")
        with self._lock:
            if self._connection is None:
                where = {"cloud": self._settings.get("cloud"), "region_name": self._settings.get("region")}
                try:
                    made = openstack.connect(**{key: value for key, value in where.items() if value})
                    made.authorize()
                except (exceptions.SDKException, OSError) as error:
                    raise CloudError(f"Error creating OpenStack client: {error}") from None
                except Exception as error:  # keystoneauth's own
                    raise CloudError(f"Error creating OpenStack client: {error}") from None
                self._connection = made
        return self._connection

    def call(
        self,
        service: str,
        method: str,
        path: str,
        body: Any = None,
        *,
        microversion: str | None = None,
        ok: Collection[int] = ACCEPTED,
    ) -> Any:
        """Ask a service (compute, network, image, identity) and return the answer's JSON."""
        from keystoneauth1 import exceptions

        adapter = getattr(self._connect(), service)
        tries = int(self._settings.get("max_retries") or 0)
        while True:
            try:
                answer = adapter.request(
                    path, method, json=body, microversion=microversion, raise_exc=False, connect_retries=tries
                )
            except exceptions.ClientException as error:
                raise CloudError(str(error)) from None
            if answer.status_code == 429 and tries > 0:
                tries -= 1
                self.pause(float(answer.headers.get("Retry-After", 1)))
                continue
            break
        if answer.status_code not in ok:
            codes = " ".join(map(str, sorted(ok)))
            raise CloudError(
                f"Expected HTTP response code [{codes}] when accessing [{method} {answer.url}], "
                f"but got {answer.status_code} instead: {answer.text.strip()}",
                answer.status_code,
            )
        return answer.json() if answer.content and "json" in answer.headers.get("Content-Type", "") else {}

    def find(self, service: str, path: str, key: str) -> dict[str, Any] | None:
        """Get one thing; None when it is gone."""
        try:
            return dict(self.call(service, "GET", path)[key])
        except CloudError as error:
            if error.status == 404:
                return None
            raise

    def pause(self, seconds: float = POLL) -> None:
        """Wait, unless Terraform wants us to stop: then leave what is under way, as the real one does."""
        if self._stopped.wait(seconds):
            raise CloudError("context canceled")

    def wait(
        self, look: Callable[[], str], target: Collection[str], pending: Collection[str], seconds: float
    ) -> None:
        """Wait until `look` says a target; anything that is not pending (empty: all is) is an error."""
        end = time.monotonic() + seconds
        while (seen := look()) not in target:
            wanted = ", ".join(target)
            if pending and seen not in pending:
                raise CloudError(
                    f"unexpected state '{seen}', wanted target '{wanted}'. last error: %!s(<nil>)"
                )
            if time.monotonic() > end:
                raise CloudError(
                    f"timeout while waiting for state to become '{wanted}' "
                    f"(last state: '{seen}', timeout: {seconds:.0f}s)"
                )
            self.pause()


def duration(text: str | None, default: float) -> float:
    """Read a duration as Go writes it (20m, 1h30m, 90s); in seconds."""
    if not text:
        return default
    seconds, number = 0.0, ""
    for char in text:
        if char.isdigit() or char == ".":
            number += char
        else:
            seconds += float(number) * {"h": 3600, "m": 60, "s": 1}[char]
            number = ""
    return seconds
