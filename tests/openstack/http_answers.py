"""How the OpenStack of one file takes requests from HTTP, and answers them."""

import json
import time
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler
from typing import Any, Protocol
from urllib.parse import parse_qsl, urlsplit


class Refusal(Exception):
    """An answer that is an error."""

    def __init__(self, status: int, message: str, kind: str = "badRequest") -> None:
        super().__init__(message)
        self.status, self.body = status, {kind: {"code": status, "message": message}}


class Answers(Protocol):
    """What answers."""

    clock_skew: float
    """Seconds by which its clock is ahead."""

    def answer(self, method: str, path: str, query: dict[str, str], body: Any) -> tuple[int, Any]:
        """Return status and body; Refusal for an error."""


def handler(cloud: Answers) -> type[BaseHTTPRequestHandler]:
    """Return a handler for a server of `http.server`."""

    class Handler(BaseHTTPRequestHandler):
        def _handle(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            asked = urlsplit(self.path)
            try:
                status, answer = cloud.answer(self.command, asked.path, dict(parse_qsl(asked.query)), body)
            except Refusal as refusal:
                status, answer = refusal.status, refusal.body
            content = b"" if answer is None else json.dumps(answer).encode()
            self.send_response_only(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Date", formatdate(time.time() + cloud.clock_skew, usegmt=True))
            self.send_header("X-Subject-Token", "token")
            self.send_header("X-OpenStack-Request-Id", "req-1")
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _handle

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    return Handler
