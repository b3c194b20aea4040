# Copyright: the slurm-powersave authors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""slurmd of a host: started with new files, and with its old ones again if it does not run with them."""

from __future__ import annotations

import os
import time

from ansible.module_utils.slurm_host_files import last_words, listens, read, slurmd_port, write
from ansible.module_utils.slurm_host_hardware import hardware
from ansible.module_utils.slurm_host_units import Problem, Units

SLURMD_WAIT = 10.0
"""Seconds for slurmd to listen: 0.1 to 0.5 is usual."""


class Slurmd(Units):
    """The files of this host and its slurmd, which reads some of them."""

    def __init__(self, module):
        super().__init__(module)
        self.diffs = []
        self.before = {}
        """Path -> content and mode, of what a slurmd that ran had before this run."""
        self.hardware = ""

    def put(self, path, text, mode=0o644, owner=None, secret=False):
        """Replace a file; without a text remove it."""
        self.changes.append(f"{'write' if text else 'remove'} {path}")
        if not secret:
            before = (read(path) or b"").decode("utf-8", "replace")
            self.diffs.append(
                {"before": before, "after": text.decode("utf-8"), "before_header": path, "after_header": path}
            )
        if self.check:
            return
        if text:
            write(path, text, mode, owner)
        else:
            os.unlink(path)

    def slurmd(self):
        """Start slurmd, with its old files if it does not run with new ones."""
        if self.units["slurmd"].get("UnitFileState") == "enabled":
            self.systemctl("disable", "slurmd")
        if self.active("slurmd"):
            return
        self.hardware = hardware(self.module)
        try:
            self.start_slurmd()
        except Problem as problem:
            if not self.before or self.check:
                raise
            words = last_words((read("/etc/slurm/slurm.conf") or b"").decode("utf-8", "replace"))
            raise Problem("; ".join(filter(None, [str(problem), words, self.put_back()]))) from problem

    def put_back(self):
        """Give a slurmd that ran before its old files again; say what became of it."""
        for path, (content, mode) in self.before.items():
            if content or read(path) is not None:
                self.put(path, content, mode)
        self.run("systemctl", "reset-failed", "slurmd")
        try:
            self.start_slurmd()
        except Problem as problem:
            return f"with its old files, which are back, slurmd does not start either: {problem}"
        return "its old files are back, and slurmd runs with them"

    def start_slurmd(self):
        """Start slurmd and wait until it listens."""
        self.systemctl("start", "slurmd")
        if self.check:
            return
        deadline = time.monotonic() + SLURMD_WAIT
        port = slurmd_port((read("/etc/slurm/slurm.conf") or b"").decode("utf-8", "replace"))
        while not listens(port):
            _rc, state = self.run("systemctl", "is-active", "slurmd")
            if state not in ("active", "activating"):
                raise Problem("slurmd ended ({}): {}".format(state, self.journal("slurmd")))
            if time.monotonic() > deadline:
                raise Problem("slurmd does not listen on port {}: {}".format(port, self.journal("slurmd")))
            time.sleep(0.05)
