"""`reimage --outdated` and `status --outdated`: what they say. The engine is played by a sleep."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pytest

from slurm_powersave.adapters.journal.sqlite import SqliteJournal
from slurm_powersave.commands import rollout
from slurm_powersave.decide.node.drift import moved
from slurm_powersave.model import hostlist
from slurm_powersave.model.errors import SlurmError
from slurm_powersave.model.modes import Mode
from slurm_powersave.model.nodes import Flavor, NodeRecord, NodeSpec, Server, SlurmNode, SlurmSnapshot
from slurm_powersave.model.slurm_version import Version
from slurm_powersave.surfaces.cli import outdated
from slurm_powersave.testing.site import put_in

from .conftest import Command

NAMES = [f"demo-{number}" for number in (1, 2, 3, 4)]


@dataclass
class Parts:
    """A Slurm, a cloud without images, and an engine."""

    journal: SqliteJournal
    states: dict[str, str] = field(default_factory=lambda: dict.fromkeys(NAMES, "IDLE+CLOUD"))
    error: str = ""
    outcomes: dict[str, str] = field(default_factory=dict)
    """Node -> how its reimage ends; default done."""
    interrupt: bool = False

    def snapshot(self, nodes: Sequence[str] = ()) -> SlurmSnapshot:
        if self.error:
            raise SlurmError(self.error)
        found = {
            name: SlurmNode(name, frozenset(state.split("+")), "bad DIMM" if "DRAIN" in state else "", "root")
            for name, state in self.states.items()
        }
        return SlurmSnapshot(0.0, found)

    def running_version(self) -> Version:
        return Version.of("22.05.8")

    def flavors(self) -> dict[str, Flavor]:
        return {"small": Flavor("small", 1, 1024)}

    def servers(self) -> Sequence[Server]:
        return [Server(f"id-{name}", name, "ACTIVE") for name in self.journal.node_records()]

    def sleep(self, seconds: float) -> None:
        """Serve what was asked for, then be interrupted if that was ordered."""
        for request in self.journal.unplanned_requests():
            nodes = hostlist.expand_any(request.hostlist)
            made = [
                self.journal.new_operation(request.id, node, Mode.REBOOT, "asking", time.time())
                for node in nodes
            ]
            self.journal.plan_request(request.id, made, [], time.time())
            for op in made:
                self._end(replace(op, action="reimage", target="default"))
        if self.interrupt:
            raise KeyboardInterrupt

    def _end(self, op: object) -> None:
        outcome = self.outcomes.get(op.node, "done")  # type: ignore[attr-defined]
        if outcome == "done":
            record = self.journal.node_records()[op.node]  # type: ignore[attr-defined]
            self.journal.save_node(moved(record, "image", "default", "", record.node))
        text = "No valid host" if outcome == "failed" else ""
        phase = "draining" if outcome == "draining" else "registering"
        ended = {"draining": "", "booting": "", "unchanged": "done"}.get(outcome, outcome)
        self.journal.save_operation(replace(op, phase=phase, outcome=ended, text=text))  # type: ignore[type-var]


@pytest.fixture
def outside(monkeypatch: pytest.MonkeyPatch, journal: SqliteJournal) -> Parts:
    """Four nodes that are up with image old; the pool wants default."""
    found = Parts(journal)
    put_in(monkeypatch.setattr, slurm=found, clouds={"local": found})
    monkeypatch.setattr(outdated.time, "sleep", found.sleep)
    monkeypatch.setattr(rollout, "LOOK", 0.0)
    for number, name in enumerate(NAMES, start=1):
        node = NodeSpec(name, "compute", "local", "old", "small", "", f"10.0.1.{number}")
        journal.save_node(NodeRecord(node, "local/nodes-001", f"id-{name}"))
    return found


def go(command: Command, *more: str) -> tuple[int, str]:
    """Run it; return exit code and all that it said."""
    result = command("reimage", "--outdated", "--yes", *more)
    return result.exit_code, result.stdout + result.stderr


def test_dry_run_tells_and_asks_for_nothing(command: Command, outside: Parts) -> None:
    outside.states |= {
        "demo-2": "MIXED+CLOUD", "demo-3": "IDLE+CLOUD+POWERED_DOWN", "demo-4": "IDLE+CLOUD+DRAIN",
    }  # fmt: skip
    result = command("reimage", "--outdated", "--dry-run")
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "pool compute: image old -> default: 2 nodes (demo-[1-2]), at most 1 at a time",
        "  idle, first: demo-1",
        "  in use: demo-2; Slurm gives them no more jobs and waits for those that they have, and meanwhile"
        " they count",
        "  powered down: 1 node (demo-3); the next resume takes the image",
        "  skipped: demo-4: DRAIN was set by root: bad DIMM",
    ]
    value = json.loads(command("reimage", "--outdated", "--dry-run", "--json").stdout)
    (pool,) = value["pools"]
    assert (pool["pool"], pool["image"], pool["at_most"]) == ("compute", "default", 1)
    assert (pool["idle"], pool["busy"], pool["off"]) == (["demo-1"], ["demo-2"], ["demo-3"])
    assert pool["skipped"] == {"demo-4": "DRAIN was set by root: bad DIMM"}
    assert not outside.journal.unplanned_requests()


def test_without_an_answer_nothing_is_asked_for(command: Command, outside: Parts) -> None:
    result = command("reimage", "--outdated")
    assert result.exit_code == 1 and "Use --yes to answer yes" in result.stderr
    assert not outside.journal.unplanned_requests()


def test_all_of_them(command: Command, outside: Parts) -> None:
    code, text = go(command, "--max-unavailable", "3")
    assert code == 0, text
    requests = [outside.journal.request(op.request) for op in outside.journal.history()]
    assert {(r.hostlist, r.action) for r in requests if r} == {
        ("demo-[1-3]", "reimage image=default"), ("demo-4", "reimage image=default"),
    }  # fmt: skip
    assert "0 of 4 done, 3 under way" in text and "4 of 4 done, 0 under way" in text
    code, text = go(command)
    assert (code, text) == (0, "pool compute: no node that is up has another image than default\n")


def test_the_names_that_options_had_before_are_understood(command: Command, outside: Parts) -> None:
    outside.outcomes["demo-1"] = "failed"
    _code, text = go(command, "--at-most", "3", "--stop-after", "2")
    said = " ".join(text.split())
    assert "--at-most is called --max-unavailable now" in said and "3 under way" in said
    assert "--stop-after is called --max-failures now" in said
    assert "3 of 4 done, 0 under way, 1 failed" in said, "one failure does not stop it"
    _, text = go(command, "--max-unavailable", "3", "--max-failures", "2")
    assert "is called" not in text


def test_json_is_the_result_alone(command: Command, outside: Parts) -> None:
    result = command("reimage", "--outdated", "--yes", "--json", "--replace")
    assert result.stderr == "slurm-powersave: no engine is running; the requests wait for one\n"
    value = json.loads(result.stdout)
    assert (value["total"], value["done"], value["failed"], value["left"]) == (4, 4, {}, [])
    first = outside.journal.request(outside.journal.history()[0].request)
    assert first and first.action == "reimage image=default replace"


@pytest.mark.parametrize(("outcome", "code"), [("failed", 1), ("refused", 7)])
def test_a_failure_ends_it(command: Command, outside: Parts, outcome: str, code: int) -> None:
    outside.outcomes["demo-1"] = outcome
    found, text = go(command)
    assert found == code
    assert "stopped, because it failed on demo-1; not asked for: demo-[2-4]" in text


def test_called_off_is_told(command: Command, outside: Parts) -> None:
    outside.outcomes["demo-1"] = "cancelled"
    code, text = go(command)
    assert code == 0 and "called off: demo-1" in text and "3 of 4 done" in text


def test_an_engine_with_another_cluster_file_is_noticed(command: Command, outside: Parts) -> None:
    outside.outcomes["demo-1"] = "unchanged"
    code, text = go(command)
    assert code == 1 and "still with another image: demo-1; does the engine know the cluster file" in text


def test_an_interruption_says_what_goes_on(command: Command, outside: Parts) -> None:
    outside.outcomes |= {"demo-1": "booting", "demo-2": "draining"}
    outside.interrupt = True
    code, text = go(command, "--max-unavailable", "3")
    assert code == 130
    assert "Run the same command again for the rest" in text
    assert "goes on: demo-1 (slurm-powersave follow)" in text
    assert "goes on when its jobs have ended: demo-2 (scontrol cancel_reboot demo-2" in text


def test_slurm_unreadable_asks_for_nothing(command: Command, outside: Parts) -> None:
    outside.error = "no answer within 10 s"
    code, text = go(command)
    assert code == 4 and "no answer within 10 s" in text
    assert not outside.journal.unplanned_requests()


def test_a_pool_that_is_none(command: Command, outside: Parts) -> None:
    code, text = go(command, "--pool", "gpu")
    assert code == 2 and "no pool gpu" in text and "compute" in text


def test_a_flavor_that_is_none_of_the_pools_is_told(command: Command, outside: Parts) -> None:
    record = outside.journal.node_records()["demo-1"]
    outside.journal.save_node(moved(record, "flavor", "large", "", replace(record.node, image="default")))
    text = command("reimage", "--outdated", "--dry-run").stdout
    assert "not changed by this: demo-1: flavor large (by hand) -> small" in text


def test_status_shows_who_lags_behind(command: Command, outside: Parts) -> None:
    record = outside.journal.node_records()["demo-1"]
    outside.journal.save_node(moved(record, "image", "default", "", replace(record.node, image="default")))
    record = outside.journal.node_records()["demo-2"]
    outside.journal.save_node(moved(record, "image", "test", "", replace(record.node, image="default")))
    header, *lines = command("status").stdout.splitlines()
    assert header.split()[-2:] == ["OUTDATED", "REASON"]
    assert "->" not in lines[0] and "image test (by hand) -> default" in lines[1]
    assert "image old -> default" in lines[2]
    only = command("status", "--outdated").stdout
    assert "demo-1 " not in only and only.count("->") == 3
    first, second, *_ = json.loads(command("status", "--json").stdout)["nodes"]
    assert first["image"] == {"actual": "default", "wanted": "default", "differs": False, "by_hand": False}
    assert second["image"] == {"actual": "test", "wanted": "default", "differs": True, "by_hand": True}
    assert first["flavor"]["actual"] == "small"
