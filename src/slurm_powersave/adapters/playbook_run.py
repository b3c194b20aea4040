"""`python -m slurm_powersave.adapters.playbook_run DIRECTORY`: one run of node.yml, apart from the engine.

Reads DIRECTORY/run.json; writes one JSON line per node as soon as that node is done or has failed, and a
last one on how the run ended. ansible-runner gets a directory of its own for each run, which is deleted:
it would use an earlier run's variables again, and it keeps its whole environment in a file.
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
from pathlib import Path
from typing import Any

from slurm_powersave.adapters.play_events import Group, Line, play_failure
from slurm_powersave.adapters.process import adopt_orphans, groups_below, signal_group
from slurm_powersave.model.errors import FailureClass

POLL_SECONDS = 1.0
_END_SECONDS = 5.0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the plays of all groups at once; return 0 if every node is configured."""
    (directory,) = map(Path, sys.argv[1:] if argv is None else argv)
    plan = json.loads((directory / "run.json").read_text())
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    speak = threading.Lock()

    def say(line: Line) -> None:
        with speak:
            print(json.dumps(line), flush=True)

    for name, why in plan["refused"].items():
        say({"node": name, "ok": False, "failure": FailureClass.NODE_LOCAL, "text": why})
    groups = [Group(group["nodes"], bool(group["after"]), say) for group in plan["groups"]]
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
    """Run one group's play in a fresh directory; return why it failed as a whole, or nothing."""
    directory.mkdir(mode=0o700)
    try:
        return _run_in(directory, plan, hooks, group, stopped)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _run_in(
    directory: Path,
    plan: Mapping[str, Any],
    hooks: Mapping[str, Any],
    group: Group,
    stopped: Callable[[], bool],
) -> str:
    import ansible_runner

    (directory / "env").mkdir(mode=0o700)
    # ansible-runner forgets its argument `settings` when there is no such file.
    (directory / "env/settings").write_text(json.dumps({"pexpect_timeout": POLL_SECONDS}))
    (directory / "limit").write_text("".join(f"{name}\n" for name in hooks["nodes"]))
    errors: list[BaseException] = []

    def on_event(event: Mapping[str, Any]) -> bool:
        # An exception in here would come out of run() and leave ansible-playbook behind.
        try:
            group.event(event)
        except Exception as error:
            errors.append(error)
        return False  # no file per event

    runner = ansible_runner.run(
        private_data_dir=str(directory),
        playbook=str(_playbook(directory, plan["playbook"], hooks)),
        inventory=plan["inventory"],
        limit=f"@{directory / 'limit'}",
        extravars={"slurm_host_expected": plan["expected"]},
        envvars={"ANSIBLE_LOCAL_TEMP": str(directory / "tmp")},
        forks=min(50, max(5, len(hooks["nodes"]))),
        timeout=int(plan["timeout"]),
        quiet=True,
        suppress_env_files=True,
        event_handler=on_event,
        cancel_callback=stopped,
    )
    if errors:
        text = f"the play's events could not be read: {errors[0]}"
        group.finish(FailureClass.UNKNOWN, text)
        return text
    failure, text = play_failure(runner.status, runner.rc, _words(directory), plan["timeout"], group.heard)
    group.finish(failure, text)
    return text


def _playbook(directory: Path, playbook: str, hooks: Mapping[str, Any]) -> Path:
    """Return node.yml, or with hooks a playbook that has them around it.

    One playbook, not several arguments: ansible-playbook stops after the first one with a failed host,
    while within one a failed host just takes no part in later plays.
    """
    if not hooks["before"] and not hooks["after"]:
        return Path(playbook)
    paths = [path for path in (hooks["before"], playbook, hooks["after"]) if path]
    wrapper = directory / "node-with-hooks.yml"
    # JSON is YAML, and quotes any path.
    wrapper.write_text(json.dumps([{"ansible.builtin.import_playbook": path} for path in paths]) + "\n")
    return wrapper


def _words(directory: Path) -> str:
    """Return what ansible-playbook printed, for an error that belongs to no host."""
    found = sorted(directory.glob("artifacts/*/std*"))
    return "\n".join(path.read_text(errors="replace") for path in found)


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
    adopt_orphans()
    code = main()
    if code != 0:
        _end_descendants()
        for left in Path(sys.argv[1]).glob("group-*"):
            shutil.rmtree(left, ignore_errors=True)
    sys.exit(code)
