"""What is tried again and again for an operation: ever more rarely, and forgotten with the operation."""

from slurm_powersave.engine.operations import Operations
from slurm_powersave.model.timing import Timing
from slurm_powersave.ports.clock import Clock


class Attempts:
    """How often something was tried for an operation, and when it was last."""

    def __init__(self, operations: Operations, clock: Clock, timing: Timing) -> None:
        self._clock, self._timing = clock, timing
        self._tried: dict[str, dict[str, tuple[int, float]]] = operations.until_end({})

    def tried(self, operation: str, subject: str) -> None:
        """Note a try, of one subject of the operation."""
        count = self.count(operation, subject) + 1
        self._tried.setdefault(operation, {})[subject] = (count, self._clock.monotonic())

    def count(self, operation: str, subject: str) -> int:
        """Return how often it was tried."""
        return self._tried.get(operation, {}).get(subject, (0, 0.0))[0]

    def due(self, operation: str, subject: str, pause: float) -> bool:
        """Tell whether it is time for the next try: `pause` seconds after the first, then twice as many."""
        count, at = self._tried.get(operation, {}).get(subject, (0, float("-inf")))
        pause *= 2 ** min(max(count - 1, 0), 10)
        return self._clock.monotonic() - at >= min(pause, self._timing.deletion_again_longest)
