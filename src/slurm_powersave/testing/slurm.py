"""A Slurm in memory: node states, power saving and its hooks, as measured on three versions.

What it knows of Slurm is what the contract test shows on the real one (tests/contract/slurm_cases.py).
"""

import itertools
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass, field, replace
from datetime import datetime

from slurm_powersave.model.errors import SlurmError
from slurm_powersave.model.job_note import JobNote
from slurm_powersave.model.modes import Mode
from slurm_powersave.model.nodes import NodeFacts, SlurmJob, SlurmNode, SlurmSnapshot, SlurmStart
from slurm_powersave.model.permit import Permit, use_for_state
from slurm_powersave.model.slurm_version import Version
from slurm_powersave.model.slurm_versions import Difference, has
from slurm_powersave.testing import slurm_reboot, slurm_resume, slurm_times
from slurm_powersave.testing.cloud import MemoryClock
from slurm_powersave.testing.slurm_reboot import REBOOT, ROOT, SLURM, Reboot

Hook = Callable[[Mode, str], None]
"""What slurmctld calls: the mode and the hostlist expression."""

_POWER = {"POWERING_UP", "POWER_DOWN", "POWERING_DOWN", "POWERED_DOWN", "NOT_RESPONDING"}
_BY_HAND = Reboot(asap=True, nextstate="RESUME")
"""For a node whose flags a test has set."""


