"""The line that a node reports of its hardware."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from slurm_powersave.model.hardware import read
from tests.unit.roles.role_files import load

RECORDED = Path(__file__).resolve().parents[2] / "recorded"
found = load("slurm_host", "slurm_host_hardware")
FIRST = "NodeName=vm CPUs=2 Boards=1 SocketsPerBoard=1 CoresPerSocket=2 ThreadsPerCore=1 RealMemory=24105"


def said(out: str, *, rc: int = 0, program: str | None = "/usr/sbin/slurmd") -> str:
    """What it makes of an answer of `slurmd -C`."""

    def run(argv: list[str]) -> tuple[int, str, str]:
        assert argv == ["/usr/sbin/slurmd", "-C"]
        return rc, out, ""

    line = found.hardware(SimpleNamespace(get_bin_path=lambda name: program, run_command=run))
    assert isinstance(line, str)
    return line


@pytest.mark.parametrize("version", ["22.05", "24.11", "26.05"])
def test_the_first_line_of_what_slurmd_prints(version: str) -> None:
    line = said((RECORDED / version / "slurmd-C.txt").read_text())
    assert line == FIRST and read(line)


def test_with_gpus_another_line_may_stand_before_it() -> None:
    assert said(f"Found gpu:a100:2 with Autodetect=nvml\n{FIRST} Gres=gpu:a100:2\nUpTime=0-00:00:42\n") == (
        f"{FIRST} Gres=gpu:a100:2"
    )


def test_a_slurmd_that_says_nothing_is_no_obstacle() -> None:
    assert said("", program=None) == "" == said("slurmd: fatal: no hwloc\n", rc=1)
