"""The real slurmctld and slurmd against the table of `scontrol reboot`, and against the reboot cases."""

import time
from collections.abc import Iterator, Mapping, Sequence

import pytest

from slurm_powersave.model.hostlist import fold
from slurm_powersave.model.nodes import SlurmNode
from slurm_powersave.model.permit import Act
from slurm_powersave.model.slurm_versions import NEWEST
from tests.contract.reboot_table import Row, Seen, observe, rows
from tests.e2e.harness import Live
from tests.e2e.real_slurm import Real, awake, named
from tests.permits import permits

pytestmark = pytest.mark.every_slurm


class Cluster:
    """Implements Place on the real cluster."""

    def __init__(self, real: Real, live: Live) -> None:
        self._real, self._live = real, live
        self.nodes = real.nodes

    def prepare(self, states: Mapping[str, str]) -> None:
        def of(*wanted: str) -> list[str]:
            return [node for node, state in states.items() if state in wanted]

        self._real.forget_hooks()
        for node in of("allocated", "drained with a job"):
            self._real.submit(node)
        self._set(of("drained", "drained with a job"), "DRAIN", "disk")
        self._set(of("down"), "DOWN", "dead")
        self._reserve(of("reserved"), "")
        self._reserve(of("reserved for maintenance"), "flags=maint")
        self._wait("RESERVED", of("reserved", "reserved for maintenance"))
        off = of("powering up", "powered down")
        going = [*off, *of("powering down")]
        self._set(going, "POWER_DOWN_FORCE")
        self._wait("POWERING_DOWN", going)
        self._set(off, "RESUME")
        coming = of("powering up")
        self._set(coming, "POWER_UP")
        self._wait("POWERING_UP", coming)

    def _set(self, nodes: Sequence[str], state: str, reason: str = "") -> None:
        if nodes:
            given = permits(state, nodes) if state in set(Act) else []
            self._real.slurm.update_nodes(nodes, state=state, reason=reason, permits=given)

    def _wait(self, flag: str, nodes: Sequence[str]) -> None:
        if nodes:
            self._real.wait_for(flag, nodes=nodes)

    def _reserve(self, nodes: Sequence[str], flags: str) -> None:
        if nodes:
            self._real.type(
                f"create reservation nodes={fold(nodes)} users=root starttime=now duration=60 {flags}"
            )

    def request(self, words: Mapping[str, Row]) -> None:
        self._live.login(" && ".join(f"scontrol reboot {row.words} {node}" for node, row in words.items()))

    def end_jobs(self) -> None:
        self._real.end_jobs()

    def boot(self, nodes: Sequence[str]) -> None:
        self._real.boot(*nodes)

    def look(self) -> Mapping[str, SlurmNode]:
        return self._real.look()

    def rebooted(self) -> Sequence[str]:
        return named(self._real.hooks(), "reboot")

    def now(self) -> float:
        return time.monotonic()

    def let_pass(self, seconds: float) -> None:
        self._real.let_pass(seconds)

    def tidy(self) -> None:
        self._real.tidy()


@pytest.fixture(scope="module")
def real(deployed: Live) -> Iterator[Real]:
    """The cluster with all nodes up."""
    with awake(deployed) as subject:
        yield subject


@pytest.fixture(scope="module")
def seen(real: Real, deployed: Live) -> Mapping[str, tuple[Row, Seen]]:
    """What came of every row."""
    table = list(rows(real.version))
    return {row.id: (row, found) for row, found in observe(Cluster(real, deployed), table).items()}


@pytest.mark.parametrize("name", [row.id for row in rows(NEWEST)])
def test_scontrol_reboot(name: str, seen: Mapping[str, tuple[Row, Seen]]) -> None:
    row, found = seen[name]
    assert (found.asked, found.emptied, found.booted, found.hook) == (
        row.asked,
        row.emptied,
        row.booted,
        row.hook,
    )
