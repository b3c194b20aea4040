"""The clocks of this host."""

from typing import Protocol


class Clock(Protocol):
    """Time, so that tests can make their own."""

    def wall(self) -> float:
        """Return seconds since the epoch: for people, and for what must survive a restart."""

    def monotonic(self) -> float:
        """Return seconds that never jump, since some moment: for durations."""

    def boot(self) -> str:
        """Name the boot of this host; the monotonic clock begins anew with each."""
