"""`python -m slurm_powersave.adapters.ansible.playbook_run DIR`: node.yml for a batch, apart from the engine.

Reads DIRECTORY/run.json; writes one JSON line per node as soon as that node is done or has failed, and a
last one on how the run ended. ansible-runner gets a directory of its own for each run of Ansible, which is
deleted: it would use an earlier run's variables again, and it keeps its whole environment in a file.

The playbooks of a site are runs of their own. They have facts as variables, as is usual with Ansible, and a
fact that a node invents replaces the variable of its name; our plays read files of this host by variables.
"""

import json
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slurm_powersave.adapters.ansible.play_events import Group, Line, Source, marked, play_failure
from slurm_powersave.adapters.ansible.site_variables import protected
from slurm_powersave.adapters.processes.process import groups_below, signal_group, take_orphans
from slurm_powersave.config.plain_file import read_bytes, read_text
from slurm_powersave.decide.slurm_files.literal import literal
from slurm_powersave.model import machine
from slurm_powersave.model.errors import FailureClass, MachineError

POLL_SECONDS = 1.0
_END_SECONDS = 5.0
_SAID = 600
"""Characters that are told of what ansible-playbook printed."""


@dataclass(frozen=True)
class _Step:
    """One run of Ansible."""

    playbook: str
    site: bool = False
    """Whether it is the site's."""
    start: bool = True
    """Whether our playbook starts slurmd; it does not where a playbook of the site follows."""
    more_follows: bool = False


def _steps(playbook: str, before: str | None, after: str | None) -> list[_Step]:
    """Order the playbooks: slurmd starts last."""
    found = [_Step(before, site=True, more_follows=True)] if before else []
    if after:
        found += [_Step(playbook, start=False, more_follows=True), _Step(after, site=True, more_follows=True)]
    return [*found, _Step(playbook)]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the plays of all groups at once; return 0 if every node is configured."""
    (directory,) = map(Path, sys.argv[1:] if argv is None else argv)
    plan = json.loads(read_bytes(directory / "run.json"))
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    speak = threading.Lock()

    def say(line: Line) -> None:
        with speak:
            print(json.dumps(line), flush=True)

    for name, why in plan["refused"].items():
        say({"node": name, "ok": False, "failure": FailureClass.NODE_LOCAL, "text": why})
    groups = [Group(group["nodes"], True, say) for group in plan["groups"]]
    with ThreadPoolExecutor(max(1, len(groups))) as pool:
        texts = list(
            pool.map(
                lambda part: _run(directory / f"group-{part[0]}", plan, part[1], part[2], stop.is_set),
                [(number, plan["groups"][number], group) for number, group in enumerate(groups)],
            )
        )
    shutil.rmtree(plan["inventory"], ignore_errors=True)  # may hold what a site calls secret
    failed = [failure for group in groups for failure in group.failed.values()]
    failed += [FailureClass.NODE_LOCAL] * len(plan["refused"])
    text = next((text for text in texts if text), "")
    if failed and not text:
        text = f"{len(failed)} of {len(plan['nodes'])} nodes failed"
    say({"ok": not failed, "text": text, "failure": failed[0] if failed else FailureClass.UNKNOWN})
    return 1 if failed else 0


def _run(
    directory: Path,
    plan: Mapping[str, Any],
    hooks: Mapping[str, Any],
    group: Group,
    stopped: Callable[[], bool],
) -> str:
    """Run one group's playbooks, each in a fresh directory; return why it failed as a whole, or nothing."""
    deadline = time.monotonic() + plan["timeout"]
    for step in _steps(plan["playbook"], hooks["before"], hooks["after"]):
        nodes = group.begin(more_follows=step.more_follows, site=step.site)
        if not nodes:
            break
        directory.mkdir(mode=0o700)
        try:
            failure, text = _run_step(
                directory, plan, step, group, nodes, deadline - time.monotonic(), stopped
            )
        finally:
            shutil.rmtree(directory, ignore_errors=True)
        group.finish(failure, text)
        if text:
            return text
    return ""


