"""A request as a hook writes it (slurmscripts/request.sh.j2): a file, which slurmscripts/reader.py sends.

Nothing in it is trusted: what is not a whole request of ours is told once and kept in `refused/`.
"""

import base64
import binascii
import re

from slurm_powersave.model.errors import ConfigError
from slurm_powersave.model.modes import Mode
from slurm_powersave.model.nodes import Request

FIRST_LINE = "slurm-powersave-request 1"
LARGEST = 3 << 20
"""Bytes of a request; two arguments of 128 KiB and a resume file of RESUME_FILE in base64 have 1.8 MB."""
ARGUMENT = 128 << 10
"""Bytes of an argument: Linux passes no more to a hook (MAX_ARG_STRLEN, execve(2))."""
RESUME_FILE = 1 << 20
"""Characters that are kept of SLURM_RESUME_FILE; nothing is decided on what it says."""
_RESUME_FILE_BASE64 = RESUME_FILE // 3 * 4
"""Characters of base64 that a resume file is cut to: whole groups, so that they can be decoded."""
MANY = 1000
"""Arguments of a hook; Slurm gives one or two."""

_REQUEST_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_TIME = re.compile(r"[0-9]{1,11}\.[0-9]{1,9}")
_NUMBER = re.compile(r"[0-9]{1,18}")
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
        resume_file=_decoded(fields.get("resume_file", ""), "resume_file")[:RESUME_FILE],
    )


def shortened(content: bytes) -> bytes:
    """Cut a long resume file: an older reader sends it whole, 5 MB for 10,000 jobs."""
    key = b"\nresume_file "
    start = content.find(key) + len(key)
    end = content.find(b"\n", start)
    most = start + _RESUME_FILE_BASE64
    return content if start < len(key) or end <= most else content[:most] + content[end:]


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
            arguments.append(_argument(value))
        elif key in fields or key == "argv":
            raise _refused(f"too many lines: {key}")
        else:
            fields[key] = value
    return fields, arguments


def _argument(value: str) -> str:
    if len(value) > ARGUMENT * 4 // 3 + 4:
        raise _refused(f"an argument of more than {ARGUMENT} bytes")
    return _decoded(value, "argv")


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
