"""scontrol and squeue, on this host or through one SSH connection to the slurmctld host.

What they print is read in adapters/slurm_reading.py and adapters/slurm_text.py.
"""

import re
import shlex
from collections.abc import Callable, Collection, Sequence

from slurm_powersave.adapters.process import Completed
from slurm_powersave.adapters.slurm_reading import Reader
from slurm_powersave.model.errors import HostlistError, SlurmError
from slurm_powersave.model.hostlist import expand_any, fold
from slurm_powersave.model.nodes import SlurmSnapshot
from slurm_powersave.model.outside_text import VERSION, matching

Shell = Callable[[Sequence[str], float], Completed]
"""Runs argv on the slurmctld host within a number of seconds."""


def largest_answer(nodes: int) -> int:
    """Return how many bytes slurmctld's host may say at once: about eight times what an honest one does."""
    return (8 << 20) + (8 << 10) * nodes


class ScontrolSlurm:
    """Implements ports.Slurm."""

    def __init__(self, shell: Shell, *, timeout: float = 10.0, known: Collection[str] = ()) -> None:
        """`known` are nodes that are ours, whatever partitions they are in."""
        self._shell = shell
        self._timeout = timeout
        self._reader = Reader(lambda argv: shell(argv, timeout), known)

    def snapshot(self, nodes: Sequence[str] = (), jobs: Sequence[int] = ()) -> SlurmSnapshot:
        """Read these nodes, the jobs on them, and these jobs; all nodes and jobs if none are named.

        An event's cost must not grow with the cluster, so the engine names what it waits for.

        Raises:
            SlurmError: no answer in time, an incomplete one, or none that can be read at all.
        """
        return self._reader.read(nodes, jobs)

    def update_nodes(
        self, nodes: Sequence[str], *, state: str = "", reason: str = "", comment: str | None = None
    ) -> None:
        """Run `scontrol update` for nodes, folded into one hostlist."""
        fields = {"state": state or None, "reason": reason or None, "comment": comment}
        given = [f"{key}={value}" for key, value in fields.items() if value is not None]
        self._run(["scontrol", "update", f"nodename={fold(nodes)}", *given], f"set {' '.join(given)}")

    def reboot(self, nodes: Sequence[str], *, reason: str = "", aside: str = "") -> None:
        """Run `scontrol reboot`: ASAP nextstate=RESUME, or in the way that keeps a DRAIN or DOWN.

        Measured on 22.05.8: a plain reboot keeps a DRAIN, nextstate=DOWN without ASAP keeps a DOWN.
        """
        words = ["ASAP", "nextstate=RESUME", f"reason={reason}"]
        if aside:
            words = ["nextstate=DOWN", f"reason={reason}"] if aside == "DOWN" else []
        self._run(["scontrol", "reboot", *words, fold(nodes)], "ask for a reboot")

    def suspend_exc_nodes(self) -> frozenset[str]:
        """Run `scontrol show config`; from 23.02 on a list may end in `:COUNT`."""
        config = self._run(["scontrol", "show", "config"], "tell its configuration")
        value = re.search(r"^SuspendExcNodes\s*= (?!\(null\))(\S+)$", config, re.MULTILINE)
        try:
            return frozenset(expand_any(re.sub(r":[0-9]+(?=,|$)", "", value[1])) if value else ())
        except HostlistError as error:
            raise SlurmError("SuspendExcNodes can't be read", where="slurmctld", why=error.why) from error

    def update_job(self, job: int, **fields: str) -> None:
        """Run `scontrol update` for a job."""
        self._run(
            ["scontrol", "update", f"jobid={job}", *(f"{key}={value}" for key, value in fields.items())],
            f"update job {job}",
        )

    def version(self) -> str:
        """Return Slurm's version, for example 22.05.8."""
        words = self._run(["scontrol", "--version"], "tell its version").split()
        found = matching(VERSION, words[-1] if words else "")
        if not found:
            raise SlurmError("Slurm's version can't be read", where="scontrol --version")
        return found

    def _run(self, argv: Sequence[str], what: str) -> str:
        return _checked(self._shell(argv, self._timeout), what)


def _checked(done: Completed, what: str) -> str:
    # `scontrol` answers some bad input, and from 24.11 on a reboot that it skips, with exit code 0 and its
    # complaint on stderr.
    if done.rc != 0 or done.err.startswith(("slurm_", "scontrol: error", "error")):
        raise SlurmError(
            f"Slurm could not {what}",
            where="slurmctld",
            why=(done.err or done.out).strip()[-300:] or f"exit code {done.rc}",
        )
    return done.out


def local_shell(run: Callable[..., Completed]) -> Shell:
    """Run on this host."""
    return lambda argv, timeout: run(argv, timeout=timeout)


def ssh_shell(run: Callable[..., Completed], ssh: Sequence[str], become: str = "") -> Shell:
    """Run through ssh; `become` is a prefix such as `sudo -n`."""

    def shell(argv: Sequence[str], timeout: float) -> Completed:
        return run([*ssh, "--", f"{become} {shlex.join(argv)}".strip()], timeout=timeout)

    return shell
