"""A Slurm in memory: node states, power saving and its hooks, as measured on 22.05.8.

What it knows of Slurm is what the contract test shows on the real one (tests/contract/slurm_cases.py).
"""

import itertools
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass, field, replace

from slurm_powersave.model.errors import SlurmError
from slurm_powersave.model.modes import Mode
from slurm_powersave.model.nodes import SlurmJob, SlurmNode, SlurmSnapshot
from slurm_powersave.testing.cloud import MemoryClock

Hook = Callable[[Mode, str], None]
"""What slurmctld calls: the mode and the hostlist expression."""

_POWER = {"POWERING_UP", "POWER_DOWN", "POWERING_DOWN", "POWERED_DOWN", "NOT_RESPONDING"}
_FORCE_SECONDS = 0.7
"""From POWER_DOWN_FORCE to POWERING_DOWN and the hook call (measured 0.6 to 1 s)."""


@dataclass
class MemorySlurm:
    """Implements ports.Slurm. `tick` does what slurmctld does by its timers."""

    clock: MemoryClock
    names: Sequence[str]
    hook: Hook
    suspend_timeout: float = 20.0
    resume_timeout: float = 600.0
    unreachable: str = ""
    read: int = 0
    """How many nodes were read so far: what an event costs."""
    jobs: dict[int, SlurmJob] = field(default_factory=dict)
    protected: frozenset[str] = frozenset()
    """SuspendExcNodes."""
    comments: dict[int, dict[str, str]] = field(default_factory=dict)
    """What was written to a job: field -> text."""
    _nodes: dict[str, SlurmNode] = field(default_factory=dict)
    _since: dict[str, float] = field(default_factory=dict)
    _numbers: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    def __post_init__(self) -> None:
        for name in self.names:
            self._nodes[name] = SlurmNode(name, frozenset({"IDLE", "CLOUD", "POWERED_DOWN"}))

    # What a test does

    def submit(self, *nodes: str) -> int:
        """Give a job its nodes; those that are off are resumed."""
        job = next(self._numbers)
        self.jobs[job] = SlurmJob(job, "CONFIGURING", nodes)
        off = [name for name in nodes if self._nodes[name].has("POWERED_DOWN")]
        for name in nodes:
            self._set(name, add={"ALLOCATED"}, drop={"IDLE"})
        self._power_up(off)
        return job

    def end(self, job: int) -> None:
        """End a job; its nodes are idle."""
        for name in self.jobs.pop(job).nodes:
            self._set(name, add={"IDLE"}, drop={"ALLOCATED"})

    def suspend(self, *nodes: str) -> None:
        """Power idle nodes down, as SuspendTime does."""
        for name in nodes:
            self._set(name, add={"POWERING_DOWN"}, drop={"POWERING_UP"})
        self.hook(Mode.SUSPEND, ",".join(nodes))

    def register(self, name: str) -> None:
        """A slurmd has registered."""
        if self._nodes[name].has("REBOOT_ISSUED"):
            self._set(name, add={"IDLE"}, drop={"REBOOT_ISSUED", "DOWN", "DRAIN"})
        self._set(name, drop=_POWER)

    def node(self, name: str) -> SlurmNode:
        """Look at a node without going through the port."""
        return self._nodes[name]

    def set_flags(self, name: str, *flags: str, reason: str = "") -> None:
        """Set a node's state as somebody else would."""
        self._nodes[name] = SlurmNode(name, frozenset(flags), reason)

    def configure(self, names: Sequence[str], protected: Sequence[str]) -> None:
        """Restart with another slurm.conf: what stays keeps its state."""
        off = frozenset({"IDLE", "CLOUD", "POWERED_DOWN"})
        self._nodes = {name: self._nodes.get(name, SlurmNode(name, off)) for name in names}
        self.protected = frozenset(protected)

    def tick(self) -> None:
        """Let the timers run out that have run out."""
        now = self.clock.now()
        forced, failed, issued = [], [], []
        for name, node in list(self._nodes.items()):
            age = now - self._since.get(name, now)
            if node.has("POWER_DOWN") and age >= _FORCE_SECONDS:
                # A DRAIN that was set before this moment is wiped.
                self._nodes[name] = replace(node, reason="")
                self._set(
                    name, add={"POWERING_DOWN"}, drop={"POWER_DOWN", "POWERING_UP", "DRAIN", "NOT_RESPONDING"}
                )
                forced.append(name)
            elif node.has("POWERING_DOWN") and age >= self.suspend_timeout:
                self._set(name, add={"POWERED_DOWN"}, drop={"POWERING_DOWN"})
            elif node.has("REBOOT_REQUESTED") and not node.has("ALLOCATED", "MIXED", "COMPLETING"):
                self._nodes[name] = replace(node, reason=f"{node.reason} : reboot issued", reason_by="slurm")
                self._set(name, add={"DOWN", "REBOOT_ISSUED"}, drop={"REBOOT_REQUESTED", "IDLE"})
                issued.append(name)
            elif node.has("POWERING_UP") and age >= self.resume_timeout:
                self._requeue(name)
                self._nodes[name] = replace(node, reason="ResumeTimeout reached", reason_by="slurm")
                self._set(name, add={"DOWN", "POWERED_DOWN"}, drop={"POWERING_UP", "IDLE", "ALLOCATED"})
                failed.append(name)
        if forced:
            self.hook(Mode.SUSPEND, ",".join(forced))
        if failed:
            self.hook(Mode.RESUME_FAIL, ",".join(failed))
        if issued:
            self.hook(Mode.REBOOT, ",".join(issued))

    # ports.Slurm

    def snapshot(self, nodes: Sequence[str] = (), jobs: Sequence[int] = ()) -> SlurmSnapshot:
        """Read these nodes and the jobs on them; all if none are named."""
        self._check()
        self.read += len(nodes) or len(self._nodes)
        every = not nodes and not jobs
        wanted = dict(self._nodes) if every else {name: self._nodes[name] for name in nodes}
        found = [
            job
            for job in self.jobs.values()
            if every or job.id in jobs or not wanted.keys().isdisjoint(job.nodes)
        ]
        return SlurmSnapshot(self.clock.now(), wanted, tuple(found))

    def suspend_exc_nodes(self) -> frozenset[str]:
        """Return the protected nodes."""
        self._check()
        return self.protected

    def reboot(self, nodes: Sequence[str], *, reason: str = "") -> None:
        """Do what scontrol reboot does."""
        self._check()
        for name in nodes:
            node = self._nodes[name]
            if node.has("POWERED_DOWN", "POWERING_DOWN", "POWER_DOWN", "REBOOT_REQUESTED", "REBOOT_ISSUED"):
                continue
            add = {"REBOOT_REQUESTED"} | ({"DRAIN"} if reason else set())
            self._nodes[name] = replace(node, reason=reason or node.reason)
            self._set(name, add=add)

    def update_nodes(
        self, nodes: Sequence[str], *, state: str = "", reason: str = "", comment: str | None = None
    ) -> None:
        """Do what scontrol update does to nodes."""
        self._check()
        if unknown := [name for name in nodes if name not in self._nodes]:
            raise SlurmError(f"Invalid node name specified: {unknown[0]}")
        for name in nodes:
            if comment is not None:
                self._nodes[name] = replace(self._nodes[name], comment=comment)
            node = self._nodes[name]
            if state == "POWER_UP" and node.has("POWERED_DOWN"):
                self._power_up([name])
            elif state in ("POWER_DOWN", "POWER_DOWN_FORCE") and not node.has("POWERING_DOWN"):
                self._requeue(name)
                self._set(name, add={"POWER_DOWN"}, drop={"POWERED_DOWN"})
            elif state == "DRAIN":
                self._set(name, add={"DRAIN"})
                self._nodes[name] = replace(self._nodes[name], reason=reason)
            elif state == "RESUME":
                self._resume(name)

    def update_job(self, job: int, **fields: str) -> None:
        """Do what scontrol update does to a job."""
        self._check()
        if job not in self.jobs:
            raise SlurmError("Invalid job id specified")
        self.comments.setdefault(job, {}).update(fields)
        if fields.get("StartTime") == "now" and self.jobs[job].reason == "BeginTime":
            self.jobs[job] = replace(self.jobs[job], reason="Resources")

    def _check(self) -> None:
        if self.unreachable:
            raise SlurmError(self.unreachable)

    def _resume(self, name: str) -> None:
        node = self._nodes[name]
        if node.has("POWERING_UP", "POWER_DOWN"):
            raise SlurmError("Invalid node state specified")
        if node.has("POWERING_DOWN"):
            extra = {"NOT_RESPONDING"} if node.has("DRAIN") else set()
            self._set(name, add={"POWERED_DOWN"} | extra, drop={"POWERING_DOWN", "DRAIN"})
        elif node.has("DOWN", "DRAIN", "REBOOT_ISSUED"):
            extra = {"IDLE", "NOT_RESPONDING"} if node.has("POWERED_DOWN") else {"IDLE"}
            self._set(name, add=extra, drop={"DOWN", "DRAIN", "REBOOT_ISSUED"})
        self._nodes[name] = replace(self._nodes[name], reason="")

    def _power_up(self, names: Sequence[str]) -> None:
        for name in names:
            self._set(name, add={"POWERING_UP"}, drop={"POWERED_DOWN", "NOT_RESPONDING"})
        if names:
            self.hook(Mode.RESUME, ",".join(names))

    def _requeue(self, name: str) -> None:
        for number, job in list(self.jobs.items()):
            if name in job.nodes:
                self.jobs[number] = replace(job, state="PENDING", nodes=(), reason="BeginTime")
                for other in job.nodes:
                    self._set(other, add={"IDLE"}, drop={"ALLOCATED"})

    def _set(self, name: str, *, add: Set[str] = frozenset(), drop: Set[str] = frozenset()) -> None:
        node = self._nodes[name]
        flags = (node.flags - drop) | add
        if flags != node.flags:
            self._since[name] = self.clock.now()
        self._nodes[name] = replace(node, flags=frozenset(flags))
