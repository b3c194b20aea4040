"""Where the seconds of one resume went: the journal's phases, held against what the tools themselves took."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path

from slurm_powersave.model.nodes import Operation

_TIMED = """#!/bin/sh
# terraform, with its times and what it said written down.
trap : INT
began=$(date +%s.%N)
terraform "$@"
rc=$?
ended=$(date +%s.%N)
[ "$1" = apply ] && [ -f "/proc/$$/fd/1" ] && cp "/proc/$$/fd/1" "{directory}/$began.jsonl"
echo "$1 $began $ended" >>"{directory}/calls"
exit $rc
"""


@dataclass(frozen=True)
class Call:
    """One call of Terraform; moments in seconds since the epoch."""

    verb: str
    began: float
    ended: float
    created: float | None
    """When Terraform said that the last resource was complete."""


class Stopwatch:
    """A program that stands before terraform and notes each call."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.program = directory / "terraform"

    def make(self) -> None:
        """Write the program."""
        self._directory.mkdir(parents=True)
        self.program.write_text(_TIMED.format(directory=self._directory))
        self.program.chmod(0o755)

    def calls(self) -> list[Call]:
        """Return all calls so far."""
        calls = []
        for line in (self._directory / "calls").read_text().splitlines():
            verb, began, ended = line.split()
            calls.append(Call(verb, float(began), float(ended), self._created(began)))
        return calls

    def _created(self, began: str) -> float | None:
        try:
            lines = (self._directory / f"{began}.jsonl").read_text().splitlines()
        except FileNotFoundError:
            return None
        stamps = [
            event["@timestamp"] for event in map(json.loads, lines) if event["type"] == "apply_complete"
        ]
        return max((datetime.fromisoformat(stamp).timestamp() for stamp in stamps), default=None)


@dataclass(frozen=True)
class Life:
    """One node's resume with one batch job; all in seconds."""

    submit_to_hook: float
    phases: dict[str, float]
    spent: dict[str, float]
    """What others took: terraform plan, show and apply, the guest's boot, Ansible."""
    to_apply: float
    total: float
    """From the hook to a node that Slurm counts as up."""
    up_to_first_line: float
    submit_to_first_line: float

    @property
    def own(self) -> float:
        """The engine's own share: what no other program took."""
        return self.total - sum(self.spent.values())

    @property
    def own_with_plan(self) -> float:
        """The same with terraform plan and show counted as the engine's."""
        return self.own + self.spent["terraform plan"] + self.spent["terraform show"]

    @classmethod
    def of(
        cls,
        op: Operation,
        submitted: float,
        asked: float,
        received: float,
        first_line: float,
        guest_ready: float,
        calls: Sequence[Call],
    ) -> "Life":
        """Put together what journal, stopwatch, guest and job tell."""
        at = {phase.phase: phase.at for phase in op.phases}
        up = at["done"]
        phases = {"to journal": received - asked, "taken up": op.phases[0].at - received}
        phases |= {this.phase: following.at - this.at for this, following in pairwise(op.phases)}
        ours = {call.verb: call for call in calls if asked <= call.began <= up}
        created = ours["apply"].created or ours["apply"].ended
        spent = {
            "terraform plan": ours["plan"].ended - ours["plan"].began,
            "terraform show": ours["show"].ended - ours["show"].began,
            "terraform apply": created - ours["apply"].began,
            "guest boot": max(0.0, guest_ready - created),
            "ansible": phases["configuring"],
        }
        return cls(
            submit_to_hook=asked - submitted,
            phases=phases,
            spent=spent,
            to_apply=ours["apply"].began - asked,
            total=up - asked,
            up_to_first_line=first_line - up,
            submit_to_first_line=first_line - submitted,
        )
