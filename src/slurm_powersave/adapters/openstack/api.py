"""One authenticated session with an OpenStack cloud, through openstacksdk; every call has a time limit.

openstacksdk costs 0.3 s to import, so that happens with the first call. Of it we use the credentials
(clouds.yaml, OS_* variables), the catalogue and the session; the calls are raw: a listing of 2,500 servers
through its resource objects takes 6.4 s, raw 0.05 s (measured, 4.22).
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from slurm_powersave import __version__
from slurm_powersave.adapters.openstack import credentials, errors
from slurm_powersave.config.openstack_settings import Settings
from slurm_powersave.model.errors import CloudError, FailureClass

CONNECT_TIMEOUT = 5.0
"""Seconds to the TCP connection; the settings say how long the API may then be silent."""
MICROVERSION = "2.53"
"""Of Nova Pike (2017): tags when a server is created are of 2.52, the flavor's name in a server of 2.47."""
PAGE = 1000
"""Entries that are asked for at once; Nova's and Neutron's own limit."""
_MOST_PAGES = 1000


@dataclass(frozen=True)
class Account:
    """Who the cloud takes us for."""

    user: str
    project: str
    project_id: str
    roles: frozenset[str]
    auth_url: str


class Api:
    """Calls to one cloud. May be used by several threads.

    Credentials that were refused are read anew for the next call: an application credential that has been
    renewed is found without a restart. A service that answered with Retry-After is left alone for so long.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._connection: Any = None
        self._services: dict[str, Any] = {}
        self._closed: dict[str, tuple[float, CloudError]] = {}
        self.clock_skew: float | None = None
        """Seconds by which the cloud's clock was ahead of ours at the last answer (its Date header)."""

    def get(self, service: str, path: str, **params: Any) -> Any:
        """Read something."""
        return self.ask("GET", service, path, params=params)

    def find(self, service: str, path: str) -> Any:
        """Read something; None if it is not there."""
        try:
            return self.ask("GET", service, path)
        except CloudError as error:
            if error.status == 404:
                return None
            raise

    def listed(self, service: str, path: str, **params: Any) -> list[dict[str, Any]]:
        """Read a whole list, page by page; its key is the path's last word, or the one before `detail`.

        Of the link to the next page only the query counts: behind a proxy its host may be another one.
        """
        key = path.removesuffix("/detail").rpartition("/")[2].replace("-", "_")
        found: list[dict[str, Any]] = []
        query: Any = {**params, "limit": PAGE}
        for _ in range(_MOST_PAGES):
            page = self.ask("GET", service, path, params=query)
            try:
                found += page[key]
                link = _next(page, key)
            except (KeyError, TypeError) as error:
                raise self._nonsense(service, path) from error
            if not link:
                return found
            query = parse_qsl(urlsplit(link).query)
        raise self._nonsense(service, path)

    def _nonsense(self, service: str, path: str) -> CloudError:
        return CloudError("the cloud's answer is no list", where=f"OpenStack {service}, GET {path}")

    def ask(
        self,
        method: str,
        service: str,
        path: str,
        *,
        params: Any = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """Make a call and return what its JSON says; None for an empty answer.

        Raises:
            CloudError: no answer in time, or one that is an error; with a class and the cloud's own words.
        """
        where = f"OpenStack {service}, {method} {path}"
        self._refuse_early(service)
        options: dict[str, Any] = {"params": params or None, "connect_retries": 0, "status_code_retries": 0}
        if body is not None:
            options["json"] = body
        if headers:
            options["headers"] = dict(headers)
        if service == "compute":
            options["microversion"] = MICROVERSION
        response = self._with_our_errors(
            where, lambda: self._service(service).request(path, method, **options)
        )
        lower = {name.lower(): value for name, value in response.headers.items()}
        self._read_clock(lower)
        if response.status_code >= 400:
            error = errors.of_answer(response.status_code, lower, response.text, where)
            self._note(service, error)
            raise error
        if not response.content:
            return None
        try:
            return response.json()
        except (ValueError, RecursionError) as error:
            raise CloudError("the cloud's answer is no JSON", where=where, why=str(error)) from error

    def account(self) -> Account:
        """Log in, and tell as whom."""
        where = "OpenStack identity"

        def read() -> Account:
            session = self._connected().session
            access = session.auth.get_access(session)
            return Account(
                user=access.username or "",
                project=access.project_name or "",
                project_id=access.project_id or "",
                roles=frozenset(access.role_names or ()),
                auth_url=str(session.auth.auth_url),
            )

        found: Account = self._with_our_errors(where, read)
        return found

    def endpoint(self, service: str) -> str:
        """Tell a service's address in the catalogue; empty if it has none there."""
        where = f"OpenStack {service}"
        return self._with_our_errors(where, lambda: self._connected().endpoint_for(service)) or ""

    def _with_our_errors(self, where: str, call: Callable[[], Any]) -> Any:
        """Run what may raise any of three libraries' exceptions."""
        import requests
        from keystoneauth1.exceptions import ClientException
        from openstack.exceptions import SDKException

        try:
            return call()
        except (ClientException, SDKException, requests.RequestException, OSError) as problem:
            error = errors.of_exception(problem, where)
            self._note("identity", error)
            raise error from problem

    def _connected(self) -> Any:
        with self._lock:
            return self._connect()

    def _connect(self) -> Any:
        if self._connection is None:
            import openstack

            # What they warn of is told in our errors, once and not with every try.
            for name in ("keystoneauth", "openstack"):
                logging.getLogger(name).setLevel(logging.ERROR)

            connection: Any = openstack.connection.Connection(config=self._chosen())
            # requests takes a pair: connect, and silence between two bytes.
            connection.session.timeout = (CONNECT_TIMEOUT, self._settings.api_timeout)
            self._connection = connection
        return self._connection

    def _chosen(self) -> Any:
        """Read the credentials that Terraform is told of, too, and no others."""
        import openstack.config

        found = credentials.find(self._settings.cloud)
        if found.trouble:
            raise openstack.exceptions.ConfigException(found.trouble)
        config: Any = openstack.config.OpenStackConfig(
            config_files=[found.file] if found.file else [],
            secure_files=[found.secure] if found.secure else [],
            app_name="slurm-powersave",
            app_version=__version__,
        )
        chosen = {"cloud": found.cloud, "region_name": self._settings.region, **found.files}
        return config.get_one(**{name: value for name, value in chosen.items() if value})

    def _service(self, service: str) -> Any:
        """Return a service's client. Its first use reads the service's versions, so no lock is held."""
        found = self._services.get(service)
        if found is None:
            found = self._services[service] = getattr(self._connected(), service)
        return found

    def _note(self, service: str, error: CloudError) -> None:
        if error.retry_after:
            self._closed[service] = (time.monotonic() + error.retry_after, error)
        if error.status == 401 or (error.failure is FailureClass.AUTH and not error.status):
            with self._lock:
                self._connection = None
                self._services.clear()

    def _refuse_early(self, service: str) -> None:
        """Do not ask a service that wants to be left alone: a cloud that is asked again counts anew."""
        for name in {service, "identity"}:
            until, error = self._closed.get(name, (0.0, None))
            left = until - time.monotonic()
            if error is None or left <= 0:
                continue
            again = CloudError(
                error.what,
                failure=error.failure,
                where=error.where,
                why=f"{error.why}; not asked again for {left:.0f} s",
            )
            again.status, again.retry_after = error.status, left
            raise again

    def _read_clock(self, headers: Mapping[str, str]) -> None:
        try:
            date = parsedate_to_datetime(headers.get("date", ""))
        except (ValueError, TypeError):
            return
        self.clock_skew = date.timestamp() + 0.5 - time.time()  # the header is cut to a whole second


def _next(page: Mapping[str, Any], key: str) -> str:
    """Find the link to the next page: a list of links in Nova and Neutron, a path in Glance."""
    links = page.get(f"{key}_links") or []
    return str(
        next((link["href"] for link in links if link.get("rel") == "next"), "") or page.get("next") or ""
    )
