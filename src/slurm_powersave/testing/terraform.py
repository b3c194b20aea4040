"""Terraform and Ansible in memory: runs that take time on the memory clock and outlive an engine."""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from slurm_powersave.decide.node import plan_permits
from slurm_powersave.decide.node.failure_policy import classify
from slurm_powersave.decide.node.plan_guard import Contract, tags
from slurm_powersave.model.errors import CloudError, FailureClass, RefusedError, TerraformError
from slurm_powersave.model.nodes import (
    Failure,
    NodeProgress,
    RunRecord,
    RunResult,
    StateServer,
    TerraformNode,
)
from slurm_powersave.model.permit import Act, Permit, use_all
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
    at_news: Callable[[NodeProgress], None] = lambda news: None
    plan: Any = None
    forgotten: bool = False
    """Whether its output was removed."""
    _seen: int = 0
    _result: RunResult | None = None

    def progress(self) -> Sequence[NodeProgress]:
        """Return the events that have come since the last call."""
        due = [event for at, event in self.events if at <= self.clock.now()]
        new, self._seen = due[self._seen :], len(due)
        for news in new:
            self.at_news(news)
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


def run_record(kind: str) -> RunRecord:
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
    """Changes a plan's JSON, to see whether the plan guard holds."""
    maps: dict[str, dict[str, TerraformNode]] = field(default_factory=dict)
    states: dict[str, dict[str, StateServer]] = field(default_factory=dict)
    runs: dict[str, MemoryRun] = field(default_factory=dict)
    broken: str = ""
    """If set, states can't be read, with this text."""
    broken_shards: set[str] = field(default_factory=set)  # those whose state can't be read
    copies: dict[str, dict[str, StateServer]] = field(default_factory=dict)
    """Each state as it was before its last apply."""
    spoiled: set[str] = field(default_factory=set)
    """Shards whose state is empty or broken on the disk until it is put back."""
    locked: set[str] = field(default_factory=set)
    """Shards whose state somebody else has locked."""
    init_fault: str = ""  # if set, `terraform init` fails with this text
    module: str = "1"
    """The version of the root module."""
    module_changes: bool = False
    """Whether it would change servers that an older one has made."""
    versions: dict[str, str] = field(default_factory=dict)
    """Shard -> the version that it has."""

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
            self.versions[shard] = self.module
            return RunResult(True)

        return self._start("init", 0.5, at_end=end)

    def newer_module(self, shard: str) -> str:
        """Name the root module's version if the shard has another one."""
        differs = self.initialised(shard) and self.versions.get(shard, self.module) != self.module
        return self.module if differs else ""

    def try_module(self, shard: str) -> MemoryRun:
        """Find out whether it would change something."""

        def end() -> RunResult:
            refused = self.module_changes and self.states[shard]
            return RunResult(not refused, "terraform ended with 2" if refused else "")

        return self._start("module", 0.5, at_end=end)

    def end_trial(self, shard: str, *, take: bool) -> None:
        """Give it to the shard, or not."""
        if take:
            self.versions[shard] = self.module

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
        if self.broken or shard in self.broken_shards | self.spoiled:
            raise TerraformError(self.broken or f"{shard}: not readable")
        return dict(self.states.get(shard, {}))

    def state_version(self, shard: str) -> str:
        """Name the state's content; empty while it can't be read."""
        readable = not self.broken and shard not in self.broken_shards | self.spoiled
        return str(sorted(self.states.get(shard, {}).items(), key=str)) if readable else ""

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

    def forget_servers(self, shard: str, permits: Sequence[Permit]) -> MemoryRun:
        """Take entries out of the state."""
        held = {server.id: name for name, server in self.states[shard].items()}
        if strange := [permit for permit in permits if held.get(permit.subject) != permit.node]:
            raise RefusedError(f"{strange[0].node} is not {strange[0].subject} in {shard}")
        use_all(permits, Act.VANISHED, [permit.subject for permit in permits])

        def end() -> RunResult:
            for permit in permits:
                self.states[shard].pop(permit.node, None)
            return RunResult(True)

        return self._start("forget", 0.5, at_end=end)

    def apply(
        self, shard: str, plan: RunRecord, parallelism: int, permits: Sequence[Permit] = ()
    ) -> MemoryRun:
        """Carry a plan out: creations end one after the other, deletions at once."""
        content = self.runs[plan.id].plan[1]
        plan_permits.use(content, permits)
        self.copies[shard] = dict(self.states[shard])
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
                    self.cloud.drop(self.states[shard][name].id)
                except CloudError as error:
                    texts.append(str(error))
                    continue
                if self.states[shard][name].id in self.cloud.undying:
                    texts.append("timeout while waiting for state to become DELETED")
                    run.ends = math.inf  # until somebody ends it
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
                self.cloud.change_flavor(held.id, node.ref("flavor"))
            if server and server.image != node.image:
                self.cloud.change_image(held.id, node.ref("image"))
            text = self.cloud.failed_changes.get(name, "")
        except CloudError as error:
            text = str(error)
        if text:
            texts.append(text)
            return NodeProgress(name, False, failure=Failure(classify(text), text))
        return NodeProgress(name, True, server_id=held.id)

    def refresh(self, shard: str) -> MemoryRun:
        """Take out of the state what the cloud does not have."""

        def end() -> RunResult:
            held = self.states[shard]
            self.states[shard] = {n: one for n, one in held.items() if self.cloud.server(one.id)}
            return RunResult(True)

        return self._start("refresh", 0.5, at_end=end)

    def is_broken(self, shard: str) -> bool:
        """Tell whether the state is spoiled and no apply runs."""
        return shard in self.spoiled and not self.busy(shard)

    def put_back(self, shard: str) -> str:
        """Put the copy in its place."""
        self.spoiled.discard(shard)
        self.states[shard] = self.copies.get(shard, {})
        return "the copy is in its place"

    def reattach(self, record: RunRecord) -> MemoryRun:
        """Take up a run; its events come again, unless its output was removed."""
        run = self.runs[record.id]
        if run.forgotten:
            return MemoryRun(record, self.clock, 0.0, at_end=lambda: RunResult(False, "terraform was killed"))
        run._seen = 0
        return run

    def forget(self, record: RunRecord) -> None:
        """Remove what the run has said."""
        self.runs[record.id].forgotten = True

    def _start(
        self, kind: str, seconds: float, at_end: Callable[[], RunResult] = lambda: RunResult(True)
    ) -> MemoryRun:
        run = MemoryRun(run_record(kind), self.clock, self.clock.now() + seconds, at_end=at_end)
        self.runs[run.record.id] = run
        return run


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
