"""Requests streamed from the slurmctld host: the control host's end of slurmscripts/reader.py.

The control host makes the connection and holds it; nothing over there has a key to come here. The
reader deletes a request only when it is acknowledged, and sends everything else again at the next
connection, so that a request is lost neither with ssh nor with the reader nor with this process.
"""

import base64
import binascii
import contextlib
import logging
import random
import socket
import threading
import time
import uuid
from collections import OrderedDict, deque
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from slurm_powersave.adapters.link import Link, LinkError
from slurm_powersave.adapters.spool import is_request_id, parse_named
from slurm_powersave.model.errors import ConfigError
from slurm_powersave.model.nodes import Request

_LOG = logging.getLogger(__name__)
_READER = "slurm-powersave reader:"
_REMEMBERED = 10_000
"""Acknowledged ids that are known here; for older ones the journal knows that they came before."""


class StreamIntake:
    """Requests through one `ssh -T` that runs the reader. Implements ports.Intake.

    Args:
        argv: What starts the reader, for example `ssh -T -oBatchMode=yes HOST READER`. Everybody on this
            host can read it: no secrets.
        silence: Seconds without a word after which a connection counts as dead; the reader pings every 5 s.
        backoff: Seconds before the first new attempt; doubled at each further one, with jitter.
        longest_backoff: Seconds, the bound of that.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        silence: float = 20.0,
        backoff: float = 0.2,
        longest_backoff: float = 10.0,
    ) -> None:
        self.wake = threading.Event()
        self._argv = tuple(argv)
        self._silence = silence
        self._backoff = backoff
        self._longest_backoff = longest_backoff
        self._lock = threading.Lock()
        # All of these under the lock.
        self._came: deque[tuple[str, Request | str]] = deque()
        self._pending: dict[str, str] = {}
        """What came and is not acknowledged: id -> the word that will do it."""
        self._settled: OrderedDict[str, str] = OrderedDict()
        """What was acknowledged lately, with the word, in case that it got lost."""
        self._down = bytearray()
        self._watched = False
        self._since: float | None = None
        self._error = "not started"

        self._stop = threading.Event()
        self._poked, self._poker = socket.socketpair()
        self._poker.setblocking(False)
        self._thread = threading.Thread(target=self._run, name="stream", daemon=True)

    def start(self) -> Self:
        """Begin to connect; never waits for it."""
        self._error = "connecting"
        self._thread.start()
        return self

    def close(self) -> None:
        """End the connection; what is not acknowledged stays with the reader."""
        self._stop.set()
        self._poke()
        if self._thread.is_alive():
            self._thread.join()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def receive(self) -> Sequence[tuple[str, Request | str]]:
        """Return what has come since the last call; what is no request with the reason."""
        with self._lock:
            came = list(self._came)
            self._came.clear()
        return came

    def acknowledge(self, request_id: str) -> None:
        """Let the reader delete a journalled request, or keep what is none in `refused/`."""
        with self._lock:
            word = self._pending.pop(request_id, None)
            if word is None:
                return
            self._settle(request_id, word)
        self._poke()

    def watch(self, on: bool) -> None:
        """Ask the reader for ready files even when it sees nothing coming up (fast start)."""
        with self._lock:
            if on == self._watched:
                return
            self._watched = on
            self._say("watch on" if on else "watch off")
        self._poke()

    def state(self) -> str:
        """Say in a few words whether requests can come."""
        with self._lock:
            if self._since is None:
                return f"not connected: {self._error}"
            return f"connected since {time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(self._since))}"

    @property
    def connected(self) -> bool:
        """Whether the reader has said hello on the connection that stands."""
        with self._lock:
            return self._since is not None

    def _settle(self, request_id: str, word: str) -> None:
        self._settled[request_id] = word
        if len(self._settled) > _REMEMBERED:
            self._settled.popitem(last=False)
        self._say(f"{word} {request_id}")

    def _say(self, line: str) -> None:
        """Queue a line if there is a connection; at the next one, the reader sends everything again."""
        if self._since is not None:
            self._down += line.encode("ascii") + b"\n"

    def _poke(self) -> None:
        """Let the thread notice that there is something to send, or to stop for."""
        with contextlib.suppress(BlockingIOError):  # full of pokes: it wakes up anyway
            self._poker.send(b"!")

    def _run(self) -> None:
        pause, told = self._backoff, ""
        while not self._stop.is_set():
            why = self._hold()
            with self._lock:
                greeted, self._since, self._error = self._since is not None, None, why
                self._down.clear()
            if self._stop.is_set():
                return
            if greeted:
                pause, told = self._backoff, ""
            else:
                pause = min(pause * 2, self._longest_backoff)
            if why != told:  # once, however long it lasts
                _LOG.warning("intake not connected: %s", why)
            told = why
            self._stop.wait(pause * random.uniform(0.5, 1.0))

    def _hold(self) -> str:
        """Hold one connection to its end; return why it ended."""
        try:
            link = Link(self._argv, self._poked, self._silence, _complaint)
        except OSError as error:
            return f"{self._argv[0]} can't be run: {error.strerror}"
        began = time.monotonic()
        with link:
            try:
                while not self._stop.is_set():
                    with self._lock:
                        if self._since is None and time.monotonic() - began > self._silence:
                            return f"no hello from the reader within {self._silence:.0f} s"
                        link.send(bytes(self._down))
                        self._down.clear()
                    for line in link.lines():
                        self._hear(line)
            except LinkError as error:
                return str(error)
        return "stopped"

    def _hear(self, line: str) -> None:
        word, _, rest = line.partition(" ")
        with self._lock:
            if self._since is None:
                self._greet(word, rest)
            elif word == "req":
                request_id, _, content = rest.partition(" ")
                self._take(request_id, content)
            elif word == "odd":
                text = _decoded(rest).decode("utf-8", "replace")
                self._came.append((f"odd-{uuid.uuid4()}", f"{text}; it is in refused/ of the spool now"))
                self.wake.set()

    def _greet(self, word: str, version: str) -> None:
        if word != "hello":
            _LOG.info("before the reader's hello: %.200s %.200s", word, version)  # a shell's greeting
            return
        if version != "1":
            raise LinkError(f"the reader speaks version {version:.20}, we speak 1: deploy again")
        self._since = time.time()
        _LOG.info("intake connected")
        if self._watched:
            self._say("watch on")

    def _take(self, request_id: str, content: str) -> None:
        if not is_request_id(request_id):
            raise LinkError(f"the reader sends what is no id: {request_id:.60}")
        if request_id in self._pending:
            return
        if request_id in self._settled:
            self._settle(request_id, self._settled[request_id])
            return
        try:
            self._came.append((request_id, parse_named(request_id, _decoded(content))))
            self._pending[request_id] = "ack"
        except ConfigError as error:
            self._came.append((request_id, str(error)))
            self._pending[request_id] = "refuse"
        self.wake.set()


def _complaint(line: str) -> None:
    """Log what the other side says beside the stream: the reader's words; ssh's come with its end."""
    _LOG.log(logging.WARNING if line.startswith(_READER) else logging.DEBUG, "%s", line)


def _decoded(content: str) -> bytes:
    try:
        return base64.b64decode(content, validate=True)
    except (binascii.Error, ValueError) as error:
        raise LinkError(f"the reader sends what is no base64: {error}") from None
