"""What ansible-runner's events mean for the nodes of a run. No I/O."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from slurm_powersave.model.errors import FailureClass

Line = dict[str, Any]
MODULE = "slurm_host"
LONGEST = 400
"""Characters of a failure's text: it goes into Slurm's Reason."""

# How ansible-core 2.18 and 2.19 begin what failed before a module ran.
_CONTROL_HOST = re.compile(r"^Task failed: |undefined variable|^Could not find or access|^The task includes")
_BEGINNING = re.compile(
    r"^(Task failed: )?((Module failed: )|"
    r"(Data could not be sent to remote host \"[^\"]*\"\. |Failed to connect to the host via ssh: )"
    r"(Make sure this host can be reached over ssh: )?)?"
)
_COLOR = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_ERROR = re.compile(r"^(?:\[ERROR\]: |ERROR! )(.+)", re.MULTILINE | re.DOTALL)


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
        self._boots: dict[str, str] = {}
        """Host -> the boot_id that our module found."""
        self._words: dict[str, tuple[FailureClass, str]] = {}
        self.failed: dict[str, FailureClass] = {}
        self.heard = False
        """Whether the play got as far as a host."""

    def event(self, event: Mapping[str, Any]) -> None:
        """Take one event in."""
        data = event.get("event_data") or {}
        host, kind = data.get("host", ""), event.get("event", "")
        if _is_ours(data) and (boot := (data.get("res") or {}).get("boot_id")):
            self._boots[host] = str(boot)
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
            self._failed(host, FailureClass.NODE_LOCAL, f"unreachable: {_text(data.get('res') or {})}")
        elif kind == "playbook_on_stats":
            self._stats(data)

    def _stats(self, data: Mapping[str, Any]) -> None:
        bad = {**(data.get("failures") or {}), **(data.get("dark") or {})}
        silent = (FailureClass.NODE_LOCAL, "a task failed without a message")
        for host in list(self._waiting):
            if host in bad:
                self._failed(host, *self._words.get(host, silent))
            elif host in self._configured:
                self._done(host)
            elif host not in (data.get("processed") or {}):
                # Ansible ends well when --limit names hosts that it does not know.
                self._failed(
                    host, FailureClass.CONFIG, "it took no part in the play: is it in the inventory?"
                )

    def finish(self, failure: FailureClass, text: str) -> None:
        """The run has ended: whoever is still waiting failed for that reason."""
        for host in list(self._waiting):
            self._failed(host, failure, text or "the play ended before this node was configured")

    def _done(self, host: str) -> None:
        if host in self._waiting:
            del self._waiting[host]
            self._say({"node": host, "ok": True, "text": "", **self._boot(host)})

    def _failed(self, host: str, failure: FailureClass, text: str) -> None:
        if host in self._waiting:
            del self._waiting[host]
            self.failed[host] = failure
            self._say(
                {"node": host, "ok": False, "failure": failure, "text": text[:LONGEST], **self._boot(host)}
            )

    def _boot(self, host: str) -> Line:
        return {"boot_id": self._boots[host]} if host in self._boots else {}


def failure_of(data: Mapping[str, Any]) -> tuple[FailureClass, str]:
    """Return class and text of a failed task.

    A result that no module made failed on the control host, before anything reached the node: an
    undefined variable, a template, a missing file. That fails in the same way everywhere. A site's
    playbook may also fail on purpose (ansible.builtin.fail), which is about the node.
    """
    result = data.get("res") or {}
    text = _text(result)
    if not _is_ours(data):
        task = str(data.get("task") or "").rpartition(" : ")[2]
        text = f"{task}: {text}"
    reached = {"invocation", "module_stdout", "rc"} & set(result)
    on_purpose = not _is_ours(data) and not _CONTROL_HOST.search(str(result.get("msg", "")))
    return (FailureClass.NODE_LOCAL if reached or on_purpose else FailureClass.CONFIG), text


def play_failure(
    status: str, rc: int | None, words: str, timeout: float, heard: bool
) -> tuple[FailureClass, str]:
    """Return class and text of a run that has ended; no text if it ended well or its hosts have told why."""
    if status == "timeout":
        return FailureClass.NODE_LOCAL, f"the play was stopped after {timeout:g} s"
    if status == "canceled":
        return FailureClass.UNKNOWN, "the play was interrupted"
    if rc == 0 or heard:
        return FailureClass.UNKNOWN, ""
    found = _ERROR.search(_COLOR.sub("", words))
    why = " ".join((found[1] if found else words[-LONGEST:]).split())
    return FailureClass.CONFIG, f"ansible-playbook ended with {rc}: {why}"[:LONGEST]


def _is_ours(data: Mapping[str, Any]) -> bool:
    return str(data.get("task_action", "")).rpartition(".")[2] == MODULE


def _text(result: Mapping[str, Any]) -> str:
    """Return a result's message in one line, without what every such message begins with."""
    words = str(result.get("msg") or "").strip() or "no message"
    if "REMOTE HOST IDENTIFICATION HAS CHANGED" in words:
        return "its SSH host key is not the one that the cloud handed out"
    more = str(result.get("stderr") or result.get("module_stderr") or "").strip()
    if more:
        words += f": {more}"
    return " ".join(_BEGINNING.sub("", words).split())
