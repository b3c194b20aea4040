"""Pauses: no new change in a pool, or in the whole cluster, until a person ends the pause."""

from slurm_powersave.config import pause_file
from slurm_powersave.engine.world import World
from slurm_powersave.model import phases
from slurm_powersave.model.errors import FailureClass
from slurm_powersave.model.modes import Mode
from slurm_powersave.model.nodes import Failure, Operation

_LOOK = 1.0
"""Seconds between two looks at the journal and at the file."""
HELD = frozenset(
    {phases.ASKING, phases.CHECKING, phases.QUEUED, phases.UPDATE_QUEUED, phases.DELETE_QUEUED}
    | {phases.RESTORING}
)
"""Phases whose next step changes something outside."""


class Pausing:
    """Tells whether a node's pool is paused."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._looked = float("-inf")
        self._why: dict[str, str] = {}

    def why(self, node: str = "") -> str:
        """Return why the node's pool is paused, without a node the cluster; empty if it is not paused."""
        now = self._world.clock.monotonic()
        if now - self._looked >= _LOOK:
            self._looked, self._why = now, self._read()
        pool = self._world.recorded_spec(node).pool if node else ""
        return self._why.get("") or self._why.get(pool, "")

    def _read(self) -> dict[str, str]:
        found = {
            pool: f"paused by {pause.by}: {pause.why}" for pool, pause in self._world.journal.pauses().items()
        }
        if (said := pause_file.read(self._world.cluster.layout.pause)) is not None:
            found[""] = f"paused by the file {self._world.cluster.layout.pause}: {said}"
        return found

    def too_late(self, op: Operation, waited: float, why: str) -> Failure | None:
        """Fail a resume that waits longer than half of ResumeTimeout, so that Slurm plans its job again."""
        if op.mode is not Mode.RESUME or waited <= self._world.cluster.power_save.resume_timeout / 2:
            return None
        return Failure(FailureClass.UNKNOWN, f"nothing is created now: {why}")
