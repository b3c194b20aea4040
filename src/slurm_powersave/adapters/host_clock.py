"""The clocks of this host."""

import time
from pathlib import Path

from slurm_powersave.config.plain_file import read_text


class WallClock:
    """Implements ports.Clock with the host's clock."""

    def wall(self) -> float:
        """Return seconds since the epoch."""
        return time.time()

    def monotonic(self) -> float:
        """Return seconds that never jump."""
        return time.monotonic()

    def boot(self) -> str:
        """Return the kernel's name for this boot (random(4))."""
        return read_text(Path("/proc/sys/kernel/random/boot_id")).strip()
