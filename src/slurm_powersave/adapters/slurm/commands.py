"""scontrol and squeue, on this host or through one SSH connection to the slurmctld host.

What they print is read in adapters/slurm/reading.py and adapters/slurm/slurm_text.py.
"""

import re
import shlex
from collections.abc import Callable, Collection, Sequence
from datetime import datetime

from slurm_powersave.adapters.processes.process import Completed
from slurm_powersave.adapters.slurm.reading import Reader
from slurm_powersave.config.layout import LIVE_FILES
from slurm_powersave.model.errors import HostlistError, SlurmError
from slurm_powersave.model.hostlist import expand_any, fold
from slurm_powersave.model.job_note import JobNote
from slurm_powersave.model.nodes import SlurmSnapshot, SlurmStart
from slurm_powersave.model.outside_text import NODE_NAME
from slurm_powersave.model.permit import Permit, use_for_state
from slurm_powersave.model.slurm_version import Version

Shell = Callable[[Sequence[str], float], Completed]
"""Runs argv on the slurmctld host within a number of seconds."""

_TIME = "%Y-%m-%dT%H:%M:%S"
_STANDARD = "SLURM_TIME_FORMAT=standard"
_BEGAN = f"date +{_TIME} && {_STANDARD} scontrol show config"
_STARTED = ("env", _STANDARD, "squeue", "-h", "-a", "-t", "RUNNING", "-o", "%S %B")
_JOB_BEGINS = re.compile(r"^(?=JobId=)", re.MULTILINE)
_JOB_STATE = re.compile(r"^ +JobState=([A-Z_]+)", re.MULTILINE)
_ADMIN_COMMENT = re.compile(r"^ +AdminComment=(.*)$", re.MULTILINE)
_START = re.compile(r"^(BOOT_TIME|BatchStartTimeout|MessageTimeout)\s*= (\S+)", re.MULTILINE)
_TIMERS = re.compile(
    r"^(ResumeTimeout|SuspendTimeout|SuspendTime)\s*= ([0-9]{1,9}) sec$", re.MULTILINE | re.ASCII
)
_YEARS = range(2000, 9000)
"""A moment outside of them is none, and too near to where a date ends."""


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
        self,
        nodes: Sequence[str],
        *,
        state: str = "",
        reason: str = "",
        comment: str | None = None,
        permits: Sequence[Permit] = (),
    ) -> None:
        """Run `scontrol update` for nodes, folded into one hostlist.

        With RESUME the reason goes, too: 24.11 keeps it. An empty one is ignored, a blank is not (measured).
        """
        use_for_state(permits, state, nodes)
        if state == "RESUME":
            reason = " "
        fields = {"state": state or None, "reason": reason or None, "comment": comment}
        given = [f"{key}={value}" for key, value in fields.items() if value is not None]
        self._run(["scontrol", "update", f"nodename={fold(nodes)}", *given], f"set {' '.join(given)}")

    def reboot(self, nodes: Sequence[str], *, reason: str = "", admin_state: str = "") -> None:
        """Run `scontrol reboot`: ASAP nextstate=RESUME, or in the way that keeps a DRAIN or DOWN.

        Measured on 22.05.8: a plain reboot keeps a DRAIN, nextstate=DOWN without ASAP keeps a DOWN.
        """
        words = ["ASAP", "nextstate=RESUME", f"reason={reason}"]
        if admin_state:
            words = ["nextstate=DOWN", f"reason={reason}"] if admin_state == "DOWN" else []
        self._run(["scontrol", "reboot", *words, fold(nodes)], "ask for a reboot")

    def suspend_exc_nodes(self) -> frozenset[str]:
        """Run `scontrol show config`; a list may end in `:COUNT`."""
        config = self._config()
        value = re.search(r"^SuspendExcNodes\s*= (?!\(null\))(\S+)$", config, re.MULTILINE)
        try:
            return frozenset(expand_any(re.sub(r":[0-9]+(?=,|$)", "", value[1])) if value else ())
        except HostlistError as error:
            raise SlurmError("SuspendExcNodes can't be read", where="slurmctld", why=error.why) from error

    def job_note(self, job: int) -> JobNote:
        """Run `scontrol show job`, which shows all jobs of an array; each field that is read begins a line.

        More than one AdminComment is the work of the job's user, in a text of his: they look like nobody's.
        """
        out = self._run(["scontrol", "show", "job", str(job)], f"show job {job}")
        own = "".join(part for part in _JOB_BEGINS.split(out) if part.startswith(f"JobId={job} "))
        state, comments = _JOB_STATE.search(own), _ADMIN_COMMENT.findall(own)
        said = comments[0].strip() if len(comments) == 1 else f"{len(comments)} lines" if comments else ""
        return JobNote(state[1] if state else "", said)

    def update_job(self, job: int, **fields: str) -> None:
        """Run `scontrol update` for a job."""
        self._run(
            ["scontrol", "update", f"jobid={job}", *(f"{key}={value}" for key, value in fields.items())],
            f"update job {job}",
        )

    def running_version(self) -> Version:
        """Run `scontrol show config`: its SLURM_VERSION is slurmctld's (src/api/config_info.c).

        `scontrol --version` tells of the installed programs only.
        """
        found = re.search(r"^SLURM_VERSION\s*= (\S+)\s*$", self._config(), re.MULTILINE)
        try:
            return Version.of(found[1] if found else "")
        except ValueError:
            said = f"SLURM_VERSION is {found[1][:40]!r}" if found else "there is no SLURM_VERSION"
            raise SlurmError("Slurm does not tell its version", where="slurmctld", why=said) from None

    def power_timers(self) -> dict[str, int]:
        """Run `scontrol show config`."""
        return {name: int(seconds) for name, seconds in _TIMERS.findall(self._config())}

    def _config(self) -> str:
        return self._run(["scontrol", "show", "config"], "tell its configuration")

    def last_start(self) -> SlurmStart:
        """Run `date` and `scontrol show config`: both tell the local time of slurmctld's host."""
        out = self._run(["sh", "-c", _BEGAN], "tell when it began")
        now, _, config = out.partition("\n")
        found = dict(_START.findall(config))
        try:
            at, read = (_moment(text) for text in (found["BOOT_TIME"], now))
            # As in src/slurmctld/job_mgr.c, _purge_missing_jobs.
            patience = _seconds(found["BatchStartTimeout"]) + min(_seconds(found["MessageTimeout"]), 10)
        except (KeyError, ValueError) as error:
            raise SlurmError(
                "the start time of slurmctld can't be read", where="slurmctld", why=str(error)
            ) from None
        return SlurmStart(at, (read - at).total_seconds(), patience)

    def started_on(self, first: datetime, last: datetime) -> frozenset[str]:
        """Run `squeue` for all running jobs."""
        out = self._run(_STARTED, "read running jobs")
        begun = [line.split() for line in out.split("\n")]
        span = first.strftime(_TIME), last.strftime(_TIME)
        hosts = {words[1] for words in begun if len(words) == 2 and span[0] <= words[0] <= span[1]}
        return frozenset(name for name in hosts if NODE_NAME.fullmatch(name))

    def _run(self, argv: Sequence[str], what: str) -> str:
        # What a journal holds was somebody's word once; nothing can be started with a NUL in it.
        return _checked(self._shell([word.replace("\0", " ") for word in argv], self._timeout), what)


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


