"""What a node says of its hardware: slurmd's own line, and what is none."""

from pathlib import Path

import pytest

from slurm_powersave.model.hardware import Hardware, read

RECORDED = Path(__file__).parents[2] / "recorded"
LINE = "NodeName=n1 CPUs=4 Boards=1 SocketsPerBoard=2 CoresPerSocket=1 ThreadsPerCore=2 RealMemory=3788"
FOUND = Hardware(4, 1, 2, 1, 2, 3788)


@pytest.mark.parametrize("version", ["22.05", "24.11", "26.05"])
def test_what_three_versions_of_slurmd_say(version: str) -> None:
    first, uptime, *_ = (RECORDED / version / "slurmd-C.txt").read_text().splitlines()
    found = read(first)
    assert found and found.cpus == found.boards * found.sockets * found.cores * found.threads
    assert found.real_memory > 100 and not found.gres
    assert uptime.startswith("UpTime=") and read(uptime) is None


def test_it_is_written_as_it_is_read() -> None:
    assert read(LINE) == FOUND == read(str(FOUND))
    gpus = read(f"{LINE} Gres=gpu:nvidia_a100-sxm4-80gb:2,gpu:h100:1")
    assert gpus and gpus.gres == "gpu:nvidia_a100-sxm4-80gb:2,gpu:h100:1" and read(str(gpus)) == gpus


def test_what_is_unknown_behind_it_is_left_out() -> None:
    assert read(f"{LINE} Gres=gpu:1 Parameters=l3cache_as_socket TmpDisk=7") == Hardware(
        4, 1, 2, 1, 2, 3788, "gpu:1"
    )


@pytest.mark.parametrize(
    "said",
    [
        None,
        3788,
        ["CPUs=4"],
        {"cpus": 4},
        "",
        f"{LINE}\n",
        f"{LINE}\nUpTime=0-00:00:42",
        LINE.replace("CPUs=4", "CPUs=0"),
        LINE.replace("CPUs=4", "CPUs=-4"),
        LINE.replace("CPUs=4", "CPUs=٤"),
        LINE.replace("CPUs=4", "CPUs=4.0"),
        LINE.replace("3788", "9" * 10),
        LINE.replace("RealMemory=3788", "RealMemory=3788,State=CLOUD"),
        LINE.replace(" RealMemory=3788", ""),
        f"{LINE} Gres=gpu:1;touch",
        f"{LINE} Gres={{{{ 7 }}}}",
        f"{LINE} Gres={'g' * 201}",
        f"{LINE} RealMemory=\x1b[2J\n",
        f"{LINE} X={'y' * 3000}",
        LINE.replace("n1", "n" * 300),
        "x " + LINE,
    ],
)
def test_anything_else_is_nothing(said: object) -> None:
    assert read(said) is None
