"""scontrol and squeue, on this host or through one SSH connection to the slurmctld host.

22.05 has no `scontrol show node --json` (23.02 has), so the one-line text is read; a state is kept
as the set of its words, so that a flag unknown to us changes nothing.
"""

import re
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from slurm_powersave.adapters.process import Completed
from slurm_powersave.model.errors import SlurmError
from slurm_powersave.model.hostlist import expand_any, fold
from slurm_powersave.model.nodes import NodeFacts, SlurmJob, SlurmNode, SlurmSnapshot, SlurmStart

Shell = Callable[[Sequence[str], float], Completed]
"""Runs argv on the slurmctld host within a number of seconds."""

_TIME = "%Y-%m-%dT%H:%M:%S"
_STANDARD = "SLURM_TIME_FORMAT=standard"
_BEGAN = f"date +{_TIME} && {_STANDARD} scontrol show config"
_STARTED = ("env", _STANDARD, "squeue", "-h", "-a", "-t", "RUNNING", "-o", "%S %B")
_START = re.compile(r"^(BOOT_TIME|BatchStartTimeout|MessageTimeout)\s*= (\S+)", re.MULTILINE)
_MARK = "==jobs=="
SQUEUE = "squeue -h -a -o '%A|%T|%N|%r'"
_FIELD = re.compile(r"(?:^| )(NodeName|CPUTot|RealMemory|State|BootTime|Reason|Comment)=")
_REASON_WHO = re.compile(r" \[([^\]@]*)@[^\]]*\]$")


class ScontrolSlurm:
    """Implements ports.Slurm."""

    def __init__(self, shell: Shell, *, timeout: float = 10.0) -> None:
        self._shell = shell
        self._timeout = timeout

    def snapshot(self, nodes: Sequence[str] = (), jobs: Sequence[int] = ()) -> SlurmSnapshot:
        """Read these nodes, the jobs on them, and these jobs; all nodes and jobs if none are named.

        An event's cost must not grow with the cluster, so the engine names what it waits for.

        Raises:
            SlurmError: no answer in time, or an incomplete one.
        """
        taken = time.time()
        out = self._run(["sh", "-c", _snapshot_script(nodes, jobs)], "read nodes and jobs")
        parts = out.split(_MARK)
        if len(parts) != 3:
            raise SlurmError("incomplete answer of scontrol and squeue", where="slurmctld")
        found = {node.name: node for node in map(parse_node, parts[0].splitlines()) if node}
        queue = {job.id: job for job in map(parse_job, parts[1].splitlines()) if job}
        return SlurmSnapshot(taken, found, tuple(queue.values()))

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
        return frozenset(expand_any(re.sub(r":\d+(?=,|$)", "", value[1])) if value else ())

    def update_job(self, job: int, **fields: str) -> None:
        """Run `scontrol update` for a job."""
        self._run(
            ["scontrol", "update", f"jobid={job}", *(f"{key}={value}" for key, value in fields.items())],
            f"update job {job}",
        )

    def version(self) -> str:
        """Return Slurm's version, for example 22.05.8."""
        return self._run(["scontrol", "--version"], "tell its version").split()[-1]

    def last_start(self) -> SlurmStart:
        """Run `date` and `scontrol show config`: both tell the local time of slurmctld's host."""
        out = self._run(["sh", "-c", _BEGAN], "tell when it began")
        now, _, config = out.partition("\n")
        found = dict(_START.findall(config))
        try:
            at, read = (datetime.strptime(text.strip(), _TIME) for text in (found["BOOT_TIME"], now))
            # As in src/slurmctld/job_mgr.c, _purge_missing_jobs.
            patience = int(found["BatchStartTimeout"]) + min(int(found["MessageTimeout"]), 10)
        except (KeyError, ValueError) as error:
            raise SlurmError("Slurm does not tell when it began", where="slurmctld", why=str(error)) from None
        return SlurmStart(at, (read - at).total_seconds(), patience)

    def started_on(self, first: datetime, last: datetime) -> frozenset[str]:
        """Run `squeue` for all running jobs."""
        out = self._run(_STARTED, "read running jobs")
        begun = [line.split() for line in out.splitlines()]
        span = first.strftime(_TIME), last.strftime(_TIME)
        return frozenset(words[1] for words in begun if len(words) == 2 and span[0] <= words[0] <= span[1])

    def _run(self, argv: Sequence[str], what: str) -> str:
        done = self._shell(argv, self._timeout)
        # `scontrol` answers some bad input with exit code 0 and its complaint on stderr.
        if done.rc != 0 or done.err.startswith(("slurm_", "scontrol: error", "error")):
            raise SlurmError(
                f"Slurm could not {what}",
                where="slurmctld",
                why=(done.err or done.out).strip()[-300:] or f"exit code {done.rc}",
            )
        return done.out


