"""The hooks' spool: one file a call, written by slurmscripts/request.sh.j2.

Nothing in it is trusted: what is not a whole request of ours is told once and kept in `refused/`.
"""

import base64
import binascii
import errno
import os
import re
import stat
import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from slurm_powersave.model.errors import ConfigError
from slurm_powersave.model.modes import Mode
from slurm_powersave.model.nodes import Request

FIRST_LINE = "slurm-powersave-request 1"
LARGEST = 16 << 20
"""Bytes of a request file; a hostlist of 128 KiB with the resume file of 10,000 jobs has 5 MB."""
MANY = 1000
"""Arguments of a hook; Slurm gives one or two."""

_REQUEST_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_TIME = re.compile(r"[0-9]{1,11}\.[0-9]{1,9}")
_NUMBER = re.compile(r"[0-9]{1,18}")
_NEVER_OURS = (errno.ELOOP, errno.ENXIO, errno.EISDIR, errno.EACCES)
"""A symbolic link, a socket, a directory, a file of somebody else."""
_KEYS = frozenset({"id", "mode", "time", "job_id", "argc", "argv", "resume_file"})


def is_request_id(text: str) -> bool:
    """Tell whether a name is one that a hook gives to its file."""
    return _REQUEST_ID.fullmatch(text) is not None


def parse(content: bytes) -> Request:
    """Read a request file. Raises ConfigError that names what is wrong with it."""
    fields, arguments = _fields(content)
    request_id = fields.get("id", "")
    if not is_request_id(request_id):
        raise _refused(f"no valid id: {_shown(request_id)}")
    try:
        mode = Mode(fields.get("mode", ""))
    except ValueError:
        raise _refused(f"unknown mode: {_shown(fields.get('mode', ''))}", request_id) from None
    if not _TIME.fullmatch(fields.get("time", "")):
        raise _refused(f"no valid time: {_shown(fields.get('time', ''))}", request_id)
    job_id = fields.get("job_id")
    if job_id is not None and not _NUMBER.fullmatch(job_id):
        raise _refused(f"no valid job_id: {_shown(job_id)}", request_id)
    if fields.get("argc") != str(len(arguments)):
        raise _refused(f"argc {_shown(fields.get('argc', ''))}, but {len(arguments)} arguments", request_id)
    if not arguments or not arguments[0].strip():
        raise _refused("no hostlist", request_id)
    return Request(
        id=request_id,
        mode=mode,
        hostlist=arguments[0],
        time=float(fields["time"]),
        job_id=None if job_id is None else int(job_id),
        features=arguments[1] if len(arguments) > 1 else "",
        resume_file=_decoded(fields.get("resume_file", ""), "resume_file"),
    )


def parse_named(name: str, content: bytes) -> Request:
    """Read the request file `name`, whose id must be its name. Raises ConfigError."""
    request = parse(content)
    if request.id != name:
        raise _refused(f"its id is {request.id}", name)
    return request


def _fields(content: bytes) -> tuple[dict[str, str], list[str]]:
    if len(content) > LARGEST:
        raise _refused(f"larger than {LARGEST} bytes")
    try:
        text = content.decode("ascii")
    except UnicodeDecodeError as error:
        raise _refused(f"byte {error.start} is not ASCII") from None
    first, _, rest = text.partition("\n")
    if first != FIRST_LINE:
        raise _refused(f"starts with {_shown(first)}, not with {FIRST_LINE!r}")
    if not rest.endswith("\nend\n"):
        raise _refused("truncated: the last line is not 'end'")
    fields: dict[str, str] = {}
    arguments: list[str] = []
    for line in rest.removesuffix("\nend\n").split("\n"):
        key, _, value = line.partition(" ")
        if key not in _KEYS:
            raise _refused(f"unknown key: {_shown(key)}")
        if key == "argv" and len(arguments) < MANY:
            arguments.append(_decoded(value, "argv"))
        elif key in fields or key == "argv":
            raise _refused(f"too many lines: {key}")
        else:
            fields[key] = value
    return fields, arguments


