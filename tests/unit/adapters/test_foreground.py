"""A process that somebody waits for outlives the person's Ctrl-C, and is told of it once."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from slurm_powersave.adapters.processes import foreground

WAITER = """
import sys
from pathlib import Path
from slurm_powersave.adapters.processes import foreground
try:
    foreground.run(["sh", sys.argv[1]], timeout=60, env={"PATH": "/usr/bin:/bin"}, cwd=Path(sys.argv[2]))
except KeyboardInterrupt:
    print("interrupted, and it has ended:", Path(sys.argv[2], "state").read_text().strip())
"""
# As Terraform does: at the first SIGINT it ends what it has begun and writes its state; a second kills it.
TERRAFORM = """
trap 'trap "echo killed >state; exit 1" INT; echo "told" >>told; sleep 0.5; echo whole >state; exit 1' INT
echo begun >begun
while :; do sleep 0.05; done
"""


def run(tmp_path: Path, text: str, timeout: float = 30) -> foreground.Completed:
    """Run a script."""
    (tmp_path / "script").write_text(text)
    return foreground.run(
        ["sh", str(tmp_path / "script")], timeout=timeout, env=dict(os.environ), cwd=tmp_path
    )


def test_its_end_output_and_errors(tmp_path: Path) -> None:
    done = run(tmp_path, "echo out; echo err >&2; exit 3")
    assert (done.rc, done.out, done.err) == (3, "out\n", "err\n")
    assert [path.name for path in tmp_path.iterdir()] == ["script"], "nothing is left"


@pytest.mark.parametrize(("times", "pause"), [(1, 0.1), (3, 0.1), (1500, 0.0002)])
def test_ctrl_c_is_handed_on_once_and_the_end_is_waited_for(tmp_path: Path, times: int, pause: float) -> None:
    """Whatever the waiter is doing at that moment: of very many some come while it does not sleep."""
    (tmp_path / "terraform").write_text(TERRAFORM)
    argv = [sys.executable, "-c", WAITER, str(tmp_path / "terraform"), str(tmp_path)]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, start_new_session=True)
    end = time.monotonic() + 20
    while not (tmp_path / "begun").exists():
        assert time.monotonic() < end
        time.sleep(0.05)
    for _ in range(times):
        os.killpg(process.pid, signal.SIGINT)
        time.sleep(pause)
    out, _ = process.communicate(timeout=20)
    assert out == "interrupted, and it has ended: whole\n"
    assert (tmp_path / "told").read_text() == "told\n"


def test_one_that_takes_too_long_is_told_to_end_and_waited_for(tmp_path: Path) -> None:
    done = run(tmp_path, TERRAFORM, timeout=0.5)
    assert done.rc is None and "no end within 0.5 s" in done.err
    assert (tmp_path / "state").read_text() == "whole\n"