@dataclass
class MemorySlurm:
    """Implements ports.Slurm. `tick` does what slurmctld does by its timers."""

    clock: MemoryClock
    names: Sequence[str]
    hook: Hook
    suspend_timeout: float = 20.0
    resume_timeout: float = 600.0
    unreachable: str = ""
    unreadable: set[str] = field(default_factory=set)
    """Nodes about which the answers make no sense: known to Slurm, and in no reading."""
    answers: Callable[[str], bool] = lambda name: True
    """Whether a node's slurmd runs."""
    refusals: dict[str, str] = field(default_factory=dict)
    """Node -> why its registrations are refused; a blank: 24.11.5 over a reason that was cleared with one."""
    configured: NodeFacts | None = None
    """What slurm.conf says of every node."""
    version: str = "22.05.8"
    """Of the slurmctld that runs."""
    read: int = 0
    """How many nodes were read so far: what an event costs."""
    jobs: dict[int, SlurmJob] = field(default_factory=dict)
    protected: frozenset[str] = frozenset()
    """SuspendExcNodes."""
    began: float = -1e6
    """When slurmctld was started."""
    lost: frozenset[int] = frozenset()
    """Jobs that are RUNNING, and their scripts were never sent."""
    comments: dict[int, dict[str, str]] = field(default_factory=dict)
    """What was written to a job: field -> text."""
    _started: dict[int, float] = field(default_factory=dict)
    _nodes: dict[str, SlurmNode] = field(default_factory=dict)
    _since: dict[str, float] = field(default_factory=dict)
    _reboots: dict[str, Reboot] = field(default_factory=dict)
    _numbers: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    def __post_init__(self) -> None:
        self._nodes |= {name: self._off(name) for name in self.names}

    def submit(self, *nodes: str, reboot: bool = False) -> int:
        """Give a job its nodes; those that are off are resumed, with `sbatch --reboot` all of them."""
        job = next(self._numbers)
        self.jobs[job] = SlurmJob(job, "CONFIGURING", nodes)
        off = [name for name in nodes if reboot or self._nodes[name].has("POWERED_DOWN")]
        for name in nodes:
            self._set(name, add={"ALLOCATED"}, drop={"IDLE"})
        self.power_up(*off)
        return job

    def start(self, job: int) -> None:
        """Let a job go whose nodes are up."""
        self.jobs[job] = replace(self.jobs[job], state="RUNNING")
        self._started[job] = self.clock.now()

    def restart(self, *lost: int) -> None:
        """Restart slurmctld; it has not sent the scripts of these jobs."""
        self.began, self.lost = self.clock.now(), frozenset(lost)

    def end(self, job: int) -> None:
        """End a job; its nodes are idle."""
        for name in self.jobs.pop(job).nodes:
            self._set(name, add={"IDLE"}, drop={"ALLOCATED"})

    def suspend(self, *nodes: str) -> None:
        """Power idle nodes down, as SuspendTime does."""
        for name in nodes:
            self._set(name, add={"POWERING_DOWN"}, drop={"POWERING_UP"})
        self.hook(Mode.SUSPEND, ",".join(nodes))

    def register(self, name: str, *, booted: bool = True) -> None:
        """A slurmd has registered, after a boot or not.

        Where Slurm waits for a boot nothing else counts; where it does not, it minds one (ReturnToService=1).
        One that is refused ends the waiting, too (validate_node_specs in Slurm's src/slurmctld/node_mgr.c).
        """
        node = self._nodes[name]
        if node.has("POWERING_DOWN"):
            return
        if node.has("POWERING_UP", "REBOOT_ISSUED"):
            if not booted:
                return
            if node.has("REBOOT_ISSUED"):
                request = self._reboots.pop(name, _BY_HAND)
                self.put(slurm_reboot.booted(node, request, Version.of(self.version)))
        else:
            if node.has("POWERED_DOWN"):
                self._say(name, "")
            if booted:
                self.requeue(name)
                self._set(name, add={"DOWN"}, drop={"IDLE"})
                if not self._nodes[name].reason:
                    self._say(name, "Node unexpectedly rebooted", SLURM)
            elif node.has("DOWN") and node.reason == "Not responding":
                self._set(name, add={"IDLE"}, drop={"DOWN"})
                self._say(name, "")
        self._set(name, drop=_POWER | {"INVALID_REG"})
        if why := self.refusals.get(name):
            self._refuse(name, why)

    def _refuse(self, name: str, why: str) -> None:
        """Drain the node, and say why, where no administrator has done so before; its job is requeued."""
        self.requeue(name)
        if not self._nodes[name].has("DRAIN", "DOWN", "FAIL"):
            self._set(name, add={"DRAIN"})
            self._say(name, why.strip(), SLURM)
        self._set(name, add={"INVALID_REG"})

    def scontrol_reboot(self, *nodes: str, asap: bool = False, nextstate: str = "", reason: str = "") -> None:
        """Do what scontrol reboot does."""
        for name in nodes:
            node = self._nodes[name]
            if slurm_reboot.may_be_asked(node):
                self._reboots[name] = Reboot(asap, nextstate, node.has("DRAIN"))
                self.put(slurm_reboot.asked(node, self._reboots[name], reason))

    def cancel_reboot(self, *nodes: str) -> None:
        """Do what scontrol cancel_reboot does."""
        for name in nodes:
            if self._nodes[name].has("REBOOT_ISSUED"):
                raise SlurmError("Invalid node state specified")
            self.put(slurm_reboot.cancelled(self._nodes[name], self._reboots.pop(name, _BY_HAND)))

    def reconfigure(self) -> None:
        """Do what scontrol reconfigure does: 22.05 forgets who gave a reason, and every nextstate."""
        for name, node in self._nodes.items():
            self._nodes[name] = replace(node, reason_by=ROOT if node.reason else "")
        self._reboots = {name: request.forgotten() for name, request in self._reboots.items()}

    def node(self, name: str) -> SlurmNode:
        """Look at a node without going through the port."""
        return self._nodes[name]

    def known(self) -> frozenset[str]:
        """Name the nodes of slurm.conf, without going through the port."""
        return frozenset(self._nodes)

    def remove(self, name: str) -> SlurmNode:
        """Take a node out of slurm.conf; return what it was."""
        return self._nodes.pop(name)

    def set_flags(self, name: str, *flags: str, reason: str = "") -> None:
        """Set a node's state as somebody else would."""
        by = ROOT if reason else ""
        self._nodes[name] = replace(self._off(name), flags=frozenset(flags), reason=reason, reason_by=by)

    def configure(self, names: Sequence[str], protected: Sequence[str]) -> None:
        """Restart with another slurm.conf: what stays keeps its state."""
        self._nodes = {
            one: replace(self._nodes.get(one, self._off(one)), configured=self.configured) for one in names
        }
        self.protected = frozenset(protected)

    def tick(self) -> None:
        """Let the timers run out that have run out."""
        now = self.clock.now()
        forced, failed, rebooted = [], [], []
        for name, node in list(self._nodes.items()):
            age = now - self._since.get(name, now)
            if node.has("POWER_DOWN") and age >= slurm_times.FORCE:
                # A DRAIN that was set before this moment is wiped; with idle_on_node_suspend a DOWN, too, and
                # its reason stays (26.05.5 and 22.05.8, measured).
                gone = {"POWER_DOWN", "POWERING_UP", "POWERED_DOWN", "NOT_RESPONDING", "DRAIN"}
                base = set()
                if not node.has("DOWN"):
                    self._say(name, "")
                elif self._has(Difference.SUSPEND_EXC_STATES):
                    gone, base = gone | {"DOWN"}, {"IDLE"}
                self._set(name, add={"POWERING_DOWN", *base}, drop=gone)
                forced.append(name)
            elif node.has("POWERING_DOWN") and age >= self.suspend_timeout:
                self._set(name, add={"POWERED_DOWN"}, drop={"POWERING_DOWN", "INVALID_REG"})
            elif node.has("POWERING_UP") and age >= self.resume_timeout:
                self.requeue(name)
                self._say(name, "ResumeTimeout reached", SLURM)
                self._set(name, add={"DOWN", "POWERED_DOWN"}, drop={"POWERING_UP", "IDLE", "ALLOCATED"})
                failed.append(name)
            elif slurm_reboot.is_due(node) and age >= slurm_times.ISSUE:
                self._reboots[name] = replace(self._reboots.get(name, _BY_HAND), issued=now)
                self.put(slurm_reboot.issued(node))
                rebooted.append(name)
            elif node.has("REBOOT_ISSUED") and self._waited(name) >= self.resume_timeout:
                self.put(slurm_reboot.timed_out(node))
            elif self._silent(node) and age >= slurm_times.PING and self.answers(name):
                self._set(name, drop={"NOT_RESPONDING"})
        if forced:
            self.hook(Mode.SUSPEND, ",".join(forced))
        if failed:
            self.hook(Mode.RESUME_FAIL, ",".join(failed))
        if rebooted:
            self.hook(Mode.REBOOT, ",".join(rebooted))

    # ports.Slurm

    def snapshot(self, nodes: Sequence[str] = (), jobs: Sequence[int] = ()) -> SlurmSnapshot:
        """Read these nodes and the jobs on them; all if none are named."""
        self._check()
        self.read += len(nodes) or len(self._nodes)
        every = not nodes and not jobs
        known = [name for name in nodes if name in self._nodes]
        wanted = dict(self._nodes) if every else {name: self._nodes[name] for name in known}
        found = [
            job
            for job in self.jobs.values()
            if every or job.id in jobs or not wanted.keys().isdisjoint(job.nodes)
        ]
        unread = frozenset(self.unreadable & wanted.keys())
        read = {name: node for name, node in wanted.items() if name not in unread}
        return SlurmSnapshot(self.clock.now(), read, tuple(found), unread)

    def running_version(self) -> Version:
        """Return the version."""
        self._check()
        return Version.of(self.version)

    def power_timers(self) -> dict[str, int]:
        """Return the timeouts."""
        return {"ResumeTimeout": int(self.resume_timeout), "SuspendTimeout": int(self.suspend_timeout)}

    def suspend_exc_nodes(self) -> frozenset[str]:
        """Return the protected nodes."""
        self._check()
        return self.protected

    def update_nodes(
        self,
        nodes: Sequence[str],
        *,
        state: str = "",
        reason: str = "",
        comment: str | None = None,
        permits: Sequence[Permit] = (),
    ) -> None:
        """Do what scontrol update does to nodes; one that refuses does not keep it from the others."""
        use_for_state(permits, state, nodes)
        self._check(nodes)
        if state in ("DRAIN", "DOWN", "FAIL") and not reason:
            raise SlurmError("You must specify a reason when DOWNING or DRAINING a node. Request denied")
        refused = False
        for name in nodes:
            if comment is not None:
                self.put(replace(self._nodes[name], comment=comment))
            if reason and state != "RESUME":
                self._say(name, reason.strip(), ROOT)
            if state == "RESUME":
                refused |= not self.resume(name)
            else:
                self._update(name, state)
        if refused:
            raise SlurmError("Invalid node state specified")

    def reboot(self, nodes: Sequence[str], *, reason: str = "", admin_state: str = "") -> None:
        """Ask for a reboot; `admin_state` DRAIN is kept by a plain one, DOWN by nextstate=DOWN."""
        self._check(nodes)
        if admin_state:
            down = admin_state == "DOWN"
            self.scontrol_reboot(*nodes, nextstate="DOWN" if down else "", reason=reason if down else "")
        else:
            self.scontrol_reboot(*nodes, asap=True, nextstate="RESUME", reason=reason)

    def update_job(self, job: int, **fields: str) -> None:
        """Do what scontrol update does to a job."""
        self._check(job=job)
        self.comments.setdefault(job, {}).update(fields)
        if fields.get("StartTime") == "now" and self.jobs[job].reason == "BeginTime":
            self.jobs[job] = replace(self.jobs[job], reason="Resources")

    def job_note(self, job: int) -> JobNote:
        """Return a job's state and what was written to it."""
        self._check(job=job)
        return JobNote(self.jobs[job].state, self.comments.get(job, {}).get("AdminComment", ""))

    def last_start(self) -> SlurmStart:
        """Return when slurmctld was started."""
        self._check()
        return SlurmStart(slurm_times.date(self.began), self.clock.now() - self.began, slurm_times.PATIENCE)

    def started_on(self, first: datetime, last: datetime) -> frozenset[str]:
        """Return the first nodes of the jobs that were let go between these moments."""
        self._check()
        begun = [job for job, at in self._started.items() if first <= slurm_times.date(at) <= last]
        running = [self.jobs[job] for job in begun if job in self.jobs and self.jobs[job].state == "RUNNING"]
        return frozenset(job.nodes[0] for job in running)

    def _check(self, nodes: Sequence[str] = (), job: int | None = None) -> None:
        if self.unreachable:
            raise SlurmError(self.unreachable)
        if job is not None and job not in self.jobs:
            raise SlurmError("Invalid job id specified")
        if unknown := [name for name in nodes if name not in self._nodes]:
            raise SlurmError(f"Invalid node name specified: {unknown[0]}")

    def _update(self, name: str, state: str) -> None:
        if state == "POWER_UP" and self._nodes[name].has("POWERED_DOWN"):
            self.power_up(name)
        elif state in ("POWER_DOWN", "POWER_DOWN_FORCE") and not self._nodes[name].has("POWERING_DOWN"):
            self.requeue(name)
            if self._nodes[name].has(*REBOOT):
                # All of it is forgotten; the DRAIN goes with POWERING_DOWN.
                self._set(name, add={"IDLE"}, drop={"DOWN", *REBOOT})
                self._say(name, "")
            self._set(name, add={"POWER_DOWN"}, drop={"POWERED_DOWN"})
        elif state == "DRAIN":
            if self._nodes[name].has("POWERING_UP"):
                self.requeue(name)
            self._set(name, add={"DRAIN"})
        elif state == "UNDRAIN":
            self._undrain(name)
        elif state == "DOWN":
            self.requeue(name)
            self._set(name, add={"DOWN"}, drop={"IDLE"})

    def _undrain(self, name: str) -> None:
        """Let the node register anew: Slurm sees whose script it does not run."""
        self._set(name, add={"NOT_RESPONDING"}, drop={"DRAIN"})
        missed = any(name in self.jobs[job].nodes for job in self.lost)
        if missed and self.clock.now() - self.began > slurm_times.PATIENCE:
            self.lost = frozenset()
            self.requeue(name)

    def resume(self, name: str) -> bool:
        """Do what `scontrol update State=RESUME` does to a node; return False if Slurm refuses it."""
        if resumed := slurm_resume.resumed(self._nodes[name], Version.of(self.version)):
            self.put(resumed)
        return resumed is not None

    def _has(self, difference: Difference) -> bool:
        return has(Version.of(self.version), difference)

    def _silent(self, node: SlurmNode) -> bool:
        return node.has("NOT_RESPONDING") and not node.has("POWERED_DOWN", "POWERING_UP", "DOWN")

    def _waited(self, name: str) -> float:
        return self.clock.now() - self._reboots.get(name, _BY_HAND).issued

    def _say(self, name: str, reason: str, by: str = "") -> None:
        self.put(replace(self._nodes[name], reason=reason, reason_by=by))

    def power_up(self, *names: str) -> None:
        """Power nodes up and call ResumeProgram, as for a job or for `scontrol update State=POWER_UP`."""
        for name in names:
            self._set(name, add={"POWERING_UP", "NOT_RESPONDING"}, drop={"POWERED_DOWN"})
            if self._nodes[name].has("DRAIN") and self._has(Difference.POWER_UP_TAKES_REASON):
                self._say(name, "")
        if names:
            self.hook(Mode.RESUME, ",".join(names))

    def requeue(self, name: str) -> None:
        """Put the jobs of a node back into the queue; all their nodes are idle then."""
        for number, job in list(self.jobs.items()):
            if name in job.nodes:
                self.jobs[number] = replace(job, state="PENDING", nodes=(), reason="BeginTime")
                for other in job.nodes:
                    self._set(other, add={"IDLE"}, drop={"ALLOCATED"})

    def _off(self, name: str) -> SlurmNode:
        return SlurmNode(name, frozenset({"IDLE", "CLOUD", "POWERED_DOWN"}), configured=self.configured)

    def _set(self, name: str, *, add: Set[str] = frozenset(), drop: Set[str] = frozenset()) -> None:
        node = self._nodes[name]
        self.put(replace(node, flags=frozenset((node.flags - drop) | add)))

    def put(self, node: SlurmNode) -> None:
        """Change a node as somebody else would; one that was removed is in slurm.conf again."""
        if node.name not in self._nodes or node.flags != self._nodes[node.name].flags:
            self._since[node.name] = self.clock.now()
        self._nodes[node.name] = node
