"""The calls under way: a provider whose Terraform was killed leaves when there are none."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Flights:
    """Counts the calls that are changing the cloud right now."""

    def __init__(self) -> None:
        self._count = 0
        self._changed = threading.Condition()

    @contextmanager
    def one(self) -> Iterator[None]:
        """A call is under way in this block."""
        with self._changed:
            self._count += 1
        try:
            yield
        finally:
            with self._changed:
                self._count -= 1
                self._changed.notify_all()

    def wait_for_none(self, timeout: float) -> None:
        """Return when no call is under way, or after `timeout` seconds."""
        with self._changed:
            self._changed.wait_for(lambda: self._count == 0, timeout)
