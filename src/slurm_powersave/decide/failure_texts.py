"""Class a failure by the innermost cause that its text names. Pure.

The texts are those of Nova, Neutron, Glance, Keystone and Cinder, of Terraform's openstack provider
(gophercloud), openstacksdk, Ansible, Slurm and the local cloud: tests/cases/failure_texts.yml.
They are read in five steps:

1. Causes that stand side by side (a list of errors) are taken apart.
2. What one program says of another's words is taken off: "Last exception:", a JSON body, a traceback.
3. Names are taken out (URLs, request ids, what stands in quotation marks), and so is the HTTP status.
4. The clauses are looked at from the last, which is the innermost, to the first.
5. Where the words say nothing the HTTP status does. Other numbers say nothing.
"""

import re
from collections.abc import Iterable, Iterator

from slurm_powersave.decide import failure_words
from slurm_powersave.model.errors import FailureClass

_READ = 20_000
"""Characters of a text that are looked at."""
_DEPTH = 3
"""How many times a text that was told inside of another is looked into."""

_STATUSES = {
    400: FailureClass.CONFIG,
    401: FailureClass.AUTH,
    403: FailureClass.AUTH,
    404: FailureClass.CONFIG,
    409: FailureClass.NODE_LOCAL,
}
"""What an HTTP status means where the text does not say more; 409: this server is busy with something."""
_PATIENCE = (408, 413, 429)
"""The API asks for patience, as with a status from 500 on: that says nothing about the node."""
_SAID_ALL_THE_SAME = (FailureClass.QUOTA, FailureClass.CAPACITY, FailureClass.NODE_LOCAL)
"""What Nova and Cinder answer with such a status and mean by their words (413 for a quota, for example)."""
_ORDER = (
    FailureClass.AUTH,
    FailureClass.CONFIG,
    FailureClass.QUOTA,
    FailureClass.NODE_LOCAL,
    FailureClass.CAPACITY,
)
"""Of several causes: first what a person must mend, last what lets a flavor rest for the whole cluster."""

_PHRASES = {
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    409: "Conflict",
    413: "Request Entity Too Large",
    429: "Too Many Requests",
    500: "Internal (?:Server )?Error",
    502: "Bad Gateway",
    503: "Service (?:Temporarily )?Unavailable",
    504: "Gateway Time-?out",
}
_PHRASED = "|".join(f"{status}(?=:? {phrase})" for status, phrase in _PHRASES.items())
_STATUS = re.compile(
    r"\bHTTP(?:/[\d.]+)?(?: (?:error|status|response))*(?: code)?[ :=(]*([45]\d\d)\b"
    r"|\bgot ([45]\d\d) instead"
    r"|\b(?:error|response|status)(?:[ _]code)?(?: was)?[\"' :=(]{1,3}([45]\d\d)"
    r"(?=[\"']?\s*(?:[:,.;(){}]|and|$))"
    r"|\b(?:returned|responded with|answered(?: with)?) (?:an? )?([45]\d\d)(?=\s*(?:[,.;:)]|$|error|for url))"
    r"|(?<![\w./-])([45]\d\d):? (?:Client|Server) Error"
    rf"|(?<![\w./-])({_PHRASED})"
    # The code of a server's fault is 500 whatever has happened; an answer's is there besides.
    r"|[\"']code[\"']: ?(4\d\d)\b",
    re.I,
)
_GOPHERCLOUD = re.compile(
    r"Expected HTTP response code \[[\d ]*\] when accessing \[[^\]]*\],? but got (?P<status>\d+) instead:?"
    r"(?P<body>.*)",
    re.S,
)
_MESSAGE = re.compile(r'"message":\s*"(?P<text>(?:[^"\\]|\\.)*)"')

_BORDER = re.compile(r"^[ \t]*[│╷╵|]", re.M)
_BESIDE = re.compile(r"\n\s*\n|(?:^|\s)[*•]\s+|\n\s*(?=Error\b)")
_FRAME = re.compile(r"^[ \t]+File \"[^\n]*\n(?:[ \t]+[^\n]*\n?)?", re.M)
_CAUSED = re.compile(
    r"The above exception was the direct cause of the following exception:"
    r"|During handling of the above exception, another exception occurred:"
)
"""Python shows the cause before what came of it."""
_LAST = re.compile(r"\bLast exception: *(?!None\b)(?=\S)", re.I)
"""Nova says so of the host that it tried last; before it stand the scheduler's words, whatever the cause."""
_TOLD = re.compile(
    r"[\"'](?:message|msg|detail)[\"']\s*:\s*u?(?:\"((?:[^\"\\]|\\.)+)\"|'((?:[^'\\]|\\.)+)')", re.S
)
_WRAPPED = re.compile(r":\s+|;\s+|\bbecause\b|\bdue to\b|\bcaused by\b", re.I)
"""What comes after it is the cause of what stands before it."""

