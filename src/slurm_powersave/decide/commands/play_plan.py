"""What a play would change on its hosts: which files, which daemons, and whether that is still so. Pure.

It is made of what `ansible-playbook --check --diff` tells (adapters/ansible/check_events.py).
Texts in it come from hosts: they are bounded here, and made printable where they are shown.
"""

import difflib
import hashlib
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from slurm_powersave.model.hostlist import fold

LONGEST_FILE = 4 << 20
"""Characters of a file of which a difference is made."""
_LINES = 200
"""Lines of a difference that are shown."""
_LINE = 400
"""Characters of such a line."""
RECONFIGURES = "reconfigures"


@dataclass(frozen=True)
class FileChange:
    """How one file changes."""

    digest: str = ""
    """Of what it was and what it will be; empty where the content is not to be seen."""
    lines: tuple[str, ...] = ()
    """A unified diff, cut where it is long."""


@dataclass(frozen=True)
class HostPlan:
    """What happens to one host. Without anything in it, the host was looked at and is as it should be."""

    files: Mapping[str, FileChange] = field(default_factory=dict)
    """By path."""
    daemons: Mapping[str, str] = field(default_factory=dict)
    """Unit -> what it does: starts, stops, restarts, reconfigures."""
    others: tuple[str, ...] = ()
    """What else is done, a few words each."""
    unread: str = ""
    """Why not all of it is known; empty if it is."""


@dataclass(frozen=True)
class PlayPlan:
    """What happens to all hosts of a play."""

    hosts: Mapping[str, HostPlan] = field(default_factory=dict)
    refused: str = ""
    """Why the play would end before it changes anything; empty if it would not."""
    notes: tuple[str, ...] = ()
    """What it warns of."""

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> "PlayPlan":
        """Make it of what `dataclasses.asdict` has made."""
        hosts = {
            name: HostPlan(
                {p: FileChange(f["digest"], tuple(f["lines"])) for p, f in one["files"].items()},
                one["daemons"],
                tuple(one["others"]),
                one["unread"],
            )
            for name, one in content["hosts"].items()
        }
        return cls(hosts, content["refused"], tuple(content["notes"]))

    @property
    def nothing(self) -> bool:
        """Whether nothing changes, as far as could be seen."""
        return not any(one.files or one.daemons or one.others for one in self.hosts.values())

    @property
    def whole(self) -> bool:
        """Whether everything could be seen."""
        return not any(one.unread for one in self.hosts.values())

    def does(self, unit: str) -> str:
        """Say what a daemon does on any host; empty for nothing."""
        return next((one.daemons[unit] for one in self.hosts.values() if unit in one.daemons), "")

    def lines(self) -> list[str]:
        """Word it for a person; hosts to which the same happens are told together."""
        found = []
        for (path, change), hosts in self._by(lambda one: one.files.items()):
            found.append(f"{path} changes on {fold(hosts)}{':' if change.lines else ''}")
            found += [f"  {line}" for line in change.lines]
        for (unit, does), hosts in self._by(lambda one: one.daemons.items()):
            also = ", and slurmd with it on the nodes that are up" if does == RECONFIGURES else ""
            found.append(f"{unit} {does} on {fold(hosts)}{also}")
        for text, hosts in self._by(lambda one: one.others):
            found.append(f"{text} on {fold(hosts)}")
        for why, hosts in self._by(lambda one: [one.unread] if one.unread else []):
            found.append(f"{fold(hosts)} can't be read: {why}")
        found += [f"warning: {note}" for note in self.notes]
        # What a host says in several lines is not to look like lines of ours.
        return [line.replace("\n", "\n  ") for line in found]

    def _by(self, parts: Callable[[HostPlan], Iterable[Any]]) -> list[tuple[Any, list[str]]]:
        """Group the hosts by what happens to them."""
        found: dict[Any, list[str]] = {}
        for name, one in self.hosts.items():
            for part in parts(one):
                found.setdefault(part, []).append(name)
        return list(found.items())


def differences(shown: PlayPlan, now: PlayPlan, moving: Collection[str]) -> list[str]:
    """Name what would be done now otherwise than it was shown.

    `moving`: the nodes. Slurm powers them up and down; one that is not there both times does not count.
    """
    found = []
    for name in sorted(shown.hosts.keys() | now.hosts.keys()):
        before, after = shown.hosts.get(name), now.hosts.get(name)
        gone = before is None or after is None or before.unread or after.unread
        if name in moving and gone:
            continue
        one, other = before or HostPlan(), after or HostPlan()
        if other.unread and not one.unread:
            found.append(f"{name} can't be read any more")
        elif not one.unread:
            found += [f"{what} on {name}" for what in _changed(one, other)]
    return found


def _changed(one: HostPlan, other: HostPlan) -> list[str]:
    found = [p for p in sorted(one.files.keys() | other.files) if one.files.get(p) != other.files.get(p)]
    units = sorted(one.daemons.keys() | other.daemons)
    found += [unit for unit in units if one.daemons.get(unit) != other.daemons.get(unit)]
    return found + sorted(set(one.others) ^ set(other.others))


def file_change(path: str, before: str, after: str) -> FileChange:
    """Compare two texts of a file."""
    digest = hashlib.sha256(f"{len(before)} {before}{after}".encode("utf-8", "replace")).hexdigest()
    if max(len(before), len(after)) > LONGEST_FILE:
        return FileChange(digest, ("it is too long to be shown",))
    old, new = before.splitlines(), after.splitlines()
    lines = difflib.unified_diff(old, new, f"{path} (now)", f"{path} (then)", lineterm="", n=1)
    found = [line[:_LINE] for line in lines]
    more = [f"... {len(found) - _LINES} more lines"] if len(found) > _LINES else []
    return FileChange(digest, (*found[:_LINES], *more))