def _run_step(
    directory: Path,
    plan: Mapping[str, Any],
    step: _Step,
    group: Group,
    nodes: Sequence[str],
    seconds: float,
    stopped: Callable[[], bool],
) -> tuple[FailureClass, str]:
    import ansible_runner

    (directory / "env").mkdir(mode=0o700)
    # ansible-runner forgets its argument `settings` when there is no such file.
    (directory / "env/settings").write_text(json.dumps({"pexpect_timeout": POLL_SECONDS}))
    (directory / "limit").write_text("".join(f"{name}\n" for name in nodes))
    source = Source()
    errors: list[BaseException] = []

    def on_event(event: Mapping[str, Any]) -> bool:
        # An exception in here would come out of run() and leave ansible-playbook behind.
        try:
            if source.is_genuine(event):
                group.event(event)
        except Exception as error:
            errors.append(error)
        return False  # no file per event

    environment = {
        "ANSIBLE_LOCAL_TEMP": str(directory / "tmp"),
        "ANSIBLE_INJECT_FACT_VARS": str(step.site),
    }
    try:
        runner = ansible_runner.run(
            private_data_dir=str(directory),
            playbook=_playbook(directory, plan["inventory"], step),
            inventory=plan["inventory"],
            limit=f"@{directory / 'limit'}",
            extravars={} if step.site else _extra(plan, step, nodes),
            envvars=environment,
            forks=min(50, max(5, len(nodes))),
            timeout=max(1, int(seconds)),
            quiet=True,
            suppress_env_files=True,
            event_handler=on_event,
            cancel_callback=stopped,
        )
    except Exception as error:
        # Its reader of Ansible's output fails on what it does not expect there.
        errors.append(error)
    if errors and machine.is_at_fault(errors[0]):
        raise errors[0]  # of no node a word is said: the engine tries again
    if errors:
        return FailureClass.UNKNOWN, f"the play's events could not be read: {errors[0]}"
    words = _words(directory)
    if runner.rc != 0 and not group.heard and machine.says(words):
        raise MachineError("ansible-playbook could not run", why=words[-_SAID:])
    return play_failure(runner.status, runner.rc, words, plan["timeout"], group.heard)


def _extra(plan: Mapping[str, Any], step: _Step, nodes: Sequence[str]) -> dict[str, Any]:
    """Return the variables of our playbook; what a cloud or a node has once said is no template there."""
    expected = {name: plan["expected"][name] for name in nodes}
    return {"slurm_host_expected": literal(expected), "slurm_host_start": step.start}


def _playbook(directory: Path, inventory: str, step: _Step) -> str:
    if not step.site:
        return step.playbook
    wrapper = directory / "site.yml"
    # JSON is YAML, and quotes any path.
    wrapper.write_text(json.dumps(marked(step.playbook, protected(Path(inventory)))) + "\n")
    return str(wrapper)


def _words(directory: Path) -> str:
    """Return what ansible-playbook printed, for an error that belongs to no host."""
    found = sorted(directory.glob("artifacts/*/std*"))
    return "\n".join(read_text(path, errors="replace") for path in found)


def _end_descendants() -> None:
    """A worker of ansible-core 2.19 has a session of its own: it outlives a play that is stopped.

    It would go on with its node, and writes into the directory that is to be deleted.
    """
    deadline = time.monotonic() + _END_SECONDS
    while time.monotonic() < deadline:
        for group in groups_below(os.getpid()):
            signal_group(group, signal.SIGKILL)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        time.sleep(0.02)


if __name__ == "__main__":
    take_orphans()
    code = main()
    if code != 0:
        _end_descendants()
        for left in Path(sys.argv[1]).glob("group-*"):
            shutil.rmtree(left, ignore_errors=True)
    sys.exit(code)
