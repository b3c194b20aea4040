"""Reimage, resize and reboot of one node and of four, by phase, with a plain and with a prepared image."""

import itertools
import statistics
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from slurm_powersave.model.nodes import Operation
from tests.bench.spread import spread
from tests.e2e.harness import Live

ROUNDS = 3
PREPARED = "prepared"
Asked = Mapping[str, tuple[str, str]]
"""What is measured -> the reasons that are given in turn."""
LOCAL: Asked = {
    "reimage, plain image": ("reimage image=newer", "reimage image=default"),
    "reimage, prepared image": (f"reimage image={PREPARED}", f"reimage image={PREPARED}"),
    "resize": ("resize flavor=medium", "resize flavor=small"),
    "reboot": ("reboot", "reboot"),
}
OPENSTACK: Asked = {
    "reimage, plain image": ("reimage image=lab-base-2", "reimage image=lab-base"),
    "resize": ("resize flavor=lab.small", "resize flavor=lab.tiny"),
    "reboot": ("reboot", "reboot"),
}


def measure(live: Live, asked: Asked) -> dict[str, Any]:
    """Bring four nodes up, and change them again and again; all are up afterwards."""
    names = [f"{live.name}-{number}" for number in (1, 2, 3, 4)]
    live.login(f"scontrol update nodename={','.join(names)} state=POWER_UP")
    live.wait("four nodes are up", lambda: live.up(*names), 180)
    live.wait("nothing is under way", lambda: not live.open_operations(), 20)
    found: dict[str, Any] = {}
    for what, reasons in asked.items():
        for count in (1, 4):
            turns = itertools.islice(itertools.cycle(reasons), 2 * ROUNDS if count == 1 else ROUNDS)
            runs = [_run(live, names[:count], reason) for reason in turns]
            found[f"{what}, {count} node{'s' if count > 1 else ''}"] = {
                "total_s": spread([total for total, _ in runs]),
                "phases_s": {
                    phase: round(statistics.median(phases.get(phase, 0.0) for _, phases in runs), 2)
                    for phase in runs[0][1]
                },
            }
    return found


def _run(live: Live, names: list[str], reason: str) -> tuple[float, dict[str, float]]:
    """Ask Slurm as an administrator does; return the seconds to the end and the last node's phases."""
    before = {name: _newest(live, name) for name in names}
    began = float(
        live.login(
            f"date +%s.%N; scontrol reboot ASAP nextstate=RESUME reason='{reason}' {','.join(names)}"
        ).split()[0]
    )

    def ended() -> bool:
        ops = {name: _newest(live, name) for name in names}
        return all(op and op.outcome and op != before[name] for name, op in ops.items())

    live.wait("all are back", ended, 180)
    ops = [op for op in (_newest(live, name) for name in names) if op]
    assert {op.outcome for op in ops} == {"done"}, ops
    last = max(ops, key=lambda op: op.phases[-1].at)
    phases = {"to the engine": last.created - began}
    phases |= {this.phase: following.at - this.at for this, following in pairwise(last.phases)}
    return last.phases[-1].at - began, phases


def _newest(live: Live, name: str) -> Operation | None:
    try:
        return live.newest(name, "reboot")
    except StopIteration:
        return None
