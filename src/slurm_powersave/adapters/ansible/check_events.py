"""What ansible-runner's events of a play with --check --diff mean: what it would change. No I/O.

What a host says is in them. A path, a unit or a host's name is taken only where it has the form of one; the
text of a file is data, and bounded.
"""

import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from slurm_powersave.adapters.ansible.play_events import failure_of
from slurm_powersave.decide.commands.play_plan import FileChange, HostPlan, PlayPlan, file_change
from slurm_powersave.model.outside_text import NODE_NAME, matching

_PATH = re.compile(r"/[A-Za-z0-9_./@+-]{1,254}", re.ASCII)
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ()._@+/-]{0,79}", re.ASCII)
_ACTS = {"start": "starts", "stop": "stops", "restart": "restarts", "reconfigure": "reconfigures"}
_REFUSE = ("leaving_nodes", "slurm_conf")
"""Our modules that look first, and fail before anything is changed."""
_MOST = 200
"""Files and acts of one host."""
_LONGEST = 8000
"""Characters of a message."""
_HIDDEN = re.compile(r"0?[0-7]?[0-7]00")
"""The modes of files that only their owner may read."""


class CheckEvents:
    """Takes events in; `plan` is what they amount to."""

    def __init__(self) -> None:
        self._files: dict[str, dict[str, FileChange]] = {}
        self._acts: dict[str, dict[str, set[str]]] = {}
        self._others: dict[str, dict[str, None]] = {}
        self._unread: dict[str, str] = {}
        self._notes: dict[str, None] = {}
        self._refused = ""
        self._change = cache(file_change)  # many hosts have the same file

    @property
    def plan(self) -> PlayPlan:
        """What would be done, as far as was heard."""
        hosts = {
            host: HostPlan(
                files,
                {unit: _does(acts) for unit, acts in self._acts[host].items()},
                tuple(self._others[host]),
                self._unread.get(host, ""),
            )
            for host, files in self._files.items()
        }
        return PlayPlan(hosts, self._refused, tuple(self._notes))

    def event(self, event: Mapping[str, Any]) -> None:
        """Take one event in."""
        data, kind = event.get("event_data") or {}, event.get("event", "")
        host = matching(NODE_NAME, data.get("host"))
        if not host or not kind.startswith("runner_on_"):
            return
        self._files.setdefault(host, {})
        self._acts.setdefault(host, {})
        self._others.setdefault(host, {})
        found = data.get("res")
        result: Mapping[str, Any] = found if isinstance(found, Mapping) else {}
        if kind == "runner_on_unreachable":
            self._unread[host] = "it does not answer over SSH"
        elif kind == "runner_on_failed" and not data.get("ignore_errors"):
            self._failed(host, data, result)
        elif kind == "runner_on_ok":
            self._ok(host, data, result)

    def _failed(self, host: str, data: Mapping[str, Any], result: Mapping[str, Any]) -> None:
        said = result.get("msg")
        if _module(data) in _REFUSE and isinstance(said, str):
            self._refused = self._refused or f"{host}: {said[:_LONGEST]}"
        else:
            self._unread[host] = failure_of(data)[1][:_LONGEST]

    def _ok(self, host: str, data: Mapping[str, Any], result: Mapping[str, Any]) -> None:
        module = _module(data)
        if module == "slurm_conf":
            said = [one for one in _list(result.get("warnings")) if isinstance(one, str)]
            self._notes.update(dict.fromkeys(one[:_LONGEST] for one in said[:20]))
        if result.get("changed") is not True:
            return
        parts = [one for one in _list(result.get("results")) if isinstance(one, Mapping)] or [result]
        known = False
        for part in parts:
            known = self._read(host, module, part) or known
        if not known:
            task = str(data.get("task") or "").rpartition(" : ")[2]
            self._other(host, matching(_WORD, task) or module)

    def _read(self, host: str, module: str, part: Mapping[str, Any]) -> bool:
        """Take in what a task has changed; tell whether it is known what that was."""
        known = False
        for path, change in self._diffs(part):
            known = True
            if len(self._files[host]) < _MOST:
                self._files[host][path] = change
        for said in _list(part.get("changes"))[:_MOST]:
            known = (isinstance(said, str) and self._said(host, said)) or known
        for act in _list(part.get("acts"))[:_MOST] if module == "slurm_conf" else ():
            known = self._act(host, str(act), "slurmctld") or known
        if module == "systemd_service" and (unit := matching(NODE_NAME, part.get("name"))):
            known = True
            self._acts[host].setdefault(unit, set()).update(("start", "stop"))
        return known

    def _diffs(self, part: Mapping[str, Any]) -> Iterator[tuple[str, FileChange]]:
        found = part.get("diff")
        for diff in [found] if isinstance(found, Mapping) else _list(found):
            if not isinstance(diff, Mapping):
                continue
            before, after = diff.get("before"), diff.get("after")
            path = _path(part.get("dest"), diff.get("before_header"), diff.get("after_header"))
            if path and isinstance(before, str) and isinstance(after, str):
                hidden = _HIDDEN.fullmatch(str(part.get("mode") or ""))
                yield path, FileChange() if hidden else self._change(path, before, after)

    def _said(self, host: str, text: str) -> bool:
        """Take in a line of `changes`: a path, or a verb with a path or a unit."""
        verb, _, what = text.partition(" ")
        if path := _path(what if verb in ("write", "remove") else text):
            # A file without a difference is one whose content is not to be seen.
            if len(self._files[host]) < _MOST:
                self._files[host].setdefault(path, FileChange())
            return True
        return self._act(host, verb, what) or self._other(host, text)

    def _act(self, host: str, verb: str, unit: str) -> bool:
        if not matching(NODE_NAME, unit):
            return False
        if verb in _ACTS:
            self._acts[host].setdefault(unit, set()).add(verb)
            return True
        return self._other(host, f"{verb} {unit}")

    def _other(self, host: str, text: str) -> bool:
        if matching(_WORD, text) and len(self._others[host]) < _MOST:
            self._others[host][text] = None
            return True
        return False


def _does(acts: set[str]) -> str:
    return "restarts" if {"start", "stop"} <= acts else _ACTS[sorted(acts)[-1]]


def _module(data: Mapping[str, Any]) -> str:
    return str(data.get("task_action", "")).rpartition(".")[2]


def _path(*said: object) -> str:
    return next((path for one in said if (path := matching(_PATH, one))), "")


def _list(said: object) -> list[Any]:
    return said if isinstance(said, list) else []
