"""Terraform and Ansible in memory: runs that take time on the memory clock and outlive an engine."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from slurm_powersave.decide.fence import Contract, tags
from slurm_powersave.decide.host_keys import Pin, believed, keys_of
from slurm_powersave.decide.policy import classify
from slurm_powersave.model.errors import CloudError, FailureClass, TerraformError
from slurm_powersave.model.nodes import (
    DesiredNode,
    Failure,
    NodeProgress,
    RunRecord,
    RunResult,
    StateServer,
    TerraformNode,
)
from slurm_powersave.testing.cloud import MemoryClock, MemoryCloud

CONTRACT = Contract(
    "memory_server.node",
    {
        "name": "name",
        "image": "image_id",
        "flavor": "flavor_id",
        "zone": "availability_zone",
        "address": "network.0.fixed_ip_v4",
        "tags": "tags",
    },
    frozenset({"host_key"}),
)
_numbers = itertools.count(1)


@dataclass
class MemoryRun:
    """Implements ports.Run: events at set times, an end at a set time."""

    record: RunRecord
    clock: MemoryClock
    ends: float
    events: list[tuple[float, NodeProgress]] = field(default_factory=list)
    at_end: Callable[[], RunResult] = lambda: RunResult(True)
    plan: Any = None
    _seen: int = 0
    _result: RunResult | None = None

    def progress(self) -> Sequence[NodeProgress]:
        """Return the events that have come since the last call."""
        due = [event for at, event in self.events if at <= self.clock.now()]
        new, self._seen = due[self._seen :], len(due)
        return new

    def poll(self) -> RunResult | None:
        """Return the result once the time has come."""
        if self._result is None and self.clock.now() >= self.ends:
            self._result = self.at_end()
        return self._result

    def interrupt(self) -> None:
        """End at the next poll."""
        self.ends = min(self.ends, self.clock.now())

    def kill(self) -> None:
        """End now, as a process does that is killed."""
        self._result = self._result or RunResult(False, "terraform was killed")


def _record(kind: str) -> RunRecord:
    number = next(_numbers)
    return RunRecord(f"run-{number}", kind, "", number, number)


@dataclass
class MemoryTerraform:
    """Implements ports.Terraform on a MemoryCloud."""

    clock: MemoryClock
    cloud: MemoryCloud
    cluster: str
    create_seconds: float = 3.0
    delete_seconds: float = 1.0
    """Until Terraform counts a server as deleted; the cloud may need longer."""
    plan_seconds: float = 1.0
    spoil_plan: Callable[[dict[str, Any]], None] | None = None
    """Changes a plan's JSON, to see whether the fence holds."""
    maps: dict[str, dict[str, TerraformNode]] = field(default_factory=dict)
    states: dict[str, dict[str, StateServer]] = field(default_factory=dict)
    runs: dict[str, MemoryRun] = field(default_factory=dict)
    broken: str = ""
    """If set, states can't be read, with this text."""
    broken_shards: set[str] = field(default_factory=set)
    """Shards whose state can't be read."""
    locked: set[str] = field(default_factory=set)
    """Shards whose state somebody else has locked."""
    init_fault: str = ""
    """If set, `terraform init` fails with this text."""

    def shards(self, cloud: str) -> Sequence[str]:
        """Name the shards."""
        return sorted(shard for shard in self.maps if shard.startswith(f"{cloud}/"))

    def init(self, cloud: str, shard: str) -> MemoryRun:
        """Make a shard; it can be planned in after half a second."""
        self.maps.setdefault(shard, {})

        def end() -> RunResult:
            if self.init_fault:
                return RunResult(False, self.init_fault, classify(self.init_fault))
            self.states.setdefault(shard, {})
            return RunResult(True)

        return self._start("init", 0.5, at_end=end)

    def initialised(self, shard: str) -> bool:
        """Tell whether init has ended."""
        return shard in self.states

    def nodes(self, shard: str) -> Mapping[str, TerraformNode]:
        """Read the map."""
        return dict(self.maps[shard])

    def write_nodes(self, shard: str, nodes: Mapping[str, TerraformNode]) -> None:
        """Replace the map."""
        self.maps[shard] = dict(nodes)

    def servers(self, shard: str) -> Mapping[str, StateServer]:
        """Read the state."""
        if self.broken or shard in self.broken_shards:
            raise TerraformError(self.broken or f"{shard}: not readable")
        return dict(self.states.get(shard, {}))

    def busy(self, shard: str) -> bool:
        """Tell whether an apply runs there, or somebody else holds the lock."""
        return shard in self.locked or any(
            run.plan and run.plan[0] == shard and run.record.kind == "apply" and run.poll() is None
            for run in self.runs.values()
        )

    def contract(self, shard: str) -> Contract:
        """Return the contract of the root module in memory."""
        return CONTRACT

    def plan(self, shard: str, targets: Sequence[str], *, refresh: bool) -> MemoryRun:
        """Plan for the targets: what the map has and the state has not, and the other way round."""
        run = self._start("plan", self.plan_seconds)
        try:
            run.plan = (shard, self._plan_json(shard, targets, refresh))
        except CloudError as error:
            failed = RunResult(False, str(error), classify(str(error)))
            run.at_end = lambda: failed
        return run

    def _plan_json(self, shard: str, targets: Sequence[str], refresh: bool) -> dict[str, Any]:
        wanted, held = self.maps[shard], self.states[shard]
        changes: list[dict[str, Any]] = []
        drift: list[dict[str, Any]] = []
        for name in targets:
            address = f'{CONTRACT.resource}["{name}"]'
            if refresh and name in held and self.cloud.server(held[name].id) is None:
                drift.append({"address": address, "change": {"actions": ["delete"]}})
            elif name in wanted and name in held and held[name].tainted:
                change: dict[str, Any] = {
                    "actions": ["delete", "create"],
                    "before": {"id": held[name].id},
                    "after": {},
                }
                changes.append(
                    {
                        "address": address,
                        "mode": "managed",
                        "change": change,
                        "action_reason": "replace_because_tainted",
                    }
                )
            elif name in wanted and name not in held:
                after = _attributes(wanted[name], tags(self.cluster, shard, wanted[name]))
                change = {
                    "actions": ["create"],
                    "before": None,
                    "after": after,
                    "after_unknown": {"id": True},
                }
                changes.append({"address": address, "mode": "managed", "change": change})
            elif name in held and name not in wanted:
                before = {"id": held[name].id, "name": name, "tags": [f"cluster={self.cluster}"]}
                change = {"actions": ["delete"], "before": before, "after": None}
                changes.append({"address": address, "mode": "managed", "change": change})
            elif name in wanted and name in held and (change := self._update(shard, name)):
                changes.append({"address": address, "mode": "managed", "change": change})
        plan = {"format_version": "1.2", "resource_changes": changes, "resource_drift": drift}
        if self.spoil_plan:
            self.spoil_plan(plan)
        return plan

    def _update(self, shard: str, name: str) -> dict[str, Any]:
        """What an entry asks for and the server is not; empty if they agree."""
        held, entry = self.states[shard][name], self.maps[shard][name]
        server = self.cloud.server(held.id)
        if server is None or (server.image, server.flavor) == (entry.node.image, entry.node.flavor):
            return {}
        before = _attributes(entry, server.tags) | {
            "id": held.id,
            "image_id": self.cloud.image_id(server.image),
            "flavor_id": self.cloud.flavor_id(server.flavor),
        }
        after = before | {"image_id": entry.node.ref("image"), "flavor_id": entry.node.ref("flavor")}
        return {"actions": ["update"], "before": before, "after": after, "after_unknown": {"host_key": True}}

    def plan_json(self, plan: RunRecord) -> Mapping[str, Any]:
        """Return a plan's JSON."""
        found: Mapping[str, Any] = self.runs[plan.id].plan[1]
        return found

    def apply(self, shard: str, plan: RunRecord, parallelism: int) -> MemoryRun:
        """Carry a plan out: creations end one after the other, deletions at once."""
        content = self.runs[plan.id].plan[1]
        run = self._start("apply", 0.5)
        run.plan = (shard, content)
        texts: list[str] = []
        for drifted in content["resource_drift"]:
            self.states[shard].pop(_name(drifted["address"]), None)
        for change in content["resource_changes"]:
            name = _name(change["address"])
            if change["change"]["actions"] == ["create"]:
                at = self.clock.now() + self.create_seconds
                run.events.append((at, self._create(shard, name, texts)))
                run.ends = max(run.ends, at + 0.2)
            elif change["change"]["actions"] == ["update"]:
                at = self.clock.now() + self.cloud.change_seconds
                run.events.append((at, self._change(shard, name, texts)))
                run.ends = max(run.ends, at + 0.2)
            else:
                try:
                    self.cloud.delete(self.states[shard][name].id)
                except CloudError as error:
                    texts.append(str(error))
                    continue
                del self.states[shard][name]
                at = self.clock.now() + self.delete_seconds
                run.events.append((at, NodeProgress(name, True)))
                run.ends = max(run.ends, at + 0.2)
        text = "; ".join(texts)
        run.at_end = lambda: RunResult(not texts, text, classify(text) if texts else FailureClass.UNKNOWN)
        return run

    def _create(self, shard: str, name: str, texts: list[str]) -> NodeProgress:
        entry = self.maps[shard][name]
        try:
            server_id = self.cloud.create(entry, tags(self.cluster, shard, entry))
        except CloudError as error:
            texts.append(str(error))
            return NodeProgress(name, False, failure=Failure(classify(str(error)), str(error)))
        if text := self.cloud.fault(server_id):
            # The server is there in ERROR; Terraform keeps it as tainted.
            self.states[shard][name] = StateServer(server_id, tainted=True)
            if self.cloud.terse_errors:
                text = (
                    f"Error waiting for instance ({server_id}) to become ready: unexpected state 'ERROR',"
                    " wanted target 'ACTIVE'. last error: %!s(<nil>)"
                )
            texts.append(text)
            return NodeProgress(name, False, failure=Failure(classify(text), text))
        self.states[shard][name] = StateServer(server_id)
        return NodeProgress(name, True, server_id=server_id)

    def _change(self, shard: str, name: str, texts: list[str]) -> NodeProgress:
        held, node = self.states[shard][name], self.maps[shard][name].node
        try:
            server = self.cloud.server(held.id)
            if server and server.flavor != node.flavor:
                self.cloud.resize(held.id, node.ref("flavor"))
            if server and server.image != node.image:
                self.cloud.rebuild(held.id, node.ref("image"))
            text = self.cloud.failed_changes.get(name, "")
        except CloudError as error:
            text = str(error)
        if text:
            texts.append(text)
            return NodeProgress(name, False, failure=Failure(classify(text), text))
        return NodeProgress(name, True, server_id=held.id)

    def adopt(self, record: RunRecord) -> MemoryRun:
        """Take up a run; its events come again."""
        run = self.runs[record.id]
        run._seen = 0
        return run

    def forget(self, record: RunRecord) -> None:
        """Nothing is left behind in memory."""

    def _start(
        self, kind: str, seconds: float, at_end: Callable[[], RunResult] = lambda: RunResult(True)
    ) -> MemoryRun:
        run = MemoryRun(_record(kind), self.clock, self.clock.now() + seconds, at_end=at_end)
        self.runs[run.record.id] = run
        return run


