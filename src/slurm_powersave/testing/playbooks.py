"""Ansible in memory: nodes are configured in their own time, and register with Slurm."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from slurm_powersave.decide.node.host_keys import Pin, believed, keys_of
from slurm_powersave.model.errors import FailureClass
from slurm_powersave.model.nodes import Failure, NodeProgress, NodeSpec, RunRecord, RunResult
from slurm_powersave.testing.cloud import MemoryClock
from slurm_powersave.testing.terraform import MemoryRun, run_record


@dataclass
class MemoryPlaybooks:
    """Implements ports.Playbooks; a configured node registers with Slurm."""

    clock: MemoryClock
    register: Callable[[NodeSpec], None]
    boots: Callable[[NodeSpec], bool]
    boot_id: Callable[[str], str] = lambda name: ""
    host_key: Callable[[str], str] = lambda name: ""
    """Node -> the key that its sshd has; empty: whatever is given is right."""
    pins: dict[str, Pin] = field(default_factory=dict)
    """Node -> what is recorded of it."""
    seconds: float = 2.0
    faults: dict[str, str] = field(default_factory=dict)
    """Node -> what Ansible says of it."""
    runs: dict[str, MemoryRun] = field(default_factory=dict)
    hangs: set[str] = field(default_factory=set)
    """Nodes whose part of a play never ends; the others of the play are done in their time."""
    steps: dict[str, bool | None] = field(default_factory=dict)
    """Node -> whether it says that a job runs there."""
    hardware: dict[str, str] = field(default_factory=dict)
    """Node -> what its slurmd says of its hardware."""
    blind: bool = False
    """Whether this host can't ask any node over SSH."""

    def configure(
        self,
        nodes: Sequence[NodeSpec],
        host_keys: Mapping[str, str],
        boot_ids: Mapping[str, str] | None = None,
        disks: Mapping[str, str] | None = None,
    ) -> MemoryRun:
        """Configure the nodes, each in its own time; one whose sshd has another key than recorded fails."""
        run = MemoryRun(run_record("configure"), self.clock, self.clock.now() + self.seconds)
        good = []
        if self.hangs & {node.name for node in nodes}:
            run.ends = math.inf
            by_name = {node.name: node for node in nodes}
            run.at_news = lambda news: self.register(by_name[news.node]) if news.ok else None
        for node in nodes:
            if node.name in self.hangs:
                continue
            boot = self.boot_id(node.name)
            text = self.faults.get(node.name) or self._unknown(node, host_keys, disks or {})
            if boot and boot == (boot_ids or {}).get(node.name):
                text = "it has not booted anew"
            failure = Failure(FailureClass.NODE_LOCAL, text) if text else None
            good += [] if text else [node]
            hardware = self.hardware.get(node.name, "")
            news = NodeProgress(node.name, not text, failure=failure, boot_id=boot, hardware=hardware)
            run.events.append((self.clock.now() + self.seconds, news))

        def end() -> RunResult:
            for node in good:
                self.register(node)
            return RunResult(True)

        run.at_end = end
        self.runs[run.record.id] = run
        return run

    def _unknown(self, node: NodeSpec, host_keys: Mapping[str, str], disks: Mapping[str, str]) -> str | None:
        disk, given = disks.get(node.name, ""), host_keys.get(node.name, "")
        if given and not believed(self.pin(node), disk, kept=False):
            self.pins[node.name] = Pin(keys_of(given), disk)
        pin, real = self.pin(node), self.host_key(node.name)
        return (
            None if not real or (pin and real in pin.keys) else "unreachable: Host key verification failed."
        )

    def pin(self, node: NodeSpec) -> Pin | None:
        """Return what is recorded of a node."""
        return self.pins.get(node.name)

    def reattach(self, record: RunRecord) -> MemoryRun:
        """Take up a run; its events come again, unless its output was removed."""
        run = self.runs[record.id]
        if run.forgotten:
            killed = RunResult(False, "the play was killed before its end")
            return MemoryRun(record, self.clock, 0.0, at_end=lambda: killed)
        run._seen = 0
        return run

    def forget(self, record: RunRecord) -> None:
        """Remove what the run has said."""
        self.runs[record.id].forgotten = True

    def reachable(self, node: NodeSpec) -> bool:
        """Tell whether the node has booted."""
        return self.boots(node)

    def answers_ssh(self, node: NodeSpec) -> bool | None:
        """Tell whether the node has booted and nothing keeps it from answering."""
        return None if self.blind else self.boots(node)

    def runs_steps(self, node: NodeSpec) -> bool | None:
        """Say what was ordered for the node; one that has booted runs none, any other does not answer."""
        return self.steps.get(node.name, False if self.boots(node) else None)
