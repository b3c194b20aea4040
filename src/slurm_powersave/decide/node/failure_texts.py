"""Classify a failure by the innermost cause that its text names. Pure.

The texts are those of Nova, Neutron, Glance, Keystone and Cinder, of Terraform's openstack provider
(gophercloud), openstacksdk, Ansible, Slurm and the local cloud: tests/cases/failure_texts.yml.
They are read in five steps:

1. A list of errors is split into its errors.
2. What one program puts around another's message is removed: "Last exception:", a JSON body, a traceback.
3. Names are removed (URLs, request ids, texts in quotation marks), and so is the HTTP status.
4. The clauses are compared with the known words, from the last one, the innermost, to the first.
5. If no clause has a known word, the HTTP status decides. Other numbers are ignored.
"""

import re
from collections.abc import Iterable, Iterator

from slurm_powersave.decide.node import failure_words
from slurm_powersave.model.errors import FailureClass

_READ = 20_000
"""Characters of a text that are read; the rest is ignored."""
_DEPTH = 3
"""How many levels of a message inside another message are read."""

_STATUSES = {
    400: FailureClass.CONFIG,
    401: FailureClass.AUTH,
    403: FailureClass.AUTH,
    404: FailureClass.CONFIG,
    409: FailureClass.NODE_LOCAL,
}
"""What an HTTP status means where the text does not say more; 409: this server is busy with something."""
_PATIENCE = (408, 413, 429)
"""Statuses that ask to try again later. Like those from 500 on they say nothing about the node."""
_SAID_ALL_THE_SAME = (FailureClass.QUOTA, FailureClass.CAPACITY, FailureClass.NODE_LOCAL)
"""Classes that count by their words even with such a status: Cinder answers 413 for a quota, for example."""
_ORDER = (
    FailureClass.AUTH,
    FailureClass.CONFIG,
    FailureClass.QUOTA,
    FailureClass.NODE_LOCAL,
    FailureClass.CAPACITY,
)
"""Which of several causes counts: first what a person must correct, last what blocks a flavor for all."""

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
    # Only codes below 500: the fault of a server has the code 500 whatever has happened.
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
"""Python prints such a line between the cause and the exception that it led to."""
_LAST = re.compile(r"\bLast exception: *(?!None\b)(?=\S)", re.I)
"""Nova writes this before the error of the host that it tried last: that error is the cause."""
_JSON_MESSAGE = re.compile(
    r"[\"'](?:message|msg|detail)[\"']\s*:\s*u?(?:\"((?:[^\"\\]|\\.)+)\"|'((?:[^'\\]|\\.)+)')", re.S
)
_WRAPPED = re.compile(r":\s+|;\s+|\bbecause\b|\bdue to\b|\bcaused by\b", re.I)
"""The text after such a separator is the cause of the text before it."""

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
    """Classify a failure by the words of the program that reported it."""
    return _first(_class_of(cause, None) for cause in _side_by_side(text))


def classify_answer(status: int, text: str) -> FailureClass:
    """Classify an HTTP error of a cloud's API: by its words, or by the status if no word is known.

    Nova answers 403 to a request beyond the quota and to one that the policy forbids; Neutron 409 to the
    first; a resize without a host is a 400.
    """
    return _first(_class_of(cause, status) for cause in _side_by_side(text) or [""])


def spoken(text: str) -> str:
    """Reduce the OpenStack provider's error to the message that the cloud sent."""

    def message(found: re.Match[str]) -> str:
        message = _MESSAGE.search(found["body"])
        return f"{message['text']} (HTTP {found['status']})" if message else found[0]

    return _GOPHERCLOUD.sub(message, text)


def _first(found: Iterable[FailureClass | None]) -> FailureClass:
    known = set(found)
    return next((failure for failure in _ORDER if failure in known), FailureClass.UNKNOWN)


def _side_by_side(text: str) -> list[str]:
    """Split a list of errors into its errors; a traceback with its causes is one error."""
    text = _FRAME.sub("", _BORDER.sub("", text[:_READ]))
    return [text] if _CAUSED.search(text) else [part for part in _BESIDE.split(text) if part.strip()]


def _class_of(cause: str, status: int | None) -> FailureClass | None:
    """Classify one cause; None if neither its words nor its status are known."""
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
    """Return the messages of a text, from the outermost to the innermost."""
    return [segment for part in reversed(_CAUSED.split(text)) for segment in _messages(part, _DEPTH)]


def _messages(text: str, depth: int) -> Iterator[str]:
    """Yield a text and the messages of the JSON (or of Python's form of it) inside."""
    found = list(_JSON_MESSAGE.finditer(text))
    if not found and '\\"' in text:
        text = text.replace('\\"', '"')
        found = list(_JSON_MESSAGE.finditer(text))
    if not found or not depth:
        yield text
        return
    yield _before_json(text)
    for match in found:
        yield from _messages((match[1] or match[2]).replace('\\"', '"').replace("\\n", "\n"), depth - 1)


def _before_json(text: str) -> str:
    """Return the text before the JSON, and the status in the JSON; its other keys are left out."""
    code = re.search(r"[\"']code[\"']: ?4\d\d\b", text)
    return f"{text.partition('{')[0]} {code[0] if code else ''}"


def _status(segment: str) -> int:
    """Return the last HTTP status that a segment names; 0: none."""
    found = [next(filter(None, match.groups())) for match in _STATUS.finditer(segment)]
    return int(found[-1]) if found else 0


def _without_names(segment: str) -> str:
    return _STATUS.sub(" ", _NAMES.sub(" ", segment))