@dataclass
class MemoryPlaybooks:
    """Implements ports.Playbooks; a configured node registers with Slurm."""

    clock: MemoryClock
    register: Callable[[DesiredNode], None]
    boots: Callable[[DesiredNode], bool]
    boot_id: Callable[[str], str] = lambda name: ""
    host_key: Callable[[str], str] = lambda name: ""
    """Node -> the key that its sshd has; empty: whatever is given is right."""
    pins: dict[str, Pin] = field(default_factory=dict)
    """Node -> what is recorded of it."""
    seconds: float = 2.0
    faults: dict[str, str] = field(default_factory=dict)
    """Node -> what Ansible says of it."""
    runs: dict[str, MemoryRun] = field(default_factory=dict)

    def configure(
        self,
        nodes: Sequence[DesiredNode],
        host_keys: Mapping[str, str],
        boot_ids: Mapping[str, str] | None = None,
        disks: Mapping[str, str] | None = None,
    ) -> MemoryRun:
        """Configure the nodes, each in its own time; one whose sshd has another key than recorded fails."""
        run = MemoryRun(_record("configure"), self.clock, self.clock.now() + self.seconds)
        good = []
        for node in nodes:
            boot = self.boot_id(node.name)
            text = self.faults.get(node.name) or self._unknown(node, host_keys, disks or {})
            if boot and boot == (boot_ids or {}).get(node.name):
                text = "it has not booted anew"
            failure = Failure(FailureClass.NODE_LOCAL, text) if text else None
            good += [] if text else [node]
            news = NodeProgress(node.name, not text, failure=failure, boot_id=boot)
            run.events.append((run.ends, news))

        def end() -> RunResult:
            for node in good:
                self.register(node)
            return RunResult(True)

        run.at_end = end
        self.runs[run.record.id] = run
        return run

    def _unknown(
        self, node: DesiredNode, host_keys: Mapping[str, str], disks: Mapping[str, str]
    ) -> str | None:
        disk, given = disks.get(node.name, ""), host_keys.get(node.name, "")
        if given and not believed(self.pin(node), disk, kept=False):
            self.pins[node.name] = Pin(keys_of(given), disk)
        pin, real = self.pin(node), self.host_key(node.name)
        return (
            None if not real or (pin and real in pin.keys) else "unreachable: Host key verification failed."
        )

    def pin(self, node: DesiredNode) -> Pin | None:
        """Return what is recorded of a node."""
        return self.pins.get(node.name)

    def adopt(self, record: RunRecord) -> MemoryRun:
        """Take up a run."""
        run = self.runs[record.id]
        run._seen = 0
        return run

    def forget(self, record: RunRecord) -> None:
        """Nothing is left behind in memory."""

    def reachable(self, node: DesiredNode) -> bool:
        """Tell whether the node has booted."""
        return self.boots(node)


def _attributes(entry: TerraformNode, carried: frozenset[str]) -> dict[str, Any]:
    node = entry.node
    return {
        "name": node.name,
        "image_id": node.ref("image"),
        "flavor_id": node.ref("flavor"),
        "availability_zone": node.zone,
        "network": [{"fixed_ip_v4": node.address}],
        "tags": sorted(carried),
    }


def _name(address: str) -> str:
    return address.partition('["')[2].removesuffix('"]')
