# Copyright: the slurm-powersave authors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""systemd's units of a host, as a module reads and changes them."""

from __future__ import annotations


class Problem(Exception):
    """Why the host can't become a member; its text is what the operator reads."""


class Units:
    """The units of this host, and what was changed so far."""

    def __init__(self, module):
        self.module = module
        self.check = module.check_mode
        self.changes = []
        self.units = {}

    def run(self, *argv):
        """Run a command of this host; return (rc, output)."""
        rc, out, err = self.module.run_command(list(argv))
        return rc, (out + err).strip()

    def systemctl(self, verb, unit):
        """Change a unit, or say why it could not be changed in the unit's own words."""
        self.changes.append(f"{verb} {unit}")
        if self.check:
            return
        # --no-reload: with enable and disable a reload of systemd would cost 0.2 s, and nothing needs it.
        flags = ["--no-reload"] if verb in ("enable", "disable") else []
        rc, out = self.run("systemctl", verb, *flags, unit)
        if rc:
            raise Problem(f"systemctl {verb} {unit} failed: {self.journal(unit) or out}")

    def journal(self, unit):
        """Return the unit's last words."""
        options = ["--lines=4", "--output=cat", "--no-pager", "--quiet"]
        rc, out = self.run("journalctl", "--unit", unit, *options)
        return " | ".join(out.splitlines()) if rc == 0 else ""

    def read_units(self, names):
        """Read the state of the units that we need, in one call."""
        properties = "--property=LoadState,ActiveState,UnitFileState"
        _rc, out = self.run("systemctl", "show", properties, *names)
        blocks = out.split("\n\n")
        for number, name in enumerate(names):
            lines = blocks[number].splitlines() if number < len(blocks) else []
            unit = dict(line.split("=", 1) for line in lines if "=" in line)
            if unit.get("LoadState") != "loaded":
                raise Problem(
                    f"{name} is not installed here (its unit is {unit.get('LoadState') or 'unknown'}): "
                    "install the package, or use an image that has it"
                )
            self.units[name] = unit

    def active(self, unit):
        """Tell whether a unit ran when the module began."""
        return self.units[unit].get("ActiveState") in ("active", "reloading", "activating")
