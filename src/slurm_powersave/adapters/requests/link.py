"""A process that is talked to in lines: what carries the stream of requests. Knows nothing of them."""

import contextlib
import os
import selectors
import socket
import subprocess
import time
from collections import deque
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

LONGEST = (4 << 20) + 1024
"""Bytes of a line: base64 of the largest request, with its id."""
_UNHEARD = 1 << 20
"""Bytes that may wait until the other side reads them; an acknowledgement has 41."""
_PING = 5.0
_GRACE = 1.0
"""Seconds that the process has to end by itself once its input is closed."""


class LinkError(Exception):
    """The connection has ended; the text says why."""


class Link:
    """One run of `argv`: lines to its standard input, lines from its standard output.

    Not for several threads. `poked` is a socket that makes `lines` return early, `silence` the seconds
    without a word that end the connection; lines of standard error go to `complaint` as well. OSError if
    `argv` can't be run.
    """

    def __init__(
        self, argv: Sequence[str], poked: socket.socket, silence: float, complaint: Callable[[str], None]
    ) -> None:
        self._selector = selectors.DefaultSelector()  # first: an error of it must leave no process behind
        try:
            # A session of its own: ssh can't ask a terminal, and Ctrl-C reaches us alone.
            self._process = subprocess.Popen(
                argv,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                start_new_session=True,
            )
        except OSError:
            self._selector.close()
            raise
        assert self._process.stdin and self._process.stdout and self._process.stderr
        self._stdin, self._stdout, self._stderr = (
            stream.fileno() for stream in (self._process.stdin, self._process.stdout, self._process.stderr)
        )
        self.longest = LONGEST
        """Bytes of a line; more ends the connection."""
        self._complaint = complaint
        self._poked = poked
        self._silence = silence
        self._heard = self._pinged = time.monotonic()
        self._out = bytearray()
        self._half = bytearray()
        self._searched = 0
        """Bytes of `_half` in which there is no end of a line: a long one is searched once."""
        self._words: deque[str] = deque(maxlen=3)
        """The last lines of standard error: ssh says there what is wrong."""
        for descriptor in (self._stdin, self._stdout, self._stderr):
            os.set_blocking(descriptor, False)
        for descriptor in (self._stdout, self._stderr, poked.fileno()):
            self._selector.register(descriptor, selectors.EVENT_READ)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._selector.close()
        with self._process as process:
            assert process.stdin
            with contextlib.suppress(OSError):
                process.stdin.close()
            try:
                process.wait(_GRACE)
            except subprocess.TimeoutExpired:
                process.kill()

    def send(self, lines: bytes) -> None:
        """Queue whole lines; `lines` writes them."""
        self._out += lines

    def lines(self, *, more: bool = True) -> list[str]:
        """Wait at most 1 s for lines and return them. Raises LinkError at the end or after the silence.

        Without `more` nothing is read: the other side has to wait until there is room for it again.
        """
        now = time.monotonic()
        self._want(self._stdout, selectors.EVENT_READ, more)
        if not more:
            self._heard = now
        elif now - self._heard > self._silence:
            raise self._ended(f"not a word for {self._silence:.0f} s")
        if now - self._pinged >= _PING:
            self._pinged = now
            self._out += b"ping\n"
        if len(self._out) > _UNHEARD:
            raise self._ended("it does not read what it is told")
        self._want(self._stdin, selectors.EVENT_WRITE, bool(self._out))
        ready = {key.fd for key, _ in self._selector.select(min(1.0, self._silence))}
        if self._poked.fileno() in ready:
            self._poked.recv(4096)
        if self._stdin in ready:
            self._write()
        if self._stderr in ready:
            self._listen_to_errors()
        return self._read() if self._stdout in ready else []

    def _want(self, descriptor: int, event: int, wanted: bool) -> None:
        if wanted != (descriptor in self._selector.get_map()):
            if wanted:
                self._selector.register(descriptor, event)
            else:
                self._selector.unregister(descriptor)

    def _write(self) -> None:
        try:
            del self._out[: os.write(self._stdin, self._out[: 1 << 16])]
        except BlockingIOError:
            return
        except OSError as error:
            raise self._ended(str(error.strerror)) from None

    def _read(self) -> list[str]:
        chunk = os.read(self._stdout, 1 << 16)
        if not chunk:
            raise self._ended("connection closed")
        self._heard = time.monotonic()
        self._half += chunk
        end = self._half.rfind(b"\n", self._searched) + 1
        if len(self._half) - end > self.longest:
            raise self._ended(f"a line of more than {self.longest} bytes")
        whole = self._half[:end].decode("ascii", "replace")
        del self._half[:end]
        self._searched = len(self._half)
        return whole.split("\n")[:-1]

    def _listen_to_errors(self) -> None:
        chunk = os.read(self._stderr, 1 << 16)
        if not chunk and self._stderr in self._selector.get_map():
            self._selector.unregister(self._stderr)
        for line in chunk.decode("utf-8", "replace").splitlines():
            if line.strip():
                self._words.append(line.strip()[:300])
                self._complaint(self._words[-1])

    def _ended(self, why: str) -> LinkError:
        """Say why with what standard error and the exit code tell of it."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(0.2)  # it often ends in the same moment
        with contextlib.suppress(OSError):
            self._listen_to_errors()
        code = self._process.returncode
        parts = [why if code is None else f"{why} (exit code {code})", *self._words]
        return LinkError("; ".join(parts))
