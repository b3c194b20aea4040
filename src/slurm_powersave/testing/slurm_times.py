"""How long the Slurm in memory takes for what it does, in seconds; and dates as it tells them."""

from datetime import UTC, datetime

FORCE = 0.7
"""From POWER_DOWN_FORCE to POWERING_DOWN and the hook call (measured 0.6 to 1 s)."""
ISSUE = 0.5
"""From a reboot request on an idle node to REBOOT_ISSUED and the hook call (measured 0.1 to 1 s)."""
PING = 1.0
"""How long a node is NOT_RESPONDING after RESUME although its slurmd answers (measured 0.1 to 1 s)."""
PATIENCE = 20.0
"""What BatchStartTimeout and MessageTimeout come to if nobody sets them."""


def date(at: float) -> datetime:
    """Return a moment, in seconds since the epoch, as slurmctld tells it: the time of its host, here UTC."""
    return datetime.fromtimestamp(at, UTC).replace(tzinfo=None)
