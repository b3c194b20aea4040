"""What ansible-runner's events mean for the nodes of a run. No I/O."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Line = dict[str, Any]
MODULE = "slurm_host"
LONGEST = 400
"""Characters of a failure's text: it goes into Slurm's Reason."""

_COLOR = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_ERROR = re.compile(r"^(?:\[ERROR\]: |ERROR! |fatal: )(.+)$", re.MULTILINE)


class Group:
    """The nodes of one ansible-playbook and what is known of each.

    A node's outcome is said once. Ours is the only task whose result is final by itself: a failed task of
    a site's playbook may be rescued, so the statistics at the end decide; with a playbook after ours a
    node is done only then, too.
    """

    def __init__(self, nodes: Sequence[str], more_follows: bool, say: Callable[[Line], None]) -> None:
        self._waiting = dict.fromkeys(nodes)
        self._more_follows = more_follows
        self._say = say
        self._configured: set[str] = set()
        self._words: dict[str, tuple[str, str]] = {}
        self.ok = True
        self.failure = "node-local"
        self.heard = False
        """Whether the play got as far as a host."""

    def event(self, event: Mapping[str, Any]) -> None:
        """Take one event in."""
        data = event.get("event_data") or {}
        host, kind = data.get("host", ""), event.get("event", "")
        if kind == "runner_on_ok" and _is_ours(data):
            self.heard = True
            self._configured.add(host)
            if not self._more_follows:
                self._done(host)
        elif kind == "runner_on_failed" and not data.get("ignore_errors"):
            self.heard = True
            self._words[host] = failure_of(data)
            if _is_ours(data):
                self._failed(host, *self._words[host])
        elif kind == "runner_on_unreachable":
            self.heard = True
            self._failed(host, "node-local", f"unreachable: {_text(data.get('res') or {})}")
        elif kind == "playbook_on_stats":
            self._stats(data)

    def _stats(self, data: Mapping[str, Any]) -> None:
        bad = {**(data.get("failures") or {}), **(data.get("dark") or {})}
        for host in list(self._waiting):
            if host in bad:
                self._failed(host, *self._words.get(host, ("node-local", "a task failed without a message")))
            elif host in self._configured:
                self._done(host)
            elif host not in (data.get("processed") or {}):
                self._failed(host, "config", "it took no part in the play: is it in the inventory?")

    def finish(self, failure: str, text: str) -> None:
        """The run has ended: whoever is still waiting failed for that reason."""
        for host in list(self._waiting):
            self._failed(host, failure, text or "the play ended before this node was configured")

    def _done(self, host: str) -> None:
        if host in self._waiting:
            del self._waiting[host]
            self._say({"node": host, "ok": True, "text": ""})

    def _failed(self, host: str, failure: str, text: str) -> None:
        if host in self._waiting:
            del self._waiting[host]
            self.failure = failure if self.ok else self.failure
            self.ok = False
            self._say({"node": host, "ok": False, "failure": failure, "text": text[:LONGEST]})


def failure_of(data: Mapping[str, Any]) -> tuple[str, str]:
    """Return class and text of a failed task.

    A result that no module made failed on the control host, before anything reached the node: an
    undefined variable, a template, a missing file. That fails in the same way everywhere.
    """
    result = data.get("res") or {}
    here = not {"invocation", "module_stdout", "rc", "exception", "ansible_facts"} & set(result)
    text = _text(result)
    task = str(data.get("task") or "").rpartition(" : ")[2]
    return ("config" if here else "node-local"), text if _is_ours(data) else f"{task}: {text}"


def play_failure(status: str, rc: int | None, words: str, timeout: float, heard: bool) -> tuple[str, str]:
    """Return class and text of a run that ended; ("unknown", "") if it ended well or its hosts tell why."""
    if status == "timeout":
        return "node-local", f"the play was stopped after {timeout:g} s"
    if status == "canceled":
        return "unknown", "the play was interrupted"
    if rc == 0 or heard:
        return "unknown", ""
    found = _ERROR.search(_COLOR.sub("", words))
    why = found[1].strip() if found else words.strip()[-LONGEST:]
    return "config", f"ansible-playbook ended with {rc}: {why}"[:LONGEST]


def _is_ours(data: Mapping[str, Any]) -> bool:
    return str(data.get("task_action", "")).rpartition(".")[2] == MODULE


def _text(result: Mapping[str, Any]) -> str:
    words = str(result.get("msg") or "").strip() or "no message"
    more = str(result.get("stderr") or result.get("module_stderr") or "").strip()
    return " ".join(f"{words}: {more}".split() if more else words.split())
