"""The same on OpenStack, on a lab of its own: one-node resumes, and changes of one node and of four."""

import statistics
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

from tests.bench import changes
from tests.bench.spread import spread
from tests.openstack.cluster import Stack
from tests.openstack.harness import Lab

ROUNDS = 3
LANE = 8
"""Beside those of the tests."""


def measure(place: Path, say: Callable[[str], None]) -> dict[str, Any]:
    """Bring the lab up, deploy a cluster in a project of its own, measure, and remove all of it."""
    lab = Lab(place / "openstack", LANE)
    lab.run("down", "--wipe")
    say("bringing the lab up")
    lab.up()
    try:
        with lab.project() as project:
            stack = Stack(project)
            stack.lay_out(suspend_time=3600, boot_timeout=120)
            try:
                stack.make()
                return {
                    "resume": _resumes(stack),
                    "changes": changes.measure(stack, changes.OPENSTACK),
                }
            finally:
                stack.remove()
    finally:
        lab.run("down", "--wipe")


def _resumes(stack: Stack) -> dict[str, Any]:
    """One node from nothing; the first time, which waits for `terraform init`, does not count."""
    lives: list[dict[str, float]] = []
    for _ in range(ROUNDS + 1):
        stack.login("scontrol update nodename=os-1 state=POWER_UP")
        stack.wait("it is up", lambda: stack.up("os-1"), 120)
        stack.quiet()
        phases = stack.newest("os-1").phases
        times = {this.phase: following.at - this.at for this, following in pairwise(phases)}
        lives.append(times | {"total": phases[-1].at - phases[0].at})
        stack.rest()
    counted = lives[1:]
    return {
        "total_s": spread([life["total"] for life in counted]),
        "phases_s": {
            phase: round(statistics.median(life.get(phase, 0.0) for life in counted), 2)
            for phase in counted[0]
            if phase != "total"
        },
    }
