"""The known name that a mistyped one is most like."""

import difflib
from collections.abc import Iterable


def nearest(given: str, known: Iterable[str], likeness: float = 0.6) -> str:
    """Return the name that was probably meant; empty if none is so like it (0: nothing alike, 1: equal)."""
    return next(iter(difflib.get_close_matches(given, list(known), n=1, cutoff=likeness)), "")


def did_you_mean(given: str, known: Iterable[str], otherwise: str, likeness: float = 0.6) -> str:
    """Ask whether the nearest name was meant; where none is near return the other text."""
    near = nearest(given, known, likeness)
    return f"did you mean {near}?" if near else otherwise
