"""What holds for all tests.

With CI=true a skipped test is a failed one. Without root, tests that need it are skipped, and named.
"""

import functools
import os
import re
import signal
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from tests import evidence, times

HERE = Path(__file__).resolve().parent
_SPREAD = ("test_chain", "test_reboots")
"""Modules of end-to-end tests that need nothing but a worker's cluster."""
_TOGETHER = {"test_slurm_conf": "test_playbooks"}
"""Modules that use the guests of another one."""
_SECONDS = {
    "test_reimage_waves": 80,
    "test_resize": 60,
    "test_control_host": 60,
    "test_backup": 50,
    "test_image": 45,
    "test_reboots": 30,
    "test_chain": 20,
    "test_slurm_conf": 20,
    "test_fast_start": 20,
    "test_playbooks": 12,
}
"""About how long one test of a module takes, where that is more than _USUAL: the long ones begin first."""
_USUAL = 3


def pytest_configure(config: pytest.Config) -> None:
    """Whoever starts the tests in the background has put SIGINT aside for all that they start."""
    config.pluginmanager.register(evidence)
    config.pluginmanager.register(times)
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests under tests/e2e or on the lab make containers: they are marked `root`, and skipped without it."""
    for item in items:
        lab = "lab" in getattr(item, "fixturenames", ())
        if item.path.is_relative_to(HERE / "e2e") or (item.path.is_relative_to(HERE / "openstack") and lab):
            item.add_marker("root")
        if os.geteuid() != 0 and item.get_closest_marker("root"):
            item.add_marker(pytest.mark.skip(reason="needs root: it makes containers and a bridge"))


class ByCluster(LoadScopeScheduling):
    """Tests that share something costly stay on one worker: a module's fixture, or the lab.

    xdist's own groups (`--dist loadgroup`, 3.8.0) come to nothing with pytest 9.2, which has no `_nodeid`.
    """

    def _split_scope(self, nodeid: str) -> str:
        path = Path(nodeid.partition("::")[0])
        if path.parent.name == "openstack":
            return "openstack"
        version = re.search(r"\[(\d+\.\d+)[-\]]", nodeid)
        if version and version[1] != self._main:
            return version[1]  # One worker deploys another version's cluster, once.
        return nodeid if path.stem in _SPREAD else str(path.with_stem(_TOGETHER.get(path.stem, path.stem)))

    @functools.cached_property
    def _main(self) -> str:
        from tests.e2e.guests import MAIN_SLURM

        return MAIN_SLURM

    def _assign_work_unit(self, node: Any) -> None:
        units = sorted(self.workqueue.items(), key=lambda unit: -sum(map(_seconds, unit[1])))
        self.workqueue = OrderedDict(units)
        super()._assign_work_unit(node)


def _seconds(nodeid: str) -> int:
    return _SECONDS.get(Path(nodeid.partition("::")[0]).stem, _USUAL)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> ByCluster | None:
    """With `--dist loadscope` the scopes are ours."""
    return ByCluster(config, log) if config.getvalue("dist") == "loadscope" else None


def _no_skip_in_ci(report: pytest.TestReport | pytest.CollectReport) -> None:
    if os.environ.get("CI") == "true" and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped, which is a failure in CI: {report.longrepr}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Iterator[None]:
    """Turn a skip into a failure when CI=true."""
    report = yield
    _no_skip_in_ci(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Iterator[None]:
    """The same for a module that skips itself while it is collected."""
    report = yield
    _no_skip_in_ci(report)
    return report
