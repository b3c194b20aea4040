"""For how long something was looked at and was still so, on the monotonic clock.

What happened between two looks is not known, so the time between them counts, but not all of a long one. A
pause of the engine (SIGSTOP, a host that slept, a step that took long), or a time in which the outside could
not be read, adds almost nothing; and nobody's limit is over before there was another look. It is kept in
memory alone: with a new engine everything begins anew.
"""

from collections.abc import Collection, Hashable

LONGEST = 10.0
"""Seconds between two looks that count at most."""


class Looks:
    """Adds up the time between looks, for each thing that is looked at."""

    def __init__(self, longest: float = LONGEST) -> None:
        """`longest`: what counts at most of the time between two looks, in seconds."""
        self._longest = longest
        self._seen: dict[Hashable, tuple[float, float]] = {}

    def begin(self, key: Hashable, at: float) -> None:
        """Begin anew with a thing, at a moment of the monotonic clock."""
        self._seen[key] = at, 0.0

    def look(self, key: Hashable, at: float) -> float:
        """Count a look that was made at a moment; return the seconds so far. The first look begins."""
        last, seconds = self._seen.get(key, (at, 0.0))
        seconds += min(max(at - last, 0.0), self._longest)
        self._seen[key] = max(last, at), seconds
        return seconds

    def keep(self, keys: Collection[Hashable]) -> None:
        """Forget all other things."""
        self._seen = {key: seen for key, seen in self._seen.items() if key in keys}

    def forget(self, key: Hashable) -> None:
        """Forget a thing."""
        self._seen.pop(key, None)
