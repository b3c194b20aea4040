"""What to do about failures: their classes, how long a node rests, what Slurm is told. Pure."""

import re
import time
from collections.abc import Mapping

from slurm_powersave.model.errors import FailureClass

REASON_PREFIX = "slurm-powersave:"

# In order: the first that matches wins. Texts of Nova, Neutron, Glance and Keystone, of Terraform's openstack
# provider (gophercloud), of Ansible and of the local cloud: tests/cases/failure_texts.yml.
_CLASSES: tuple[tuple[FailureClass, re.Pattern[str]], ...] = (
    (
        # An API that is away or asks for patience says nothing about the node, whatever else stands there.
        FailureClass.UNKNOWN,
        re.compile(
            r"rate.?limit|too many requests|\b429\b|bad gateway|gateway time-?out|service unavailable|"
            r"\b50[0-4] (internal|bad|service|gateway)|got 50[0-4]\b|dial tcp|context deadline exceeded|"
            r"TLS handshake timeout|awaiting headers",
            re.I,
        ),
    ),
    (
        FailureClass.QUOTA,
        re.compile(r"quota|OverLimit|RESOURCE_EXHAUSTED|(maximum|limit) [^.]{0,40}\bexceeded", re.I),
    ),
    (
        # The host or the port of this one server, or its address that another one still holds.
        FailureClass.NODE_LOCAL,
        re.compile(
            r"binding failed for port|PortBindingFailed|failed to allocate the network|"
            r"virtual interface creation failed|fixed ip address .{0,60}already in use|"
            r"ip address .{0,60}already allocated|IpAddressAlreadyAllocated|build of instance \S+ aborted|"
            r"while it is in (vm_state|task_state|power_state)|failed to (spawn|rebuild|provision)",
            re.I,
        ),
    ),
    (
        FailureClass.CAPACITY,
        re.compile(
            r"no valid host|insufficient|not enough (hosts|resources|capacity)|out of capacity|"
            r"exhausted all hosts|exceeded max scheduling attempts|exceeded maximum number of retries|"
            r"no (more|available) hosts|ComputeResourcesUnavailable",
            re.I,
        ),
    ),
    (
        FailureClass.AUTH,
        re.compile(
            r"\b401\b|unauthori[sz]ed|authenticat|\b403\b|forbidden|credential|not allowed by policy|"
            r"policy doesn't allow|auth_url|requires a scope",
            re.I,
        ),
    ),
    (
        FailureClass.CONFIG,
        re.compile(
            r"(image|flavor|network|key ?pair|security group|subnet)\b.{0,80}\b(not found|could not be found|"
            r"does not exist|unknown)|unable to find|\b400\b|bad request|invalid|unsupported argument|"
            r"too small for|is not active|is locked|x509|certificate|no suitable endpoint|availability zone|"
            r"(possible networks|matches) found|more than one",
            re.I,
        ),
    ),
    (
        FailureClass.NODE_LOCAL,
        re.compile(r"unreachable|ssh|mount point|did not (boot|register)|timed? ?out|munge|slurmd", re.I),
    ),
)

_STATUSES = {
    400: FailureClass.CONFIG,
    401: FailureClass.AUTH,
    403: FailureClass.AUTH,
    404: FailureClass.CONFIG,
    409: FailureClass.NODE_LOCAL,
}
"""What an HTTP status means where the text does not say more; 409: this server is busy with something."""

_GOPHERCLOUD = re.compile(
    r"Expected HTTP response code \[[\d ]*\] when accessing \[[^\]]*\],? but got (?P<status>\d+) instead:?"
    r"(?P<body>.*)",
    re.S,
)
_MESSAGE = re.compile(r'"message":\s*"(?P<text>(?:[^"\\]|\\.)*)"')

FOREVER = 32503680000.0
"""The year 3000, in seconds since the epoch: when a rest ends that only an operator ends."""
# At most this much of the outside's text goes into a Slurm reason: one line of `sinfo -R`.
_REASON_TEXT = 160
_LONGEST_REST = 8
"""A rest doubles with each failure in a row, up to this many times the first."""


def classify(text: str) -> FailureClass:
    """Class a failure by the outside's own words."""
    for failure, pattern in _CLASSES:
        if pattern.search(text):
            return failure
    return FailureClass.UNKNOWN


def classify_answer(status: int, text: str) -> FailureClass:
    """Class an HTTP error of a cloud's API: quota and capacity by their words, the rest by the status.

    Nova answers 403 to a request beyond the quota and to one that the policy forbids; Neutron 409 to the
    first; a resize without a host is a 400.
    """
    if status >= 500 or status in (413, 429):
        return FailureClass.QUOTA if "quota" in text.lower() else FailureClass.UNKNOWN
    said = classify(text)
    if said in (FailureClass.QUOTA, FailureClass.CAPACITY) or "is locked" in text:
        return said
    return _STATUSES.get(status, said)


def rest_seconds(rests: Mapping[FailureClass, float], failure: FailureClass, failures: int) -> float:
    """Return how long a node rests after its `failures`-th failure in a row (1 is the first)."""
    return rests[failure] * min(1 << max(failures - 1, 0), _LONGEST_REST)


def reason(failure: FailureClass, text: str, operation: str, until: float | None = None) -> str:
    """Word the reason for Slurm; one line, in ASCII, without the quotes that scontrol would eat."""
    if is_ours(text):
        # A create that was not tried because the node rests: the first reason, not one around it.
        text = text.removeprefix(REASON_PREFIX).partition(") ")[2].partition("; rests until")[0]
    clean = plain(spoken(text), _REASON_TEXT)
    rests = ""
    if until is not None:
        endless = until == FOREVER
        rests = "; rests until " + (
            "it is resumed by hand" if endless else time.strftime("%H:%M:%S", time.localtime(until))
        )
    return f"{REASON_PREFIX} ({failure}) {clean}{rests} [op {operation}]"


def spoken(text: str) -> str:
    """Leave of what Terraform's openstack provider says of an answer what the cloud said in it."""

    def message(found: re.Match[str]) -> str:
        told = _MESSAGE.search(found["body"])
        return f"{told['text']} (HTTP {found['status']})" if told else found[0]

    return _GOPHERCLOUD.sub(message, text)


def is_ours(reason_in_slurm: str) -> bool:
    """Tell whether a reason in Slurm was set by us; only such are ever changed."""
    return reason_in_slurm.startswith(REASON_PREFIX)


def plain(text: str, longest: int) -> str:
    """Cut a text to one line of ASCII without the quotes that scontrol would eat."""
    clean = " ".join(re.sub(r"[^ -~]|[\"'\\]", " ", text).split())
    return clean if len(clean) <= longest else clean[: longest - 3] + "..."