_NAMES = re.compile(
    r"\b[a-z][a-z0-9+.-]*://[^\s,\"'\]>)]+"
    r"|\(?\brequest[- ]id: [^\s)]+\)?"
    r"|</?[a-z!][^<>]{0,300}>"
    r"|\[[\w.-]+\]"
    # A name may have blanks where a word says that it is one.
    r"|(?<=image )'[^']+'|(?<=flavor )'[^']+'|(?<=network )'[^']+'|(?<=pair )'[^']+'|(?<=group )'[^']+'"
    r"|(?<=image )\"[^\"]+\"|(?<=flavor )\"[^\"]+\"|(?<=network )\"[^\"]+\"|(?<=pair )\"[^\"]+\""
    r"|(?<=name )'[^']+'|(?<=named )'[^']+'|(?<=name )\"[^\"]+\"|(?<=named )\"[^\"]+\""
    r"|(?P<mark>[\"'`])(?!auth_url\b)[^\s\"'`]+(?P=mark)"
    r"|(?<=to host )[\w.-]+"
    # The module of an exception.
    r"|(?-i:\b(?:[a-z_]\w*\.)+(?=[A-Z]))",
    re.I,
)


def classify(text: str) -> FailureClass:
    """Class a failure by the outside's own words."""
    return _first(_class_of(cause, None) for cause in _side_by_side(text))


def classify_answer(status: int, text: str) -> FailureClass:
    """Class an HTTP error of a cloud's API: by its words where they say something, else by the status.

    Nova answers 403 to a request beyond the quota and to one that the policy forbids; Neutron 409 to the
    first; a resize without a host is a 400.
    """
    return _first(_class_of(cause, status) for cause in _side_by_side(text) or [""])


def spoken(text: str) -> str:
    """Reduce the OpenStack provider's error to the message that the cloud sent."""

    def message(found: re.Match[str]) -> str:
        told = _MESSAGE.search(found["body"])
        return f"{told['text']} (HTTP {found['status']})" if told else found[0]

    return _GOPHERCLOUD.sub(message, text)


def _first(found: Iterable[FailureClass | None]) -> FailureClass:
    known = set(found)
    return next((failure for failure in _ORDER if failure in known), FailureClass.UNKNOWN)


def _side_by_side(text: str) -> list[str]:
    """Take a list of errors apart; a traceback with its causes is one."""
    text = _FRAME.sub("", _BORDER.sub("", text[:_READ]))
    return [text] if _CAUSED.search(text) else [part for part in _BESIDE.split(text) if part.strip()]


def _class_of(cause: str, status: int | None) -> FailureClass | None:
    """Class one cause; None if neither words nor status say anything."""
    inner = list(_LAST.finditer(cause))
    segments = _segments(cause[inner[-1].end() :] if inner else cause)
    if status is None:
        status = next(filter(None, map(_status, reversed(segments))), 0)
    clauses = [clause for segment in segments for clause in _WRAPPED.split(_without_names(segment))]
    clear = failure_words.clear(reversed(clauses))
    if status >= 500 or status in _PATIENCE:
        return clear if clear in _SAID_ALL_THE_SAME else FailureClass.UNKNOWN
    if clear:
        return clear
    vague = failure_words.vague(reversed(clauses))
    quota = vague is FailureClass.QUOTA and status in (403, 409)
    return vague if quota else _STATUSES.get(status, vague)


def _segments(text: str) -> list[str]:
    """Return what was said, the outermost first, the innermost last."""
    return [segment for part in reversed(_CAUSED.split(text)) for segment in _told(part, _DEPTH)]


def _told(text: str, depth: int) -> Iterator[str]:
    """Yield a text and the messages of the JSON (or of Python's form of it) inside."""
    found = list(_TOLD.finditer(text))
    if not found and '\\"' in text:
        text = text.replace('\\"', '"')
        found = list(_TOLD.finditer(text))
    if not found or not depth:
        yield text
        return
    yield _outside(text)
    for match in found:
        yield from _told((match[1] or match[2]).replace('\\"', '"').replace("\\n", "\n"), depth - 1)


def _outside(text: str) -> str:
    """Return what stands before the JSON, and the status in it: its other keys are no words."""
    code = re.search(r"[\"']code[\"']: ?4\d\d\b", text)
    return f"{text.partition('{')[0]} {code[0] if code else ''}"


def _status(segment: str) -> int:
    """Return the last HTTP status that a segment names; 0: none."""
    found = [next(filter(None, match.groups())) for match in _STATUS.finditer(segment)]
    return int(found[-1]) if found else 0


def _without_names(segment: str) -> str:
    return _STATUS.sub(" ", _NAMES.sub(" ", segment))
