"""What holds for all tests.

With CI=true a skipped test is a failed one. Without root, tests that need it are skipped, and named.
"""

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from tests import evidence, times

HERE = Path(__file__).resolve().parent
_SPREAD = ("test_chain", "test_reboots")
"""Modules of end-to-end tests that need nothing but a worker's cluster."""


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
        if path.stem in _SPREAD:
            return nodeid
        version = re.search(r"\[(\d+\.\d+)[-\]]", nodeid)
        return f"{path} {version[1]}" if version else str(path)


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
