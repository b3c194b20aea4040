"""The table of `scontrol reboot` (tests/cases/scontrol_reboot.yml), and how to hold a Slurm to it."""

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import yaml

from slurm_powersave.decide.node.reboot import ISSUED, words
from slurm_powersave.model.nodes import SlurmNode
from slurm_powersave.model.slurm_version import Version

_FILE = Path(__file__).parents[1] / "cases/scontrol_reboot.yml"
_LEFT_OUT = {"CLOUD", "PLANNED"}
_NO_HOOK = 1.5
"""Seconds after which Slurm, which issues a reboot within 1 s, will call nobody any more."""
_LONGEST = 8.0


@dataclass(frozen=True)
class Row:
    """A state, a request, and what comes of them: for each step the flags with the reason."""

    before: str
    words: str
    asked: str
    emptied: str
    booted: str
    hook: str

    @property
    def id(self) -> str:
        """The name of its test."""
        return f"{self.before}: {self.words or 'plain'}"

    def arguments(self) -> dict[str, Any]:
        """Return the words as MemorySlurm.scontrol_reboot takes them."""
        pairs = [word.partition("=") for word in shlex.split(self.words)]
        return {key.lower(): value if equal else True for key, equal, value in pairs}


@dataclass
class Seen:
    """What was seen of a row."""

    asked: str = ""
    emptied: str = ""
    booted: str = ""
    hook: str = "never"


class Place(Protocol):
    """A Slurm whose nodes are all up and idle, with nobody who acts on its hooks."""

    nodes: Sequence[str]

    def prepare(self, states: Mapping[str, str]) -> None:
        """Bring each of these nodes into a state of the table."""

    def request(self, words: Mapping[str, Row]) -> None:
        """Run scontrol reboot for each node."""

    def end_jobs(self) -> None:
        """End all jobs."""

    def boot(self, nodes: Sequence[str]) -> None:
        """Really boot these nodes, and let their slurmd register."""

    def look(self) -> Mapping[str, SlurmNode]:
        """Read the nodes."""

    def rebooted(self) -> Sequence[str]:
        """Name the nodes for which RebootProgram was called since `prepare`, as often as it was."""

    def now(self) -> float:
        """Tell the time in seconds."""

    def let_pass(self, seconds: float) -> None:
        """Let some time go by."""

    def tidy(self) -> None:
        """Make all nodes up and idle again."""


def rows(version: Version) -> Iterator[Row]:
    """Read the table as it is for a version of Slurm; what stands under `since` counts from there on."""
    for before, requests in yaml.safe_load(_FILE.read_text()).items():
        for typed, cell in requests.items():
            for since, later in sorted(cell.pop("since", {}).items()):
                if version >= Version.of(since):
                    cell |= later
            given = {key: cell.get(key, "") for key in ("asked", "emptied", "booted", "hook")}
            assert cell.keys() <= given.keys(), (before, typed, cell)
            yield Row(before, typed, **{key: _sorted(value) for key, value in given.items()})


def show(node: SlurmNode) -> str:
    """Write a node as the table does."""
    flags = "+".join(sorted(node.flags - _LEFT_OUT))
    # Of a node in service the reason says nothing; some versions keep an old one (Difference.REASON_STAYS).
    asked = node.has("REBOOT_REQUESTED", "REBOOT_ISSUED")
    reason = node.reason
    if asked and not words(reason):  # of a node whose reason was blanked; else Slurm writes words of its own
        own = "Reboot ASAP" if node.has("DRAIN") else "reboot requested"
        reason = own + ISSUED * node.has("REBOOT_ISSUED")
    return f"{flags} ({reason})" if asked or (reason and node.has("DRAIN", "DOWN")) else flags


def _sorted(cell: str) -> str:
    found = re.fullmatch(r"([A-Z_+]+)( \(.*\))?", cell)
    return "+".join(sorted(found[1].split("+"))) + (found[2] or "") if found else cell


def observe(place: Place, table: Sequence[Row]) -> dict[Row, Seen]:
    """Do what every row says, as many at a time as there are nodes, and tell what was seen."""
    seen = {row: Seen() for row in table}
    for start in range(0, len(table), len(place.nodes)):
        wave = dict(zip(place.nodes, table[start:], strict=False))
        place.prepare({node: row.before for node, row in wave.items()})
        place.request(wave)
        _settle(place, wave, seen, "asked")
        if any(row.emptied for row in wave.values()):
            place.end_jobs()
            _settle(place, wave, seen, "emptied")
        if up := [node for node, row in wave.items() if row.booted]:
            place.boot(up)
            _settle(place, wave, seen, "booted")
        place.tidy()
    return seen


def _settle(place: Place, wave: Mapping[str, Row], seen: Mapping[Row, Seen], step: str) -> None:
    """Wait until every row shows what is expected, or no longer."""
    wanted = {node: row for node, row in wave.items() if getattr(row, step)}
    # Where nobody is to be called, that has to be waited for.
    shortest = _NO_HOOK if any(row.hook == "never" for row in wanted.values()) else 0.0
    begun = place.now()
    while True:
        nodes = place.look()
        for node, row in wanted.items():
            setattr(seen[row], step, show(nodes[node]))
        right = all(getattr(seen[row], step) == getattr(row, step) for row in wanted.values())
        late = place.now() - begun > _LONGEST
        if (right and place.now() - begun >= shortest) or late:
            calls = place.rebooted()
            for node, row in wave.items():
                if node in calls and seen[row].hook == "never":
                    seen[row].hook = step
                elif calls.count(node) > 1:
                    seen[row].hook = f"{calls.count(node)} times"
            if late or all(seen[row].hook != "never" for row in wanted.values() if row.hook == step):
                return
        place.let_pass(0.2)
