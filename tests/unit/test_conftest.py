"""In CI nothing may be skipped: tests/conftest.py turns a skip into a failure."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]

SKIPS = {
    "call": "import pytest\ndef test_one():\n    pytest.skip('not here')\n",
    "mark": "import pytest\n@pytest.mark.skip(reason='not here')\ndef test_one():\n    pass\n",
    "module": "import pytest\npytest.importorskip('no_such_module')\ndef test_one():\n    pass\n",
}


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


@pytest.mark.parametrize("kind", SKIPS)
@pytest.mark.parametrize("ci", [True, False])
def test_a_skip_fails_in_ci_only(tmp_path: Path, kind: str, ci: bool) -> None:
    result = run_tests(tmp_path, SKIPS[kind] + "def test_two():\n    pass\n", CI="true" if ci else "")
    assert ("skipped, which is a failure in CI" in result.stdout) == ci, result.stdout
    assert (result.returncode == 1 or result.returncode == 2) == ci, result.stdout
