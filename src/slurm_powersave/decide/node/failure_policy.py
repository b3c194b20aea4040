"""What to do about failures: how long the backoff is, what Slurm is told. Pure.

Their classes come from decide/node/failure_texts.py.
"""

import re
import time
from collections.abc import Mapping

from slurm_powersave.decide.node.failure_texts import classify as classify
from slurm_powersave.decide.node.failure_texts import classify_answer as classify_answer
from slurm_powersave.decide.node.failure_texts import spoken as spoken
from slurm_powersave.model.errors import FailureClass

REASON_PREFIX = "slurm-powersave:"

FOREVER = 32503680000.0
"""The year 3000, in seconds since the epoch: when a backoff ends that only a person ends."""
# At most this much of the outside's text goes into a Slurm reason: one line of `sinfo -R`.
_REASON_TEXT = 160
_LONGEST_BACKOFF = 8
"""A backoff doubles with each failure in a row, up to this many times the first."""


def backoff_seconds(rests: Mapping[FailureClass, float], failure: FailureClass, failures: int) -> float:
    """Return the seconds of a node's backoff after its `failures`-th failure in a row (1 is the first)."""
    return rests[failure] * min(1 << max(failures - 1, 0), _LONGEST_BACKOFF)


def reason(failure: FailureClass, text: str, operation: str, until: float | None = None) -> str:
    """Word the reason for Slurm; one line, in ASCII, without the quotes that scontrol would eat."""
    if is_ours(text):
        # A create that was not tried because the node is in backoff: the first reason, not one around it.
        text = text.removeprefix(REASON_PREFIX).partition(") ")[2].partition("; rests until")[0]
    clean = plain(spoken(text), _REASON_TEXT)
    rests = ""
    if until is not None:
        endless = until == FOREVER
        rests = "; rests until " + (
            "it is resumed by hand" if endless else time.strftime("%H:%M:%S", time.localtime(until))
        )
    return f"{REASON_PREFIX} ({failure}) {clean}{rests} [op {operation}]"


def is_ours(reason_in_slurm: str) -> bool:
    """Tell whether a reason in Slurm was set by us; only such are ever changed."""
    return reason_in_slurm.startswith(REASON_PREFIX)


def plain(text: str, longest: int) -> str:
    """Cut a text to one line of ASCII without the quotes that scontrol would eat."""
    clean = " ".join(re.sub(r"[^ -~]|[\"'\\]", " ", text).split())
    return clean if len(clean) <= longest else clean[: longest - 3] + "..."
