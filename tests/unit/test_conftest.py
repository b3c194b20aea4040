"""In CI nothing may be skipped: tests/conftest.py turns a skip into a failure."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = Path(__file__).resolve().parents[1] / "conftest.py"

SKIPS = {
    "call": "import pytest\ndef test_one():\n    pytest.skip('not here')\n",
    "mark": "import pytest\n@pytest.mark.skip(reason='not here')\ndef test_one():\n    pass\n",
    "module": "import pytest\npytest.importorskip('no_such_module')\ndef test_one():\n    pass\n",
}


@pytest.mark.parametrize("kind", SKIPS)
@pytest.mark.parametrize("ci", [True, False])
def test_a_skip_fails_in_ci_only(tmp_path: Path, kind: str, ci: bool) -> None:
    shutil.copy(CONFTEST, tmp_path)
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers =\n    root\n")
    (tmp_path / "test_skip.py").write_text(SKIPS[kind] + "def test_two():\n    pass\n")
    environment = {name: value for name, value in os.environ.items() if name != "CI" and "PYTEST" not in name}
    if ci:
        environment["CI"] = "true"
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)],
        env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert ("skipped, which is a failure in CI" in result.stdout) == ci, result.stdout
    assert (result.returncode == 1 or result.returncode == 2) == ci, result.stdout
