"""Tests that are run under the conftest of this checkout."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parent


def run_tests(place: Path, code: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run a module of tests under the conftest of this checkout."""
    (place / "tests").mkdir()
    for source in TESTS.glob("*.py"):
        shutil.copy(source, place / "tests")
    (place / "pytest.ini").write_text(
        "[pytest]\naddopts = --import-mode=importlib\npythonpath = .\nmarkers =\n    root\n"
    )
    (place / "tests/test_it.py").write_text(code)
    usual = {name: value for name, value in os.environ.items() if name != "CI" and "PYTEST" not in name}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"],
        env=usual | environment, cwd=place, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
