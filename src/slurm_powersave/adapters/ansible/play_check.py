"""A play with --check --diff: what it would change, read from its events. Nothing is changed anywhere.

`python -m slurm_powersave.adapters.ansible.play_check DIR` is the process that runs Ansible, in an
without anything of ours; it prints the plan as JSON. The directory is ansible-runner's, and is deleted.
"""

import json
import shutil
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from slurm_powersave.adapters.ansible.check_events import CheckEvents
from slurm_powersave.adapters.ansible.play_events import Source, play_failure
from slurm_powersave.adapters.ansible.playbooks import Site, environment
from slurm_powersave.adapters.processes.process import run
from slurm_powersave.config.plain_file import read_bytes, read_text
from slurm_powersave.decide.commands.play_plan import PlayPlan
from slurm_powersave.decide.slurm_files.literal import literal
from slurm_powersave.model.errors import PlaybookError

_SECONDS = 900.0
_LARGEST = 64 << 20
"""Bytes of a plan."""


def check(site: Site, playbook: str, extra: Mapping[str, Any], place: Path) -> PlayPlan:
    """Run a play in check mode; `extra` are variables, in which nothing is a template.

    A host that does not answer, or of which not all can be read, is named in the plan.

    Raises:
        PlaybookError: Ansible could not run at all.
    """
    directory = Path(tempfile.mkdtemp(prefix="check-", dir=place))
    try:
        wanted = {"playbook": str(site.playbooks / playbook), "inventory": str(site.inventory)}
        (directory / "check.json").write_text(json.dumps({**wanted, "extra": literal(extra)}))
        argv = [sys.executable, "-m", __spec__.name, str(directory)]
        done = run(argv, timeout=_SECONDS, env=environment(site), cwd=directory, limit=_LARGEST)
        if done.rc != 0:
            raise PlaybookError(
                f"{playbook} could not be run in check mode",
                why=done.err.strip()[-600:] or f"exit code {done.rc}",
                todo="Nothing was changed.",
            )
        return PlayPlan.of(json.loads(done.out))
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def main() -> int:
    """Run the play of a directory's check.json; return 0 if anything was heard of its hosts."""
    import ansible_runner

    (directory,) = map(Path, sys.argv[1:])
    wanted = json.loads(read_bytes(directory / "check.json"))
    (directory / "env").mkdir(mode=0o700)
    # ansible-runner forgets its argument `settings` when there is no such file.
    (directory / "env/settings").write_text(json.dumps({"pexpect_timeout": 1.0}))
    source, events = Source(), CheckEvents()
    errors: list[BaseException] = []

    def on_event(event: Mapping[str, Any]) -> bool:
        # An exception in here would come out of run() and leave ansible-playbook behind.
        try:
            if source.is_genuine(event):
                events.event(event)
        except Exception as error:
            errors.append(error)
        return False  # no file per event

    runner = ansible_runner.run(
        private_data_dir=str(directory),
        playbook=wanted["playbook"],
        inventory=wanted["inventory"],
        extravars=wanted["extra"],
        envvars={"ANSIBLE_LOCAL_TEMP": str(directory / "tmp")},
        cmdline="--check --diff",
        forks=50,
        timeout=int(_SECONDS - 30),
        quiet=True,
        suppress_env_files=True,
        event_handler=on_event,
    )
    plan = events.plan
    words = "\n".join(
        read_text(path, errors="replace") for path in sorted(directory.glob("artifacts/*/std*"))
    )
    why = play_failure(runner.status, runner.rc, words, _SECONDS, bool(plan.hosts))[1]
    if errors or why:
        print(errors[0] if errors else why, file=sys.stderr)
        return 1
    print(json.dumps(asdict(plan)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
