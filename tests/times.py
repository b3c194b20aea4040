"""Notes how long each test, and each fixture that several tests share, takes: tools/stages.py adds it up."""

import json
import os
import time
from collections.abc import Iterator

import pytest

_FILE = os.environ.get("SLURM_POWERSAVE_TIMES", "")
_SHORTEST = 0.5
"""Seconds; a fixture that is faster is no cluster."""


def _note(**fact: object) -> None:
    # One short write to the end of the file: the workers of a stage share it.
    with open(_FILE, "a") as file:
        file.write(json.dumps(fact) + "\n")


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(fixturedef: pytest.FixtureDef[object]) -> Iterator[None]:
    """Note how long a shared fixture takes to be set up."""
    began = time.monotonic()
    try:
        return (yield)
    finally:
        took = time.monotonic() - began
        if _FILE and fixturedef.scope != "function" and took >= _SHORTEST:
            test, _, _ = os.environ.get("PYTEST_CURRENT_TEST", "").rpartition(" ")
            _note(cluster=f"{fixturedef.argname} of {test}", seconds=took)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Note how long a test took, with its fixtures; of xdist's processes only the one that hears of all."""
    if _FILE and "PYTEST_XDIST_WORKER" not in os.environ:
        _note(test=report.nodeid, seconds=report.duration)
