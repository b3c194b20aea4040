"""The Slurm in memory against the table of `scontrol reboot`; tests/e2e holds the real one to it."""

from collections.abc import Mapping, Sequence
from functools import cache

import pytest

from slurm_powersave.model.modes import Mode
from slurm_powersave.model.nodes import SlurmNode
from slurm_powersave.model.slurm_version import Version
from slurm_powersave.model.slurm_versions import TESTED
from slurm_powersave.testing.cloud import MemoryClock
from slurm_powersave.testing.slurm import MemorySlurm
from tests.contract.reboot_table import Row, Seen, observe, rows
from tests.permits import permits

VERSIONS = [str(version) for version in TESTED]


class Memory:
    """Implements Place on a MemorySlurm."""

    def __init__(self, version: str) -> None:
        self.nodes = ("n1", "n2", "n3", "n4", "n5", "n6")
        self._clock = MemoryClock()
        self._calls: list[str] = []
        self._slurm = MemorySlurm(
            self._clock, self.nodes, self._hook, suspend_timeout=15, resume_timeout=90, version=version
        )
        self.tidy()

    def _hook(self, mode: Mode, hostlist: str) -> None:
        if mode is Mode.REBOOT:
            self._calls += hostlist.split(",")

    def prepare(self, states: Mapping[str, str]) -> None:
        self._calls.clear()
        for node, state in states.items():
            if "job" in state or state == "allocated":
                self._slurm.submit(node)
            if "drained" in state:
                self._slurm.update_nodes(
                    [node], state="DRAIN", reason="disk", permits=permits("DRAIN", [node])
                )
            elif state == "down":
                self._slurm.update_nodes([node], state="DOWN", reason="dead", permits=permits("DOWN", [node]))
            elif "reserved" in state:
                flags = ("RESERVED", "MAINTENANCE") if "maintenance" in state else ("RESERVED",)
                self._slurm.set_flags(node, "IDLE", "CLOUD", *flags)
            elif state.startswith("power"):
                self._power(node, state)

    def _power(self, node: str, state: str) -> None:
        self._slurm.suspend(node)
        if state != "powering down":
            self._slurm.update_nodes([node], state="RESUME")
        if state == "powering up":
            self._slurm.update_nodes([node], state="POWER_UP")

    def request(self, words: Mapping[str, Row]) -> None:
        for node, row in words.items():
            self._slurm.scontrol_reboot(node, **row.arguments())

    def end_jobs(self) -> None:
        for job in list(self._slurm.jobs):
            self._slurm.end(job)

    def boot(self, nodes: Sequence[str]) -> None:
        for node in nodes:
            self._slurm.register(node)

    def look(self) -> Mapping[str, SlurmNode]:
        return self._slurm.snapshot().nodes

    def rebooted(self) -> Sequence[str]:
        return self._calls

    def now(self) -> float:
        return self._clock.now()

    def let_pass(self, seconds: float) -> None:
        self._clock.advance(seconds)
        self._slurm.tick()

    def tidy(self) -> None:
        for node in self.nodes:
            self._slurm.set_flags(node, "IDLE", "CLOUD")


@cache
def seen(version: str) -> Mapping[Row, Seen]:
    """What came of every row."""
    return observe(Memory(version), list(rows(Version.of(version))))


@pytest.mark.parametrize(
    ("version", "row"),
    [(version, row) for version in VERSIONS for row in rows(Version.of(version))],
    ids=lambda value: value.id if isinstance(value, Row) else value,
)
def test_memory_slurm(version: str, row: Row) -> None:
    found = seen(version)[row]
    assert (found.asked, found.emptied, found.booted, found.hook) == (
        row.asked,
        row.emptied,
        row.booted,
        row.hook,
    )