def _snapshot_script(nodes: Sequence[str], jobs: Sequence[int]) -> str:
    """All readings in one command: one round trip, and as close to one moment as Slurm allows."""
    if not nodes and not jobs:
        show, queues = "scontrol -o show node", [SQUEUE]
    else:
        expression = shlex.quote(fold(nodes)) if nodes else ""
        # A name that slurmctld does not know yet fails the whole call: then all nodes are read.
        named = f"{{ scontrol -o show node {expression} 2>/dev/null || scontrol -o show node; }}"
        show = named if nodes else ":"
        queues = [f"{SQUEUE} -w {expression}"] if nodes else []
        # A job that slurmctld has forgotten is an error to squeue, but not to us.
        queues += [f"{{ {SQUEUE} -j {','.join(map(str, jobs))} 2>/dev/null || :; }}"] if jobs else []
    return f"{show} || exit; echo {_MARK}; {' && '.join(queues)} || exit 1; echo {_MARK}"


def parse_node(line: str) -> SlurmNode | None:
    """Read a line of `scontrol -o show node`; None for a line that is none."""
    fields: dict[str, str] = {}
    for match in _FIELD.finditer(line):
        # The first of a name counts: what people wrote (Reason, Comment, Extra) stands behind the state.
        fields.setdefault(match.group(1), line[match.end() :].strip())
    if "NodeName" not in fields or "State" not in fields:
        return None
    # Behind the state of Slurm >= 23.11 may stand more words; the marks of `sinfo` (~ # *) do not occur here.
    flags = frozenset(fields["State"].partition(" ")[0].split("+"))
    # The field behind Reason on the same line would be Comment, which scontrol prints last.
    reason = re.split(r" (?:Comment|Extra|InstanceId|InstanceType)=", fields.get("Reason", ""))[0]
    who = _REASON_WHO.search(reason)
    return SlurmNode(
        fields["NodeName"].partition(" ")[0],
        flags,
        reason[: who.start()] if who else reason,
        who.group(1) if who else "",
        _boot_time(fields.get("BootTime", "None")),
        fields.get("Comment", ""),
        _promised(fields),
    )


def _promised(fields: Mapping[str, str]) -> NodeFacts | None:
    """What slurm.conf says; a larger node that registers does not change it (measured on 22.05.8)."""
    cpus, memory = (fields.get(name, "").partition(" ")[0] for name in ("CPUTot", "RealMemory"))
    return NodeFacts(int(cpus), int(memory)) if cpus.isdigit() and memory.isdigit() else None


def _boot_time(text: str) -> float | None:
    try:
        return time.mktime(time.strptime(text.split()[0], "%Y-%m-%dT%H:%M:%S"))
    except (ValueError, IndexError):
        return None


def parse_job(line: str) -> SlurmJob | None:
    """Read a line of our squeue format."""
    parts = line.split("|")
    if len(parts) != 4 or not parts[0].isdigit():
        return None
    return SlurmJob(int(parts[0]), parts[1], expand_any(parts[2]) if parts[2] else (), parts[3])


def local_shell(run: Callable[..., Completed]) -> Shell:
    """Run on this host."""
    return lambda argv, timeout: run(argv, timeout=timeout)


def ssh_shell(run: Callable[..., Completed], ssh: Sequence[str], become: str = "") -> Shell:
    """Run through ssh; `become` is a prefix such as `sudo -n`."""

    def shell(argv: Sequence[str], timeout: float) -> Completed:
        return run([*ssh, "--", f"{become} {shlex.join(argv)}".strip()], timeout=timeout)

    return shell