def _moment(text: str) -> datetime:
    found = datetime.strptime(text.strip()[:40], _TIME)
    if found.year not in _YEARS:
        raise ValueError(f"not a time: {found}")
    return found


def _seconds(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,6}", text):
        raise ValueError(f"not a number of seconds: {text[:40]!r}")
    return int(text)


LAST_GOOD = f"{LIVE_FILES}/good/slurm.conf"
"""The slurm.conf that slurmctld ran with last (roles/slurmctld)."""
_BROKEN_FILE = re.compile(r"Unable to (?:process|establish) configuration|Parsing error|fatal: .*slurm\.conf")


def forgiving(shell: Shell) -> Shell:
    """Ask again with the last good slurm.conf where the live one can't be read.

    Each of Slurm's programs reads it first: with a mistake in it nobody could ask a slurmctld that is well.
    """

    def ask(argv: Sequence[str], timeout: float) -> Completed:
        done = shell(argv, timeout)
        if not done.rc or not _BROKEN_FILE.search(done.err):
            return done
        again = shell(["env", f"SLURM_CONF={LAST_GOOD}", *argv], timeout)
        return again if again.rc == 0 else done

    return ask


def local_shell(run: Callable[..., Completed]) -> Shell:
    """Run on this host."""
    return lambda argv, timeout: run(argv, timeout=timeout)


def ssh_shell(run: Callable[..., Completed], ssh: Sequence[str], become: str = "") -> Shell:
    """Run through ssh; `become` is a prefix such as `sudo -n`."""

    def shell(argv: Sequence[str], timeout: float) -> Completed:
        return run([*ssh, "--", f"{become} {shlex.join(argv)}".strip()], timeout=timeout)

    return shell
