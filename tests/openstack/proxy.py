"""Stands between a client and OpenStack's APIs, and misbehaves on order: errors, Retry-After, silence, a closed port.

Each service has a port of its own here. Addresses of the real services in what they answer (the catalogue, links)
are replaced by these ports, so that a client needs nothing but this proxy's identity address as its auth_url.
"""

import http.client
import json
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

HOST = "127.0.0.1"

BODIES: Mapping[int, Any] = {
    400: {"badRequest": {"code": 400, "message": "Invalid input."}},
    401: {"error": {"code": 401, "message": "The request you have made requires authentication."}},
    403: {"forbidden": {"code": 403, "message": "Policy doesn't allow this to be performed."}},
    404: {"itemNotFound": {"code": 404, "message": "The resource could not be found."}},
    409: {
        "conflictingRequest": {"code": 409, "message": "Cannot do that while it is in task_state rebuilding"}
    },
    413: {"overLimit": {"code": 413, "message": "This request was rate-limited.", "retryAfter": "2"}},
    429: {"overLimit": {"code": 429, "message": "Too Many Requests"}},
    500: {"computeFault": {"code": 500, "message": "Unexpected API Error."}},
    503: "<html><body><h1>503 Service Unavailable</h1>No server is available.</body></html>",
}
"""What the services answer with a status, unless the order says otherwise."""
QUOTA = {
    "forbidden": {
        "code": 403,
        "message": "Quota exceeded for instances: Requested 1, but already used 10 of 10",
    }
}


@dataclass
class Order:
    """A way to misbehave."""

    status: int = 0
    """Answer with this instead of asking the service."""
    hang: bool = False
    """Take the request and stay silent."""
    service: str = ""
    method: str = ""
    path: str = ""
    """Regular expression for path and query."""
    body: Any = None
    retry_after: str = ""
    times: int = -1
    """So often; -1: until `calm`."""

    def matches(self, service: str, method: str, path: str) -> bool:
        """Tell whether a request is meant."""
        return (
            self.times != 0
            and self.service in ("", service)
            and self.method in ("", method)
            and bool(re.search(self.path, path))
        )


@dataclass
class Proxy:
    """A context manager. `upstreams` are the real services' addresses, scheme and host only."""

    upstreams: Mapping[str, str]
    requests: list[tuple[str, str, str]] = field(default_factory=list)
    """What came, in order: service, method, path with query."""
    _orders: list[Order] = field(default_factory=list)
    _servers: dict[str, ThreadingHTTPServer] = field(default_factory=dict)
    _ports: dict[str, int] = field(default_factory=dict)
    _calm: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __enter__(self) -> "Proxy":
        for service in self.upstreams:
            self.open(service)
        return self

    def __exit__(self, *_: object) -> None:
        self._calm.set()
        for service in list(self._servers):
            self.close(service)

    def url(self, service: str) -> str:
        """The address of a service here."""
        return f"http://{HOST}:{self._ports[service]}"

    def open(self, service: str) -> None:
        """Listen, at the same port as before."""
        server = ThreadingHTTPServer((HOST, self._ports.get(service, 0)), _handler(self, service))
        server.daemon_threads = True
        self._ports[service] = server.server_address[1]
        self._servers[service] = server
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def close(self, service: str) -> None:
        """Refuse connections to a service."""
        server = self._servers.pop(service)
        server.shutdown()
        server.server_close()

    @contextmanager
    def refused(self, *services: str) -> Iterator[None]:
        """Refuse connections for a while."""
        for service in services:
            self.close(service)
        try:
            yield
        finally:
            for service in services:
                self.open(service)

    def order(self, **order: Any) -> None:
        """Misbehave from now on; the first order that matches counts."""
        self._calm.clear()
        self._orders.append(Order(**order))

    def calm(self) -> None:
        """Behave again; who hangs is dropped."""
        self._orders.clear()
        self._calm.set()

    def take(self, service: str, method: str, path: str) -> Order | None:
        """Choose what to do about a request."""
        with self._lock:
            self.requests.append((service, method, path))
            found = next((one for one in self._orders if one.matches(service, method, path)), None)
            if found and found.times > 0:
                found.times -= 1
            return found

    def wait_until_calm(self) -> None:
        """Hang."""
        self._calm.wait()

    def forward(self, service: str, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Any:
        """Ask the real service."""
        there = urlsplit(self.upstreams[service])
        connection = http.client.HTTPConnection(there.hostname or "", there.port, timeout=120)
        try:
            kept = {
                name: value for name, value in headers.items() if name.lower() not in ("host", "connection")
            }
            connection.request(method, path, body or None, {**kept, "Accept-Encoding": "identity"})
            response = connection.getresponse()
            return response.status, response.getheaders(), self._translate(response.read())
        finally:
            connection.close()

    def _translate(self, body: bytes) -> bytes:
        for service, real in self.upstreams.items():
            body = re.sub(re.escape(real.encode()) + rb"(?=[/\"])", self.url(service).encode(), body)
        return body


def _handler(proxy: Proxy, service: str) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def _handle(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            order = proxy.take(service, self.command, self.path)
            if order and order.hang:
                proxy.wait_until_calm()
                return
            if order and order.status:
                said = BODIES.get(order.status, "") if order.body is None else order.body
                kind = "text/html" if isinstance(said, str) else "application/json"
                content = said.encode() if isinstance(said, str) else json.dumps(said).encode()
                headers = [("Content-Type", kind)]
                headers += [("Retry-After", order.retry_after)] if order.retry_after else []
                self._answer(order.status, headers, content)
                return
            try:
                answer = proxy.forward(service, self.command, self.path, self.headers, body)
            except OSError:
                answer = (502, [("Content-Type", "text/html")], b"<h1>502 Bad Gateway</h1>")
            self._answer(*answer)

        def _answer(self, status: int, headers: list[tuple[str, str]], content: bytes) -> None:
            self.send_response_only(status)
            for name, value in headers:
                if name.lower() not in ("content-length", "connection", "transfer-encoding", "location"):
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = _handle

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    return Handler
