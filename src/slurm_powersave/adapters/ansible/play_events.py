"""What ansible-runner's events mean for the nodes of a run. No I/O.

What a node says is in them, so its words are taken only where they have the form that they must have.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from slurm_powersave.model.errors import FailureClass
from slurm_powersave.model.hardware import read
from slurm_powersave.model.outside_text import BOOT_ID, matching

Line = dict[str, Any]
MODULE = "slurm_host"
LONGEST = 400
"""Characters of a failure's text: it goes into Slurm's Reason."""
_READ = 10_000
"""Characters of a message that are looked at."""

# How ansible-core 2.18 and 2.19 begin what failed before a module ran.
_CONTROL_HOST = re.compile(r"^Task failed: |undefined variable|^Could not find or access|^The task includes")
_BEGINNING = re.compile(
    r"^(Task failed: )?((Module failed: )|"
    r"(Data could not be sent to remote host \"[^\"]*\"\. |Failed to connect to the host via ssh: )"
    r"(Make sure this host can be reached over ssh: )?)?"
)
_ENDS = "slurm-powersave: the site's playbook has ended"
_COLOR = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_ERROR = re.compile(r"^(?:\[ERROR\]: |ERROR! )(.+)", re.MULTILINE | re.DOTALL)


def marked(playbook: str, variables: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a playbook that runs the site's and then says that it got to its end.

    Ansible stops in the middle with any_errors_fatal, or where all hosts of a play have failed; the hosts
    that did nothing wrong are then in its statistics as those that have succeeded.
    """
    return [
        {"ansible.builtin.import_playbook": playbook, "vars": dict(variables)},
        {"name": _ENDS, "hosts": "all", "gather_facts": False, "tasks": []},
    ]


class Source:
    """Tells the events of our ansible-playbook from what a host made look like one.

    They come in its output, between control characters, and what hosts say is in there as well. Every event
    carries the id by which the first one called the run; no host gets to see it.
    """

    def __init__(self) -> None:
        self._run = ""

    def is_genuine(self, event: Mapping[str, Any]) -> bool:
        """Tell whether ansible-playbook has said this."""
        data = event.get("event_data")
        run = data.get("playbook_uuid") if isinstance(data, Mapping) else None
        if not self._run and event.get("event") == "playbook_on_start":
            self._run = str(run)  # nothing was asked of any host yet
        return bool(self._run) and run == self._run


class Group:
    """The nodes that get the same playbooks, and what is known of each.

    Our own playbook and those of the site are runs of Ansible of their own, one after the other, each for
    the nodes that have come through the one before. A node's outcome is said once: at once with the result
    of our module where nothing follows it. A failed task of a site's playbook may be rescued: there the
    statistics at the end of the run decide.
    """

    def __init__(self, nodes: Sequence[str], more_follows: bool, say: Callable[[Line], None]) -> None:
        """`more_follows`: whether another run comes after the first one."""
        self._waiting = dict.fromkeys(nodes)
        self._say = say
        self._boots: dict[str, str] = {}
        """Host -> the boot_id that our module found."""
        self._hardware: dict[str, str] = {}
        """Host -> what its slurmd says of its hardware."""
        self.failed: dict[str, FailureClass] = {}
        self.begin(more_follows=more_follows)

    def begin(self, *, more_follows: bool, site: bool = False) -> tuple[str, ...]:
        """Another run begins, ours or the site's; return the nodes that it is for."""
        self._more_follows, self._site = more_follows, site
        self._through: set[str] = set()
        self._ended = False
        self._words: dict[str, tuple[FailureClass, str]] = {}
        self.heard = False
        """Whether the run got as far as a host."""
        return tuple(self._waiting)

    def event(self, event: Mapping[str, Any]) -> None:
        """Take one event in."""
        data = event.get("event_data") or {}
        host, kind = data.get("host", ""), event.get("event", "")
        if kind == "playbook_on_play_start" and data.get("name") == _ENDS:
            self._ended = True
        elif kind == "playbook_on_stats":
            self._stats(data)
        elif host in self._waiting:
            self._host_event(host, kind, data)

    def _host_event(self, host: str, kind: str, data: Mapping[str, Any]) -> None:
        ours = _is_ours(data) and not self._site
        if ours and (boot := matching(BOOT_ID, _result(data).get("boot_id"))):
            self._boots[host] = boot
        if ours and (hardware := read(_result(data).get("hardware"))):
            self._hardware[host] = str(hardware)
        if kind == "runner_on_ok":
            self.heard = True
            if ours:
                self._through.add(host)
                if not self._more_follows:
                    self._done(host)
        elif kind == "runner_on_failed" and not data.get("ignore_errors"):
            self.heard = True
            self._words[host] = failure_of(data)
            if ours:
                self._failed(host, *self._words[host])
        elif kind == "runner_on_unreachable":
            self.heard = True
            self._failed(host, FailureClass.NODE_LOCAL, f"unreachable: {_text(_result(data))}")

    def _stats(self, data: Mapping[str, Any]) -> None:
        bad = {**(data.get("failures") or {}), **(data.get("dark") or {})}
        silent = (FailureClass.NODE_LOCAL, "a task failed without a message")
        for host in list(self._waiting):
            if host in bad:
                self._failed(host, *self._words.get(host, silent))
            elif self._site:
                # A playbook of the site need not be for all nodes of a pool.
                if self._ended:
                    self._through.add(host)
            elif host not in self._through and host not in (data.get("processed") or {}):
                # Ansible ends well when --limit names hosts that it does not know.
                self._failed(
                    host, FailureClass.CONFIG, "it took no part in the play: is it in the inventory?"
                )

    def finish(self, failure: FailureClass, text: str) -> None:
        """The run has ended: who has not come through it failed for that reason."""
        for host in list(self._waiting):
            if not self._more_follows or host not in self._through:
                self._failed(host, failure, text or "the play ended before this node was configured")

    def _done(self, host: str) -> None:
        if host in self._waiting:
            del self._waiting[host]
            hardware = {"hardware": self._hardware[host]} if host in self._hardware else {}
            self._say({"node": host, "ok": True, "text": "", **self._boot(host), **hardware})

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
    result = _result(data)
    text = _text(result)
    if not _is_ours(data):
        task = str(data.get("task") or "").rpartition(" : ")[2]
        text = f"{task}: {text}"
    reached = {"invocation", "module_stdout", "rc"} & set(result)
    on_purpose = not _is_ours(data) and not _CONTROL_HOST.search(_word(result, "msg"))
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


def _result(data: Mapping[str, Any]) -> Mapping[str, Any]:
    found = data.get("res")
    return found if isinstance(found, Mapping) else {}


def _word(result: Mapping[str, Any], key: str) -> str:
    """Return a text of a result; a module of a host may put anything in its place, of any size."""
    found = result.get(key)
    return found[:_READ].strip() if isinstance(found, str) else ""


def _text(result: Mapping[str, Any]) -> str:
    """Return a result's message in one line, without what every such message begins with."""
    words = _word(result, "msg") or "no message"
    if "REMOTE HOST IDENTIFICATION HAS CHANGED" in words:
        return "its SSH host key is not the one that the cloud handed out"
    if more := _word(result, "stderr") or _word(result, "module_stderr"):
        words += f": {more}"
    return " ".join(_BEGINNING.sub("", words).split())
