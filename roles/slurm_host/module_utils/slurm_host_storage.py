# Copyright: the slurm-powersave authors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The mount unit of the shared directory, and slurmd's need of it."""

from __future__ import annotations

SYSTEMD = "/etc/systemd/system/"


def where(unit):
    """Return the mount point that the text of a mount unit names."""
    return next(line[len("Where=") :] for line in unit.splitlines() if line.startswith("Where="))


def requires(unit):
    """Write the drop-in by which slurmd starts after that mount, and not without it (systemd.unit(5))."""
    return "# Written by slurm-powersave.\n[Unit]\nRequiresMountsFor=" + where(unit) + "\n"
