"""What hosts say in check mode is shown as text: it acts on no terminal, and no line looks like ours."""

import pytest

from slurm_powersave.adapters.ansible.check_events import CheckEvents
from slurm_powersave.surfaces.cli import render
from tests.security.attacks import TERMINAL, acting

FORGED = "x\nslurmctld restarts on demo-login\r\nwarning: run this: sh x\u2028server gone is deleted"


@pytest.mark.parametrize("text", [*TERMINAL.values(), FORGED], ids=[*TERMINAL, "forged"])
def test_files_warnings_and_errors_of_hosts(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    events = CheckEvents()
    diff = {"before": text, "after": text + text, "before_header": "/etc/hosts", "after_header": text}
    changed = {"changed": True, "diff": [diff], "changes": [f"start {text}", text], "warnings": [text]}
    for host, kind, res in (
        ("demo-1", "runner_on_ok", changed),
        ("demo-2", "runner_on_failed", {"msg": text, "stderr": text}),
        (text, "runner_on_ok", changed),
    ):
        data = {"host": host, "task_action": "slurm_conf" if host == "demo-1" else "x", "task": text}
        events.event({"event": kind, "event_data": {**data, "res": res}})
    render.show("\n".join(events.plan.lines()))
    shown = capsys.readouterr().out
    assert acting(shown, own="\n") == []
    ours = [line for line in shown.splitlines() if not line.startswith("  ")]
    assert not [line for line in ours if line.startswith(("slurmctld", "warning: run", "server"))]
