#!/usr/bin/python3
"""Keep a file for each node that is up, while any node is coming up, for the prologs of fast start.

Usage: ready DIRECTORY SINFO. Started by the reader, which is the spool's owner by then, and so are this
process and sinfo. The reader writes a line `expect` to standard input when a request came: nodes are about
to change.

One `sinfo` every 0.3 s stands for one in every waiting prolog. No file outlives an answer that says
otherwise or can't be had, or the end of the input. Should this process be killed a file may
lie, so the prolog asks Slurm once more before it lets a job go.

Only the standard library, Python 3.6 or later.
"""

import contextlib
import os
import re
import select
import subprocess
import sys
import time
from typing import List, Optional, Set, Tuple

PERIOD = 0.3
IDLE = 10.0
"""Seconds between two looks while nothing is coming up: Slurm may resume nodes without our hooks."""
GRACE = 15.0
"""Seconds after a request within which its nodes may not show it yet."""
PATIENCE = 10.0
"""Seconds that an answer may take."""
LARGEST = 16 << 20
"""Bytes of an answer; 10,000 nodes in five partitions have 2 MB."""
NOT_READY = frozenset("#~%*!")
"""Coming up, off, going down, silent: sinfo(1), NODE STATE CODES."""
NODE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,252}\Z", re.ASCII)
NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Watch:
    """When to look, and what was seen last."""

    def __init__(self, directory: str, sinfo: str) -> None:
        self.directory = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        self.command = [sinfo, "-a", "-h", "-N", "-o", "%N %T"]
        self.coming_up = False
        self.until = 0.0

    def obey(self, message: str) -> None:
        """Take a line from the reader."""
        if message == "expect":
            self.until = time.monotonic() + GRACE

    def busy(self) -> bool:
        """Tell whether the files are to be kept at present."""
        return self.coming_up or time.monotonic() < self.until

    def look(self) -> None:
        """Make the files agree with what Slurm says now."""
        ready: Set[str] = set()
        states = self.states()
        if states is not None:
            self.coming_up = any("#" in state for _, state in states)
            if self.busy():
                ready = {name for name, state in states if NOT_READY.isdisjoint(state)}
        self.keep(ready)

    def states(self) -> Optional[Set[Tuple[str, str]]]:
        """Read (node, state) pairs, one per node and partition; None when Slurm does not answer."""
        answer = output(self.command)
        if answer is None:
            return None
        words = [entry.split() for entry in answer.decode("ascii", "replace").split("\n")]
        return {(word[0], word[1]) for word in words if len(word) == 2 and NODE_NAME.match(word[0])}

    def keep(self, ready: Set[str]) -> None:
        """Make the files be these."""
        present = set(os.listdir(self.directory))
        for name in present - ready:
            with contextlib.suppress(OSError):  # somebody's own
                os.unlink(name, dir_fd=self.directory)
        for name in ready - present:
            with contextlib.suppress(FileExistsError):
                os.close(os.open(name, NEW_FILE, 0o644, dir_fd=self.directory))


def output(command: List[str]) -> Optional[bytes]:
    """Run a command; None if it fails, takes too long or says too much."""
    quiet, deadline, answer = subprocess.DEVNULL, time.monotonic() + PATIENCE, bytearray()
    try:
        process = subprocess.Popen(command, stdin=quiet, stdout=subprocess.PIPE, stderr=quiet, bufsize=0)
    except OSError:
        return None
    with process:
        assert process.stdout
        try:
            while len(answer) <= LARGEST:
                left = deadline - time.monotonic()
                if left < 0 or not select.select([process.stdout.fileno()], [], [], left)[0]:
                    return None
                chunk = os.read(process.stdout.fileno(), 1 << 16)
                if not chunk:
                    return bytes(answer) if process.wait(1) == 0 else None
                answer += chunk
            return None
        except subprocess.TimeoutExpired:
            return None
        finally:
            process.kill()


def main() -> int:
    """Look until the reader is gone."""
    half, watch = b"", None
    try:
        watch = Watch(*sys.argv[1:3])
        while True:
            watch.look()
            if select.select([0], [], [], PERIOD if watch.busy() else IDLE)[0]:
                chunk = os.read(0, 4096)
                if not chunk:
                    return 0
                *lines, half = (half + chunk).split(b"\n")
                for line in lines:
                    watch.obey(line.decode("ascii", "replace"))
    except OSError as error:
        sys.stderr.write(f"slurm-powersave reader: no ready files: {error}\n")
        return 1
    finally:
        with contextlib.suppress(OSError):
            if watch:
                watch.keep(set())


if __name__ == "__main__":
    sys.exit(main())