def _decoded(value: str, key: str) -> str:
    """Undo base64. A byte that is no UTF-8 becomes visible, so that a hostlist is refused by that part."""
    try:
        return base64.b64decode(value, validate=True).decode("utf-8", "backslashreplace")
    except (binascii.Error, ValueError):
        raise _refused(f"{key} is not base64") from None


def _shown(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:60] + "...")


def _refused(why: str, request_id: str = "") -> ConfigError:
    return ConfigError(
        "not a request of our hooks",
        where=f"spool file {request_id}" if request_id else "spool file",
        why=why,
        todo="It is kept in refused/ of the spool; ask for its nodes again with "
        "`slurm-powersave resume|suspend`, or delete it.",
    )


class SpoolIntake:
    """Requests from a spool on this host. Implements ports.Intake.

    A thread looks every 0.1 s and sets `wake` when something is new; the files themselves are read by
    `receive`. Between two looks a file may come and go: it was a stream's, then.
    """

    PERIOD = 0.1

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.wake = threading.Event()
        self._new = directory / "new"
        self._refused = directory / "refused"
        self._given: set[str] = set()
        """Names that `receive` has returned and nobody has acknowledged."""
        self._odd: set[str] = set()
        """Those of them that are no requests."""
        self._error = ""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="spool", daemon=True)

    def start(self) -> Self:
        """Begin to watch."""
        self._thread.start()
        return self

    def close(self) -> None:
        """End the thread; what is not acknowledged stays in the spool."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def state(self) -> str:
        """Say in a few words whether requests can come."""
        return self._error or f"reads {self.directory}"

    def receive(self) -> Sequence[tuple[str, Request | str]]:
        """Return the requests that are new, oldest first, and what is no request with the reason."""
        requests: list[tuple[str, Request | str]] = []
        odd: list[tuple[str, Request | str]] = []
        for name in sorted(self._names() - self._given):
            try:
                requests.append((name, parse_named(name, self._read(name))))
            except FileNotFoundError:
                continue
            except OSError as error:  # may pass: the next call tries again
                self._error = f"{self._new / name} can't be read: {error.strerror}"
                continue
            except ConfigError as error:
                odd.append((name, f"{self._new / name}: {error}"))
                self._odd.add(name)
            self._given.add(name)
        requests.sort(key=lambda found: found[1].time if isinstance(found[1], Request) else 0.0)
        return requests + odd

    def acknowledge(self, request_id: str) -> None:
        """Delete a journalled request; move what is no request to `refused/`.

        A file that can't be removed is told by `state` and is not given out again in this life.
        """
        path = self._new / request_id
        if path.parent != self._new or request_id not in self._given:
            return
        try:
            if request_id in self._odd:
                self._refused.mkdir(mode=0o700, exist_ok=True)
                path.rename(self._refused / request_id)
            else:
                path.unlink()
        except FileNotFoundError:
            pass
        except OSError as error:
            self._error = f"{path} can't be removed: {error.strerror}"
            return
        self._given.discard(request_id)
        self._odd.discard(request_id)

    def _watch(self) -> None:
        while not self._stop.wait(self.PERIOD):
            if self._names() - self._given:
                self.wake.set()

    def _names(self) -> set[str]:
        try:
            names = set(os.listdir(self._new))
        except OSError as error:
            self._error = f"{self._new} can't be read: {error.strerror}"
            return set()
        if self._error.startswith(f"{self._new} "):
            self._error = ""  # it is back
        return names

    def _read(self, name: str) -> bytes:
        if not is_request_id(name):
            raise ConfigError("not a request of our hooks", why="the name is not the id of a request")
        try:
            with open(self._new / name, "rb", opener=_open_safely) as file:
                if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                    raise ConfigError("not a request of our hooks", why="not a regular file")
                return file.read(LARGEST + 1)
        except OSError as error:
            if error.errno in _NEVER_OURS:
                raise ConfigError("not a request of our hooks", why=error.strerror or "") from None
            raise


def _open_safely(path: str, flags: int) -> int:
    """Open what a stranger may have put there: a link could lead to any file of ours, a FIFO hang."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)
