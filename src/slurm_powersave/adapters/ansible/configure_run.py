"""One detached run of the play for new nodes, as the engine sees it."""

import json
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from slurm_powersave.adapters.processes.process import (
    Tail,
    alive,
    exit_code,
    groups_below,
    said_beside,
    signal_group,
    signal_run,
    wrote_no_exit_code,
)
from slurm_powersave.config.plain_file import read_bytes
from slurm_powersave.model import machine
from slurm_powersave.model.errors import FailureClass
from slurm_powersave.model.hardware import read
from slurm_powersave.model.nodes import Failure, NodeProgress, RunRecord, RunResult
from slurm_powersave.model.outside_text import BOOT_ID, matching

RUN = "run.json"
"""In the run's directory: what was asked for."""

_HIGHEST = 128
"""The highest exit code of a program that ended by itself; a shell adds the signal's number to it."""


class ConfigureRun:
    """One detached run of node.yml; implements ports.Run."""

    def __init__(self, record: RunRecord) -> None:
        self._record = record
        self._tail = Tail(Path(record.directory) / "stdout.jsonl")
        self._silent: set[str] | None = None
        self._end: dict[str, Any] = {}

    @property
    def record(self) -> RunRecord:
        """What must be journalled to follow this run after a restart."""
        return self._record

    def progress(self) -> Sequence[NodeProgress]:
        """Return the nodes that were done or failed since the last call.

        When the run has ended, a node about which it never said anything has failed; but not where the
        control host's own trouble has ended it.
        """
        if self._silent is None:
            self._silent = set(self._requested())
        ended = exit_code(self._record) is not None  # before the lines are read: the last ones count
        news = []
        for line in self._tail.lines():
            found = parse(line)
            if isinstance(found, NodeProgress):
                if found.node in self._silent:
                    self._silent.remove(found.node)
                    news.append(found)
            elif found:
                self._end = found
        if ended:
            result = self._result()
            text = result.text or "the play ended without a word about this node"
            news += [
                NodeProgress(node, False, failure=Failure(result.failure, text))
                for node in sorted(self._silent)
                if not result.machine
            ]
            self._silent = set()
        return news

    def poll(self) -> RunResult | None:
        """Return None while it runs."""
        if exit_code(self._record) is None:
            return None
        if not self._end:
            for line in Tail(Path(self._record.directory) / "stdout.jsonl").lines():
                found = parse(line)
                if isinstance(found, dict):
                    self._end = found
        return self._result()

    def interrupt(self) -> None:
        """Ask it to end: the play's processes are stopped, what they have said is kept."""
        if alive(self._record):
            signal_run(self._record, signal.SIGINT)

    def kill(self) -> None:
        """Kill it. ansible-playbook runs in a session of its own (ansible-runner gives it a terminal)."""
        if alive(self._record):
            groups = groups_below(self._record.pid)
            signal_run(self._record, signal.SIGKILL)
            for group in groups:
                signal_group(group, signal.SIGKILL)

    def _requested(self) -> Sequence[str]:
        try:
            return [str(name) for name in json.loads(read_bytes(Path(self._record.directory) / RUN))["nodes"]]
        except (OSError, ValueError, KeyError):
            return []

    def _result(self) -> RunResult:
        if self._end:
            return RunResult(
                bool(self._end["ok"]),
                str(self._end["text"]),
                FailureClass(self._end.get("failure", "unknown")),
            )
        said = said_beside(self._record)
        if machine.says(said) or wrote_no_exit_code(self._record) or self._wrote_nothing(said):
            words = said.strip().splitlines() or ["its output could not be written"]
            return RunResult(False, f"Ansible could not run: {words[-1]}", FailureClass.UNKNOWN, machine=True)
        return RunResult(False, "the play was killed before its end", FailureClass.UNKNOWN)

    def _wrote_nothing(self, said: str) -> bool:
        """Tell whether it ended by itself, and there was no room for what it had to say of that."""
        code = exit_code(self._record)
        return code is not None and 0 <= code <= _HIGHEST and not said.strip()


def parse(line: str) -> NodeProgress | dict[str, Any] | None:
    """Read a line of playbook_run: a node's news, or how the run ended; None for anything else."""
    try:
        found = json.loads(line)
        if "node" in found:
            failure = None if found["ok"] else Failure(FailureClass(found["failure"]), str(found["text"]))
            boot_id = matching(BOOT_ID, found.get("boot_id"))
            hardware = str(read(found.get("hardware")) or "")
            return NodeProgress(
                str(found["node"]), bool(found["ok"]), failure=failure, boot_id=boot_id, hardware=hardware
            )
        return found if isinstance(found, dict) and "ok" in found else None
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
