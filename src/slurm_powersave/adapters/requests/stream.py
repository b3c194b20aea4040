"""Requests streamed from the slurmctld host: the control host's end of slurmscripts/reader.py.

The control host makes the connection and holds it; nothing over there has a key to come here. The
reader deletes a request only when it is acknowledged, and sends everything else again at the next
connection, so that a request is lost neither with ssh nor with the reader nor with this process.

The other side is not trusted: what it may send before it is acknowledged, what it may say beside requests,
and what of that is logged, is bounded.
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

from slurm_powersave.adapters.requests.link import LONGEST, Link, LinkError
from slurm_powersave.adapters.requests.spool import is_request_id, parse_named, shortened
from slurm_powersave.model.allowance import Allowance
from slurm_powersave.model.errors import ConfigError
from slurm_powersave.model.nodes import Request

_LOG = logging.getLogger(__name__)
_READER = "slurm-powersave reader:"
_REMEMBERED = 10_000
"""Acknowledged ids that are known here; for older ones the journal knows that they came before."""
_OUTSTANDING, _OUTSTANDING_BYTES = 128, 8 << 20
"""Requests, and their bytes, that may have come and not be acknowledged before no more are read. A reader
sends 64 ahead; what is not read waits with it, on the login host's disk."""
_VERSION, _OLDER = "2", "1"
_OLDER_READER = "the reader there is of an older version and runs as root: run `slurm-powersave deploy`"
_OLDER_LONGEST = (16 << 20) * 4 // 3 + 1024
"""Bytes of an older reader's line: base64 of a request file whose resume file was not cut."""
_LONGEST_WORD = 300
"""Characters of what the other side says that are kept for the log."""


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
        self._pending: dict[str, tuple[str, int]] = {}
        """What came and is not acknowledged: id -> the word that will do it, and its bytes."""
        self._settled: OrderedDict[str, str] = OrderedDict()
        """What was acknowledged lately, with the word, in case that it got lost."""
        self._down = bytearray()
        self._since: float | None = None
        self._older = False
        self._error = "not started"
        self._idle_words = self._complaints = Allowance(0, 0)
        self._heed()

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
        self._poked.close()
        self._poker.close()

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
            word, _ = self._pending.pop(request_id, ("", 0))
            if not word:
                return
            self._settle(request_id, word)
        self._poke()

    def state(self) -> str:
        """Say in a few words whether requests can come."""
        with self._lock:
            if self._since is None:
                return f"not connected: {self._error}"
            if not self._thread.is_alive():
                return "not connected: the thread that listens has ended"
            since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self._since))
            return f"connected since {since}" + f"; {_OLDER_READER}" * self._older

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

    def _heed(self) -> None:
        """Begin to count what is said beside requests, on a new connection."""
        self._idle_words = Allowance(300, 5)
        """Lines that are no new requests: pings, and after a loss what was sent before."""
        self._complaints = Allowance(20, 0.2)
        """Lines of standard error that are logged."""

    def _run(self) -> None:
        pause, last_logged = self._backoff, ""
        while not self._stop.is_set():
            began = time.monotonic()
            try:
                why = self._hold()
            except Exception as error:  # whatever it is: nobody else would begin to listen again
                why = f"{type(error).__name__}: {error}"
            with self._lock:
                greeted, self._since, self._error = self._since is not None, None, why
                self._down.clear()
            if self._stop.is_set():
                return
            if greeted:
                last_logged = ""
            # One that says hello and ends at once must not make us start an ssh again and again.
            lasting = greeted and time.monotonic() - began > self._longest_backoff
            pause = self._backoff if lasting else min(pause * 2, self._longest_backoff)
            if why != last_logged:  # once, however long it lasts
                _LOG.warning("intake not connected: %s", why)
            last_logged = why
            self._stop.wait(pause * random.uniform(0.5, 1.0))

    def _hold(self) -> str:
        """Hold one connection to its end; return why it ended."""
        try:
            link = Link(self._argv, self._poked, self._silence, self._complain)
        except OSError as error:
            return f"{self._argv[0]} can't be run: {error.strerror}"
        began = time.monotonic()
        self._heed()
        with link:
            try:
                while not self._stop.is_set():
                    with self._lock:
                        if self._since is None and time.monotonic() - began > self._silence:
                            return f"no hello from the reader within {self._silence:.0f} s"
                        link.send(bytes(self._down))
                        self._down.clear()
                        room = self._room()
                    for line in link.lines(more=room):
                        self._hear(line)
                    link.longest = _OLDER_LONGEST if self._older else LONGEST
            except LinkError as error:
                return str(error)
        return "stopped"

    def _room(self) -> bool:
        """Tell whether more may come before something is acknowledged."""
        bytes_held = sum(size for _, size in self._pending.values())
        number = max(len(self._pending), len(self._came))
        return number < _OUTSTANDING and bytes_held < _OUTSTANDING_BYTES

    def _hear(self, line: str) -> None:
        word, _, rest = line.partition(" ")
        with self._lock:
            if self._since is None:
                self._greet(word, rest)
            elif word == "req":
                request_id, _, content = rest.partition(" ")
                self._take(request_id, content)
            elif word == "odd":
                text = _decoded(rest[: _LONGEST_WORD * 4]).decode("utf-8", "replace")[:_LONGEST_WORD]
                self._came.append((f"odd-{uuid.uuid4()}", f"{text}; it is in refused/ of the spool now"))
                self.wake.set()
            else:
                self._ignore()

    def _ignore(self) -> None:
        if not self._idle_words.take(1, time.monotonic()):
            raise LinkError("the reader sends too much that is no request")

    def _greet(self, word: str, version: str) -> None:
        if word != "hello":
            self._ignore()
            self._complain(
                f"before the reader's hello: {word} {version}"[:_LONGEST_WORD]
            )  # a shell's greeting
            return
        if version not in (_VERSION, _OLDER):
            raise LinkError(f"the reader speaks version {version:.20}, we speak {_VERSION}: deploy again")
        self._since, self._older = time.time(), version == _OLDER
        _LOG.log(
            logging.WARNING if self._older else logging.INFO,
            "intake connected%s", f": {_OLDER_READER}" * self._older,
        )  # fmt: skip

    def _complain(self, line: str) -> None:
        """Log what the other side says beside the stream: the reader's words; ssh's come with its end."""
        if self._complaints.take(1, time.monotonic()):
            _LOG.log(logging.WARNING if line.startswith(_READER) else logging.DEBUG, "%s", line)

    def _take(self, request_id: str, content: str) -> None:
        if not is_request_id(request_id):
            raise LinkError(f"the reader sends what is no id: {request_id:.60}")
        if request_id in self._pending:
            self._ignore()
            return
        if request_id in self._settled:
            self._ignore()
            self._settle(request_id, self._settled[request_id])
            return
        try:
            self._came.append((request_id, parse_named(request_id, shortened(_decoded(content)))))
            self._pending[request_id] = "ack", len(content)
        except ConfigError as error:
            self._came.append((request_id, str(error)))
            self._pending[request_id] = "refuse", 0
        self.wake.set()


def _decoded(content: str) -> bytes:
    try:
        return base64.b64decode(content, validate=True)
    except (binascii.Error, ValueError) as error:
        raise LinkError(f"the reader sends what is no base64: {error}") from None
