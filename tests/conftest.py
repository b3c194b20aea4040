"""What holds for all tests.

With CI=true a skipped test is a failed one. Without root, tests that need it are skipped, and named.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
_FIRST = ("test_playbooks", "test_fast_start", "test_contract_slurm", "test_reboots")
_SPREAD = ("test_chain", "test_reboots")
"""Modules whose tests need nothing but a worker's cluster."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests under tests/e2e or on the lab make containers: they are marked `root`, and skipped without it.

    Tests that share a costly fixture of their module stay on one worker, and the longest modules come first.
    Before xdist's own hook, which writes the groups into the tests' ids.
    """
    items.sort(key=_place)
    for item in items:
        if item.path.is_relative_to(HERE / "e2e"):
            item.add_marker("root")
            if item.path.stem not in _SPREAD:
                item.add_marker(pytest.mark.xdist_group(item.path.stem))
        if _on_lab(item):
            item.add_marker("root")
            item.add_marker(pytest.mark.xdist_group("openstack"))  # one control plane is enough for two cores
        if os.geteuid() != 0 and item.get_closest_marker("root"):
            item.add_marker(pytest.mark.skip(reason="needs root: it makes containers and a bridge"))


def _on_lab(item: pytest.Item) -> bool:
    return item.path.is_relative_to(HERE / "openstack") and "lab" in getattr(item, "fixturenames", ())


def _place(item: pytest.Item) -> int:
    """The tests on the lab take longest, then the modules of _FIRST."""
    if _on_lab(item):
        return -1
    return _FIRST.index(item.path.stem) if item.path.stem in _FIRST else len(_FIRST)


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
